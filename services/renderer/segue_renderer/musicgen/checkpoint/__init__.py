"""Checkpoints: both published layouts, read strictly."""
