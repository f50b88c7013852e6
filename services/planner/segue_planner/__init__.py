"""The planner service: turns a brief into a plan."""
