"""What the mesh makes of a model's abilities: audio at a section's end, values as advice, lyrics."""

from __future__ import annotations

import asyncio
import contextlib
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec
from tests.renderer.scripted_backend import ScriptedBackend

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music.plan import Honours
from segued.output.progress import CompositionProgress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses

    from segue_client import Client

PIECE = spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=10)
pytestmark = pytest.mark.timeout(120)


@contextlib.asynccontextmanager
async def scripted(
    home: Path, flags: Mapping[str, object] = MappingProxyType({}), **script: Any
) -> AsyncIterator[tuple[Client, ScriptedBackend]]:
    """Start a mesh whose only renderer obeys a script."""
    backend = ScriptedBackend(**script)
    async with (
        faulty_renderer(home, backend=backend) as renderer,
        embedded(home, {"renderer.addresses": renderer.address, **flags}) as (_, client),
    ):
        yield client, backend


async def test_work_without_audio_is_progress_in_percent_of_its_section(tmp_path: Path) -> None:
    steps = tuple(each / 12 for each in range(1, 13))
    script: dict[str, Any] = {"audio_at_end": True, "fractions": steps, "pause_s": 0.25}
    async with scripted(tmp_path, {"conductor.stall_limit": "2s"}, **script) as (client, backend):
        heard = await hear(client.compose(spec(seconds=4), audio=stream_pb2.AUDIO_SELECTION_DRAFT))
    made = heard.composition
    assert made.state == composition_pb2.STATE_SUCCEEDED
    # The work took longer than a silent renderer may take.
    assert "section_retried" not in heard.kinds or backend.longest_pause_s > 1
    progress, shown, shown_before_sound = CompositionProgress(), [], 0
    for update in heard.updates:
        progress.add(update)
        if update.kind == "section_progress":
            shown.append(progress.fractions[made.sections[0].section_id])
            shown_before_sound += progress.first_audio_s is None
    assert shown == sorted(shown) or "section_retried" in heard.kinds
    assert any(0.1 < fraction < 0.9 for fraction in shown[:shown_before_sound])


async def test_impossible_progress_of_a_renderer_reaches_nobody(tmp_path: Path) -> None:
    async def boasts(_call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        async for response in responses:
            yield response
            for fraction in (math.nan, -3.0, math.inf):
                yield renderer_pb2.RenderSectionResponse(progress=renderer_pb2.RenderProgress(fraction=fraction))
                await asyncio.sleep(0.02)

    async with (
        faulty_renderer(tmp_path, boasts, backend=ScriptedBackend()) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await hear(client.compose(spec(seconds=4)))
    assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
    shown = [each.event.section_progress.fraction_done for each in heard.updates if each.kind == "section_progress"]
    assert all(0 <= fraction <= 1 for fraction in shown)
    assert shown


async def test_values_that_are_advice_to_the_model_are_one_warning(tmp_path: Path) -> None:
    advice: dict[str, Any] = {
        "honours_tempo": Honours.ADVISORY,
        "honours_metre": Honours.ADVISORY,
        "honours_key": Honours.EXACT,
    }
    async with scripted(tmp_path, **advice) as (client, _):
        plan = (await client.plan(PIECE)).plan
        parent = (await hear(client.compose(PIECE))).composition
        redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=parent.plan.sections[0].spec.section_id))
        child = (await hear(client.compose(spec_pb2.CompositionSpec(parent=parent.name, edits=[redo])))).composition
    assert len(plan.sections) > 1
    for warnings in (plan.warnings, parent.warnings, child.warnings):
        (warning,) = [each for each in warnings if each.code == "advisory_values"]
        assert warning.text == "scripted takes tempo and metre as advice: its audio may differ"
        assert not warning.section_id


async def test_models_that_promise_nothing_about_values_give_no_warning(tmp_path: Path) -> None:
    async with scripted(tmp_path, honours_tempo=Honours.EXACT) as (client, _):
        assert not (await client.plan(PIECE)).plan.warnings


async def with_words(client: Client, words: str) -> Heard:
    """Compose a piece whose first section has lyrics."""
    plan = (await client.plan(PIECE)).plan
    plan.digest = ""
    if words:
        plan.sections[0].spec.lyrics.CopyFrom(music_pb2.Lyrics(text=words, language="en"))
    return await hear(client.compose(spec_pb2.CompositionSpec(plan=plan)))


@pytest.mark.parametrize("sings", [True, False])
async def test_takes_depend_on_lyrics_where_the_model_sings(tmp_path: Path, *, sings: bool) -> None:
    async with scripted(tmp_path, uses_lyrics=sings) as (client, backend):
        made = [(await with_words(client, words)).composition for words in ("", "rain on the roof", "sun on the sea")]
    first, second = ([piece.sections[index].take for piece in made] for index in (0, 1))
    assert len(set(first)) == (3 if sings else 1)
    assert len(set(second)) == 1
    sung = [request.spec.lyrics.text for request in backend.requests if request.spec.lyrics]
    assert sung == (["rain on the roof", "sun on the sea"] if sings else [])
    unsung = [[each.section_id for each in piece.warnings if each.code == "lyrics_not_sung"] for piece in made]
    expected = [] if sings else [made[0].sections[0].section_id]
    assert unsung == [[], expected, expected]
