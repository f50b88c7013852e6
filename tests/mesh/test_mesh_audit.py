"""The audit log: a line for each change, also for refused ones, and nothing of what is in a piece in any log."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh.harness import embedded, free_port, hear, metrics, reach, spec

from segue.composer.v1 import files_pb2, spec_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue_client import Access, Client, SegueError
from segue_conductor.storage_cleaner import StorageCleaner
from segue_runtime import failpoints, logs
from segue_runtime.accounting import audit
from segue_runtime.artifacts import FolderArtifacts
from segue_runtime.clocks import Clocks
from segue_runtime.settings import LogSettings, load
from segue_runtime.store import SqliteStore
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

TOKENS = {"ann": "compose,watch,analyze", "eve": "watch", "root": "admin"}
MARK = "zqxmark"
ASKED = spec("calm piano, 120 bpm, C major", seconds=8)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The whole log of this process, at the lowest level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(LogSettings(level="debug", format="json"), stream)
    yield stream
    audit.open_file(None)
    logs.configure(LogSettings(level="warning", format="json"))
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [line for line in found if line.get("part") == "audit"]


def told(lines: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Return action, owner, name and result of each line."""
    return [(line["event"], line["owner"], line.get("name", ""), line["result"]) for line in lines]


@pytest.fixture
async def node(tmp_path: Path, written: io.StringIO) -> AsyncIterator[Node]:
    """A mesh whose owners' tokens are their names; its log is written."""
    assert not written.getvalue()
    lines = (f"{owner} {hashlib.sha256(owner.encode()).hexdigest()} {grants}\n" for owner, grants in TOKENS.items())
    (tmp_path / "tokens").write_text("".join(lines))
    flags = {
        "home": str(tmp_path), "server.tokens_file": str(tmp_path / "tokens"), "server.drain": "1s",
        "limits.uploads": "2", "metrics.listen": f"127.0.0.1:{free_port()}",
    }  # fmt: skip
    async with Node(load(flags, environ={}, folder=tmp_path), listen=("127.0.0.1:0",)) as found:
        yield found


def as_owner(node: Node, owner: str) -> Client:
    return Client(Access(node.addresses[0], token=owner), patience_s=5)


async def test_each_change_is_a_line_with_who_where_what_and_result(
    node: Node, written: io.StringIO, tmp_path: Path
) -> None:
    (tmp_path / "file.wav").write_bytes(b"RIFF")
    async with as_owner(node, "ann") as ann:
        made = (await hear(ann.compose(ASKED))).composition
        upload = await ann.upload(tmp_path / "file.wav")
        cancelled = await ann.create(ASKED)
        await ann.cancel(cancelled.name)
        await hear(ann.watch(cancelled.name))
        again = await ann.retry(cancelled.name)
        await ann.delete(made.name)
        await ann.delete_upload(upload.name)
        with pytest.raises(SegueError):
            await ann.cancel("compositions/00000000")
    lines = lines_of(written.getvalue())
    assert told(lines) == [
        ("create", "ann", made.name, "OK"),
        ("create", "ann", upload.name, "OK"),
        ("finish", "ann", upload.name, "OK"),
        ("create", "ann", cancelled.name, "OK"),
        ("cancel", "ann", cancelled.name, "OK"),
        ("retry", "ann", cancelled.name, "OK"),
        ("delete", "ann", made.name, "OK"),
        ("delete", "ann", upload.name, "OK"),
        ("cancel", "ann", "compositions/00000000", "COMPOSITION_NOT_FOUND"),
    ]
    assert lines[5]["made"] == again.name
    for line in lines:
        assert line["peer"] == "127.0.0.1"
        assert line["by"] == "caller"
        assert line["request_id"]
        assert line["timestamp"].endswith("Z")
    assert set().union(*lines) == {
        "part", "event", "level", "timestamp", "by", "owner", "peer", "name", "made", "result", "request_id",
    }  # fmt: skip


async def test_what_a_grant_or_a_limit_refuses_is_a_line(node: Node, written: io.StringIO) -> None:
    async with as_owner(node, "eve") as eve, as_owner(node, "ann") as ann, as_owner(node, "nobody") as nobody:
        for client, reason in ((eve, "PERMISSION_DENIED"), (nobody, "UNAUTHENTICATED")):
            with pytest.raises(SegueError) as caught:
                await client.create(ASKED)
            assert caught.value.reason == reason
        for _ in range(2):
            await ann._connection.call(lambda stub: stub.CreateUpload, upload_request())  # noqa: SLF001 - half an upload
        with pytest.raises(SegueError) as caught:
            await ann._connection.call(lambda stub: stub.CreateUpload, upload_request())  # noqa: SLF001
    refused = [line for line in lines_of(written.getvalue()) if line["result"] != "OK"]
    assert [(line["event"], line["owner"], line["result"]) for line in refused] == [
        ("refuse", "eve", "PERMISSION_DENIED"),
        ("create", "ann", "QUOTA_EXCEEDED"),
    ]
    assert refused[0]["method"] == "CreateComposition"


def upload_request() -> files_pb2.CreateUploadRequest:
    return files_pb2.CreateUploadRequest(media_type="audio/wav", size_bytes=10)


@pytest.mark.only_shape("embedded", "a store in Redis has the time of its server")
async def test_what_retention_deletes_is_a_line(tmp_path: Path, written: io.StringIO) -> None:
    async with embedded(tmp_path) as (_, client):
        made = (await hear(client.compose(ASKED))).composition
    later = Clocks(wall=lambda: 4e9)
    store = await SqliteStore.open(tmp_path / "segue.db", clocks=later)
    artifacts = FolderArtifacts(tmp_path / "artifacts")
    assert (await StorageCleaner(store, artifacts).clean()).jobs == 1
    await artifacts.close()
    await store.close()
    last = lines_of(written.getvalue())[-1]
    assert (last["event"], last["by"], last["owner"], last["name"]) == ("delete", "retention", "local", made.name)
    assert "peer" not in last


async def test_the_lines_may_have_a_file_of_their_own_that_can_be_rotated(tmp_path: Path, written: io.StringIO) -> None:
    path = tmp_path / "audit.log"
    audit.open_file(path)
    logs.configure(LogSettings(level="error", format="json"), written)
    async with embedded(tmp_path) as (_, client):
        first = await client.create(ASKED)
        path.rename(tmp_path / "audit.log.1")
        await client.cancel(first.name)
    assert [line["event"] for line in lines_of((tmp_path / "audit.log.1").read_text())] == ["create"]
    (line,) = lines_of(path.read_text())
    assert told([line]) == [("cancel", "local", first.name, "OK")]
    assert line["request_id"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert lines_of(written.getvalue()) == []


def marked_plan(plan: music_pb2.Plan) -> music_pb2.Plan:
    """Write the mark into all free text of a plan."""
    plan.title = MARK
    plan.moods[:] = [MARK]
    for item in plan.sections:
        item.spec.label = item.spec.prompt = item.spec.negative_prompt = MARK
        item.spec.genre = MARK
        item.spec.lyrics.lines.add(text=f"{MARK} la la")
    return plan


async def test_no_log_has_anything_of_what_is_in_a_piece(node: Node, written: io.StringIO, tmp_path: Path) -> None:
    lyrics = music_pb2.Lyrics(text=f"{MARK} one\n{MARK} two\n")
    brief = music_pb2.Brief(prompt=f"calm piano {MARK}", negative_prompt=MARK, title=MARK, lyrics=lyrics)
    brief.duration.FromSeconds(8)
    marked = spec_pb2.CompositionSpec(brief=brief, labels={"mood": MARK, MARK: "x"}, session=MARK)
    (tmp_path / f"{MARK}.wav").write_bytes(b"RIFF" + MARK.encode())
    async with as_owner(node, "ann") as ann, as_owner(node, MARK) as stranger:
        planned = await ann.plan(marked)
        made = (await hear(ann.compose(marked, audio=stream_pb2.AUDIO_SELECTION_BOTH))).composition
        assert MARK in made.title
        await ann.analyze(made.outputs[0].name)
        of_plan = spec_pb2.CompositionSpec(plan=marked_plan(planned.plan))
        for asked in (of_plan, spec_pb2.CompositionSpec(brief=music_pb2.Brief(prompt=MARK, genre=MARK))):
            with contextlib.suppress(SegueError):
                await hear(ann.compose(asked))
        for seed, fault in enumerate(("conductor.before_section=error", "conductor.after_plan=error"), start=1):
            failpoints.arm(fault)
            marked.brief.seed = seed
            with pytest.raises(SegueError):
                await hear(ann.compose(marked))
        failpoints.arm("")
        edit = spec_pb2.Edit(redo=spec_pb2.EditRedo(section_id=made.plan.sections[0].spec.section_id, prompt=MARK))
        await hear(ann.compose(spec_pb2.CompositionSpec(parent=made.name, edits=[edit], labels={"a": MARK})))
        upload = await ann.upload(tmp_path / f"{MARK}.wav")
        for wrong in (
            ann.get(MARK),
            ann.analyze(upload.name),
            stranger.stats(),
            anext(ann.compositions(f'labels.mood = "{MARK}" nonsense')),
        ):
            with pytest.raises(SegueError):
                await wrong
        await reach(ann.compose(marked, cancel_when_gone=True), "started")
    assert len(lines_of(written.getvalue())) > 5
    counted = await metrics(node.settings.metrics.listen)
    assert [name for name in counted if MARK in name or '"ann"' in name] == []
    assert any("segue_rpc_handled_total" in name for name in counted)
    assert [line for line in written.getvalue().splitlines() if MARK in line] == []
