"""The checks of RendererService on audiocraft, with tiny random models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.audiocraft.serving import serving

from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", [pytest.param("stereo", marks=pytest.mark.slow), "melody", pytest.param("magnet", marks=pytest.mark.slow)]
)
async def test_audiocraft_keeps_every_promise(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    async with serving(folders[kind], tmp_path) as (stub, _):
        target = await Target.open(stub)
        results = [await run_check(check, target) for check in CHECKS]
    assert {each.name: each.detail for each in results if each.outcome is Outcome.FAILED} == {}
    assert {each.name for each in results if each.outcome is Outcome.SKIPPED} == {"stems", "notes"}
