"""Turn a brief into a plan: the planner service."""
