"""Nothing that is accepted is ignored: every field changes the result, gives a warning that names it, or is refused.

The walk goes by the descriptors of the contract. A new field fails here until it has a change in one of the tables of
changes, and until every backend uses it, warns about it, refuses it, or has a reason in exceptions.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.exceptions import exempt
from tests.contract.fields import paths
from tests.contract.renders import render, serving
from tests.contract.section_changes import MUSICGEN, SECTION, START, base_section, start_of
from tests.contract.verdicts import IGNORED, verdict

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from tests.contract.fields import Change
    from tests.contract.verdicts import Result

    from segue_renderer.backend import Backend

WHOLE = frozenset({"segue.music.v1.SectionSpec", "segue.music.v1.Brief"})
"""Messages that have a walk of their own."""
BACKENDS = ("sketch", pytest.param("musicgen", marks=pytest.mark.engine))


def make_backend(name: str, folder: Path) -> tuple[Backend, int, dict[str, bool]]:
    """Return a backend, the sample rate to ask for, and what it gives beside the mix."""
    if name == "sketch":
        from segue_renderer.sketch.backend import SketchBackend

        return SketchBackend(2), 22_050, {"stems": True, "notes": True}
    import torch
    from tests.engine import checkpoints

    from segue_renderer.musicgen.backend import MusicgenBackend
    from segue_runtime.settings import MusicgenSettings

    torch.set_num_threads(1)
    checkpoints.write(folder / "melody", "melody")
    return MusicgenBackend(MusicgenSettings(model=str(folder / "melody"))), 12_800, {}


async def ignored(
    changes: Mapping[str, Change],
    make_base: Callable[[], Any],
    run: Callable[[Any, list[Any]], Awaitable[Result]],
) -> set[str]:
    """Return the paths whose change has no effect, no warning and no error."""
    plain = await run(make_base(), [])
    found = set()
    for path, change in changes.items():
        message = make_base()
        before = plain
        if change.base is not None:
            change.base(message)
            before = await run(message, [])
        change.apply(message)
        after = await run(message, change.more() if change.more else [])
        if verdict(path, before, after) == IGNORED:
            found.add(path)
    return found


def decided(message: Any, changes: Mapping[str, Change], whole: frozenset[str] = frozenset()) -> list[str]:
    """Return all paths of a message; each must have a change."""
    found = list(paths(message.DESCRIPTOR, whole))
    assert set(found) == set(changes), "decide how these fields are tested: add a change for each, or remove it"
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BACKENDS)
async def test_every_field_of_a_section_is_used_or_named(name: str, tmp_path: Path) -> None:
    all_paths = decided(music_pb2.SectionSpec, SECTION)
    backend, rate, extras = make_backend(name, tmp_path)
    changes = {**SECTION, **(MUSICGEN if name == "musicgen" else {})}
    async with serving(backend, tmp_path) as stub:

        async def run(spec: music_pb2.SectionSpec, more: list[Any]) -> Result:
            return await render(stub, start_of(spec, **extras), more)

        found = await ignored(changes, lambda: base_section(rate=rate), run)
    assert found == exempt("SectionSpec", name, all_paths)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BACKENDS)
async def test_every_field_of_a_render_start_is_used_or_named(name: str, tmp_path: Path) -> None:
    all_paths = decided(renderer_pb2.RenderStart, START, WHOLE)
    backend, rate, _ = make_backend(name, tmp_path)
    async with serving(backend, tmp_path) as stub:

        async def run(start: renderer_pb2.RenderStart, more: list[Any]) -> Result:
            return await render(stub, start, more)

        found = await ignored(START, lambda: start_of(base_section(rate=rate)), run)
    assert found == exempt("RenderStart", name, all_paths)
