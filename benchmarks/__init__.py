"""Measures speed and memory; each module is a command that prints tables for docs/benchmarks.md."""
