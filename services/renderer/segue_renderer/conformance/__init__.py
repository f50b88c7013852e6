"""Checks of what the contract promises, for any process that serves RendererService."""

from segue_renderer.conformance.suite import CHECKS, run_check, run_checks

__all__ = ["CHECKS", "run_check", "run_checks"]
