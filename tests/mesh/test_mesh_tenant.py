"""`segued tenant delete` beside a running server: its work ends, its traces go, and the work of others goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import segued
from tests.fleet.storage import as_flags
from tests.mesh.harness import Heard, Segued, hear, spec
from tests.mesh.shapes import shape

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_client import Access, Client, SegueError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "zqxgone"
OWNER = f"{MARK}.ann"
AUDIO = stream_pb2.AUDIO_SELECTION_DRAFT
SLOW = "conductor.before_segment_row=sleep(60ms)"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Segued]:
    """A server whose owners' tokens are their names."""
    lines = (f"{owner} {hashlib.sha256(owner.encode()).hexdigest()}\n" for owner in (OWNER, "bob"))
    (tmp_path / "tokens").write_text("".join(lines))
    flags = ("--server-tokens-file", str(tmp_path / "tokens"))
    one = Segued(tmp_path / "home", *flags, log_path=tmp_path / "server.log")
    try:
        yield one
    finally:
        one.stop()


def as_owner(server: Segued, owner: str) -> Client:
    return Client(Access(server.address, token=owner), patience_s=60)


def marked(seed: int) -> spec_pb2.CompositionSpec:
    return spec(f"calm piano {MARK}, 120 bpm, C major", seconds=16, seed=seed, labels={"mood": MARK}, session=MARK)


def traces(server: Segued) -> list[str]:
    return shape().traces(server.home, MARK.encode())


async def test_an_owner_is_erased_while_its_piece_and_those_of_others_are_made(server: Segued, tmp_path: Path) -> None:
    server.start(failpoints=SLOW)
    (tmp_path / "file.wav").write_bytes(b"RIFF" + MARK.encode())
    async with as_owner(server, OWNER) as ann, as_owner(server, "bob") as bob:
        await hear(ann.compose(marked(1)))
        await ann.upload(tmp_path / "file.wav")
        running = await ann.create(marked(2))
        waiting = [await ann.create(marked(seed)) for seed in range(3, 9)]
        of_bob = asyncio.create_task(hear(bob.compose(spec(seconds=16))))
        async for update in ann.watch(running.name, audio=AUDIO):
            if update.kind == "audio":
                break
        watching = asyncio.create_task(hear(ann.watch(running.name)))
        assert traces(server)
        assert [path for path in shape().artifact_folder(server.home).rglob("*") if OWNER in path.name] == []
        command = ("tenant", "delete", OWNER, "--yes", "--json", "--home", str(server.home))
        done = await asyncio.to_thread(segued, tmp_path, *command, *as_flags(shape().settings(server.home)))
        assert done.returncode == 0, done.stderr
        erased = json.loads(done.stdout)
        assert (erased["jobs"], erased["uploads"]) == (2 + len(waiting), 1)
        assert erased["cancelled"] >= 1
        assert erased["takes"] >= 1
        assert traces(server) == []
        # The watcher sees the end, if it is faster than the erasure.
        ended = (await asyncio.wait_for(asyncio.gather(watching, return_exceptions=True), 60))[0]
        assert isinstance(ended, Heard) or getattr(ended, "reason", "") == "COMPOSITION_NOT_FOUND"
        assert [each.name async for each in ann.compositions()] == []
        assert [each.name async for each in ann.uploads()] == []
        with pytest.raises(SegueError):
            await ann.get(running.name)
        made = (await of_bob).composition
        assert made.state == composition_pb2.STATE_SUCCEEDED
        assert [each.name async for each in bob.compositions()] == [made.name]
        await bob.download(made.outputs[0], tmp_path / "song")
