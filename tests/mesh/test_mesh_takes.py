"""Takes that are used again: with their notes, and with the seed that they were really made with."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import mido
from google.protobuf import json_format
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec
from tests.mesh.test_mesh_faulty_renderers import set_sample, spoiling

from segue.composer.v1 import spec_pb2, stream_pb2
from segue_music import codec

if TYPE_CHECKING:
    from pathlib import Path

    from segue_client import Client

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12)


async def read(client: Client, heard: Heard, name: str) -> bytes:
    output = next(each for each in heard.composition.outputs if each.name.endswith(name))
    return b"".join([piece async for piece in client.read(output)])


def num_notes(content: bytes) -> int:
    return sum(message.type == "note_on" for message in mido.MidiFile(file=io.BytesIO(content)))


async def test_a_reused_take_has_notes_although_it_was_made_without_midi(tmp_path: Path) -> None:
    with_midi = spec_pb2.CompositionSpec()
    with_midi.CopyFrom(ASKED)
    with_midi.midi = True
    async with embedded(tmp_path / "new") as (_, client):
        expected = await read(client, await hear(client.compose(with_midi)), "music.mid")
    assert num_notes(expected) > 20
    async with embedded(tmp_path / "used") as (_, client):
        plain = await hear(client.compose(ASKED))
        for again in (with_midi, spec_pb2.CompositionSpec(parent=plain.composition.name, midi=True)):
            heard = await hear(client.compose(again))
            assert all(section.reused for section in heard.composition.sections)
            assert await read(client, heard, "music.mid") == expected


async def test_a_retried_take_is_reproduced_from_its_own_seed(tmp_path: Path) -> None:
    """A section is retried with another seed after an unusable take: plan, manifest and edits use that seed."""
    async with (
        faulty_renderer(tmp_path, spoiling(set_sample(float("nan")), range(1, 2))) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), 60)
        piece = heard.composition
        (retried,) = [each.event for each in heard.updates if each.kind == "section_retried"]
        section_id = retried.section_retried.section_id
        before, seed = [start.seed for start in renderer.starts if start.spec.section_id == section_id]
        assert seed != before
        assert retried.section_retried.seed == seed
        planned = next(item for item in piece.plan.sections if item.spec.section_id == section_id)
        assert planned.seed == seed
        assert retried.plan_version == piece.plan_version == piece.plan.version == 2
        assert piece.plan.digest == codec.plan_digest(codec.plan_from_message(piece.plan))
        manifest = json.loads(await read(client, heard, "manifest.json"))
        # A redo makes a new take, not the present one.
        redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=section_id))
        child = await hear(client.compose(spec_pb2.CompositionSpec(parent=piece.name, edits=[redo]), audio=BOTH))
        assert renderer.starts[-1].seed == seed + 1
        assert child.draft != heard.draft
    again = json_format.ParseDict(manifest["spec"], spec_pb2.CompositionSpec())
    json_format.ParseDict(manifest["plan"], again.plan)
    async with embedded(tmp_path / "elsewhere") as (_, client):
        repeated = await hear(client.compose(again, audio=BOTH))
    assert repeated.digests() == heard.digests()
