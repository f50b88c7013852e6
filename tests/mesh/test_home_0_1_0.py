"""A home that release 0.1.0 has made (scripts/make_home.py): this release reads it, and continues what was running."""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh.harness import embedded, hear, sha256

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2

if TYPE_CHECKING:
    from tests.mesh.harness import Heard

    from segue_client import Client

pytestmark = pytest.mark.only_shape("embedded", "a home of release 0.1.0 has a database file")
FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED: dict[str, Any] = json.loads((FIXTURES / "home-0.1.0.json").read_text())
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
# A time limit is counted from the start of a piece, which was on the day when the fixture was made.
FLAGS: dict[str, object] = {"conductor.time_limit": "3650d", "store.retention": "3650d"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURES / "home-0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "home"


async def watch(client: Client, piece: str) -> Heard:
    return await asyncio.wait_for(hear(client.watch(EXPECTED[piece]["name"], audio=BOTH)), 120)


async def files(client: Client, composition: composition_pb2.Composition) -> dict[str, str]:
    """The digests of the files as they are downloaded."""
    return {
        output.name.rpartition("/")[2]: sha256(b"".join([piece async for piece in client.read(output)]))
        for output in composition.outputs
    }


async def test_a_home_of_0_1_0_keeps_its_pieces(home: Path) -> None:
    finished, failed, running = (EXPECTED[piece] for piece in ("finished", "failed", "running"))
    async with embedded(home, FLAGS) as (_, client):
        listed = [composition.name async for composition in client.compositions()]
        assert sorted(listed) == sorted(each["name"] for each in (finished, failed, running))

        heard = await watch(client, "finished")
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert (sha256(heard.draft), sha256(heard.master)) == (finished["draft"], finished["master"])
        assert {each.section_id: each.take for each in heard.composition.sections} == finished["takes"]
        assert await files(client, heard.composition) == finished["files"] == heard.digests()

        ended = await watch(client, "failed")
        assert ended.composition.state == composition_pb2.STATE_FAILED
        assert finished["draft"] != sha256(ended.draft)
        assert heard.draft.startswith(ended.draft)
        assert ended.composition.error.message == failed["message"]
        assert failed["reason"] in str(ended.composition.error)
        assert await files(client, ended.composition) == failed["files"]


async def test_a_piece_that_0_1_0_was_making_is_finished_with_its_takes(home: Path) -> None:
    async with embedded(home, FLAGS) as (_, client):
        heard = await watch(client, "finished")
        resumed = await watch(client, "running")
        assert resumed.composition.state == composition_pb2.STATE_SUCCEEDED
        assert resumed.kinds.count("started") == 2  # one claim by each release
        assert resumed.num_rewinds == 0
        assert {each.section_id: each.take for each in resumed.composition.sections} == EXPECTED["running"]["takes"]
        # The draft has no traces of the release. Files have, and a mixer may master in a new way: this release has to
        # give what it gives from the same takes without an interruption.
        assert sha256(resumed.draft) == EXPECTED["running"]["draft"]
        undisturbed = await hear(client.compose(spec_pb2.CompositionSpec(parent=heard.composition.name), audio=BOTH))
        assert undisturbed.draft == resumed.draft
        assert undisturbed.master == resumed.master
        assert await files(client, resumed.composition) == resumed.digests()


async def test_a_section_of_a_piece_of_0_1_0_is_redone_and_the_other_take_stays(home: Path) -> None:
    finished = EXPECTED["finished"]
    redo = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id="chorus"))
    async with embedded(home, FLAGS) as (_, client):
        before = await watch(client, "finished")
        asked = spec_pb2.CompositionSpec(parent=finished["name"], edits=[redo])
        after = await asyncio.wait_for(hear(client.compose(asked, audio=BOTH)), 120)
        assert after.composition.state == composition_pb2.STATE_SUCCEEDED
        verse, chorus = after.composition.sections
        assert (verse.take, verse.reused) == (finished["takes"]["verse"], True)
        assert chorus.take != finished["takes"]["chorus"]
        # The kept section is the same in the draft, to the byte; the new one is not.
        half = len(before.draft) // 2
        assert after.draft[:half] == before.draft[:half]
        assert after.draft[half:] != before.draft[half:]
