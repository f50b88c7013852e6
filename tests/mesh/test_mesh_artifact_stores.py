"""A whole mesh over an artifact store that has no local files: the artifacts are the same, bit by bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.mesh.harness import embedded, hear, spec
from tests.runtime.memory_artifacts import MemoryArtifacts

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_runtime import artifacts

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.only_shape("embedded", "it replaces the folder of the artifacts")
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=12, stems=True, midi=True)


async def test_a_store_without_local_files_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with embedded(tmp_path / "folder") as (_, client):
        expected = await hear(client.compose(ASKED, audio=BOTH))
    memory = MemoryArtifacts()
    monkeypatch.setattr(artifacts, "FolderArtifacts", lambda *_: memory)
    async with embedded(tmp_path / "memory") as (_, client):
        heard = await hear(client.compose(ASKED, audio=BOTH))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert (heard.draft, heard.master) == (expected.draft, expected.master)
        assert heard.digests() == expected.digests()
        master = next(each for each in heard.composition.outputs if each.kind == composition_pb2.OUTPUT_KIND_MASTER)
        content = b"".join([piece async for piece in client.read(master)])
        assert content == memory.contents[master.name]
        # An upload is decoded from a local copy.
        (tmp_path / "master.flac").write_bytes(content)
        upload = await client.upload(tmp_path / "master.flac")
        created = await client.create_master(upload.name)
        again = await hear(client.watch(created.name))
        assert again.composition.state == composition_pb2.STATE_SUCCEEDED
    assert not (tmp_path / "memory" / "artifacts").exists()
