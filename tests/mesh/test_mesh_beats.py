"""A renderer that does not keep to the plan's beat: its sections are placed on measured beats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import google_crc32c
import numpy as np
import pytest
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from tests.mesh.faulty_renderer import Response, Responses

RATE = 48_000
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT
ASKED = spec("house, 120 bpm, A minor, intro verse chorus outro", seconds=32, seed=5)
LATE = {"verse": 4_800, "chorus": -2_400}
"""The delay of these sections in frames; the others keep to the beat."""
NEAR = 0.02 * RATE


BEAT = RATE // 2


def drums(frames: int, late: int) -> NDArray[np.float32]:
    """Return a kick on every beat, the first of four the loudest, shifted by some frames."""
    time_s = np.arange(BEAT // 2) / RATE
    kick = np.sin(2 * np.pi * 60 * time_s) * np.exp(-time_s * 25)
    kick[:480] += np.random.default_rng(1).normal(0, 0.5, 480) * np.exp(-np.arange(480) / 80)
    sound = np.zeros(frames + BEAT)
    for beat, start in enumerate(range(late, frames, BEAT)):
        if start >= 0:
            sound[start : start + len(kick)] += kick * (0.4 if beat % 4 == 0 else 0.25)
    return np.repeat(sound[:frames, None], 2, axis=1).astype(np.float32)


async def unsteady(_call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
    """Replace the band's audio by drums, and do not declare it sample-locked."""
    late = next((frames for name, frames in LATE.items() if start.spec.section_id.startswith(name)), 0)
    template: Response | None = None
    async for response in responses:
        kind = response.WhichOneof("message")
        if kind == "accepted":
            response.accepted.sample_locked = response.accepted.continuous = False
        if kind == "audio":
            template = template or response
            continue
        if kind == "finished":
            assert template is not None
            length = response.finished.frames + response.finished.tail_frames
            for piece in pieces(template, drums(length, late) * np.float32(1 - 0.1 * (start.seed % 2))):
                yield piece
        yield response


def pieces(template: Response, frames: NDArray[np.float32]) -> list[Response]:
    found = []
    for first in range(0, len(frames), 4_096):
        response = renderer_pb2.RenderSectionResponse()
        response.CopyFrom(template)
        response.audio.first_frame, response.audio.data = first, frames[first : first + 4_096].tobytes()
        response.audio.frames = len(response.audio.data) // 8
        response.audio.crc32c = google_crc32c.value(response.audio.data)
        found.append(response)
    return found


def shifts(heard: Heard) -> dict[str, int]:
    return {section.section_id: section.shift_frames for section in heard.composition.sections}


@pytest.mark.timeout(240)
async def test_shifted_sections_are_placed_on_the_beat_and_stay_there_after_edits(tmp_path: Path) -> None:
    async with (
        faulty_renderer(tmp_path, unsteady) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await hear(client.compose(ASKED, audio=DRAFT))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        plan = heard.composition.plan
        assert len(heard.draft) == plan.frames * 8
        found = shifts(heard)
        expected = {name: -next((late for key, late in LATE.items() if name.startswith(key)), 0) for name in found}
        assert len(set(expected.values())) == 3
        for name, frames in expected.items():
            assert abs(found[name] - frames) < NEAR, found
        joins = heard.composition.joins
        assert all(abs(join.tempo_drift) < 0.05 for join in joins), joins
        # The first section was heard while it was rendered: it did not wait for its beats.
        kinds = [update.kind for update in heard.updates]
        assert kinds.index("audio") < kinds.index("section_mixed")
        verse = next(name for name in found if name.startswith("verse"))
        redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=verse))
        edited = await hear(
            client.compose(spec_pb2.CompositionSpec(parent=heard.composition.name, edits=[redo]), audio=DRAFT)
        )
    assert {name: shift for name, shift in shifts(edited).items() if name != verse} == {
        name: shift for name, shift in found.items() if name != verse
    }
    # The edited section is placed on the beats of the unchanged one before it; so is a section after a moved one.
    assert abs(shifts(edited)[verse] - found[verse]) < NEAR
    last = plan.sections[-1].first_frame
    old, new = [np.frombuffer(each.draft, np.float32).reshape(-1, 2) for each in (heard, edited)]
    assert np.array_equal(new[last:], old[last:])
    assert not np.array_equal(new, old)
