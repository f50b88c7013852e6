"""Readers of weights in both published layouts. Every deviation is an error."""
