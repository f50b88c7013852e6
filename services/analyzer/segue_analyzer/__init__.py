"""Measure music: the analyzer service."""
