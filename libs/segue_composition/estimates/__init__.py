"""Estimates: when compositions will be complete."""
