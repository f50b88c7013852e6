"""Stems: a recording separated into parts that add up to it, while it streams."""
