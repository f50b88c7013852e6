"""The checks of RendererService on diffusion models, with tiny random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.renderer.renderer_server import served

from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target
from segue_renderer.diffusion.backend import DiffusionBackend
from segue_runtime.settings import DiffusionSettings

if TYPE_CHECKING:
    from pathlib import Path

SKIPPED = {"stems", "notes"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["ace-step", "ace-step-base", "stable-audio", "stable-audio-base"])
async def test_every_family_keeps_every_promise(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    backend = DiffusionBackend(DiffusionSettings(model=str(models[kind]), steps=4), longest_s=60)
    async with served(backend, tmp_path) as stub:
        target = await Target.open(stub)
        results = [await run_check(check, target) for check in CHECKS]
    assert {each.name: each.detail for each in results if each.outcome is Outcome.FAILED} == {}
    assert {each.name for each in results if each.outcome is Outcome.SKIPPED} == SKIPPED
