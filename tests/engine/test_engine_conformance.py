"""The checks of RendererService on the engine, with tiny random models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.engine.serving import serving

from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

SKIPPED = {"mono": {"stems", "notes"}, "melody": {"stems", "notes"}, "stereo": {"stems", "notes"}}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SKIPPED)
async def test_the_engine_keeps_every_promise(kind: str, checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    async with serving(checkpoints[kind].folder, tmp_path, slots=2) as (stub, _):
        target = await Target.open(stub)
        results = [await run_check(check, target) for check in CHECKS]
    assert {each.name: each.detail for each in results if each.outcome is Outcome.FAILED} == {}
    assert {each.name for each in results if each.outcome is Outcome.SKIPPED} == SKIPPED[kind]
