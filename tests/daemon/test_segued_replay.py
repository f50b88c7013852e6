"""A replay sends the recorded events, audio and files, and renders nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from typing import TYPE_CHECKING

import google_crc32c
import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.daemon.segued_command import segued, start
from tests.mesh.harness import Heard, Segued, free_port, hear, spec

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composer_pb2_grpc, composition_pb2, files_pb2, stream_pb2
from segue_client import Client, SegueError
from segued.main import main
from segued.recording.format import Recording, RecordingError, RecordingWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
NAME = "compositions/0123456789abcdef"


class Made:
    """A recording, and the events of the original stream."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recording = folder / "piece.segue"
        self.flac = folder / "song.flac"
        self.heard = Heard()

    async def make(self, address: str) -> None:
        async with Client(address) as client:
            composition = await client.compose(spec(seconds=3)).save(self.flac)
            self.heard = await hear(client.watch(composition.name, audio=BOTH))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    found = Made(tmp_path_factory.mktemp("recorded"))
    one = Segued(found.folder / "home").start()
    try:
        asyncio.run(found.make(one.address))
        name = found.heard.composition.name
        done = segued(found.folder, "record", name, "-o", str(found.recording), "--server", one.address)
        assert done.returncode == 0, done.stderr
        assert "segued replay" in done.stderr
        # An unknown name leaves the existing file unchanged.
        again = ("-o", str(found.recording), "--server", one.address, "--force")
        missing = segued(found.folder, "record", NAME, *again)
        assert (missing.returncode, "there is no" in missing.stderr) == (4, True)
    finally:
        one.stop()
    return found


def replaying(made: Made, *flags: str) -> tuple[subprocess.Popen[str], str]:
    process = start(
        made.folder,
        "replay",
        str(made.recording),
        *(("--listen", "127.0.0.1:0") if "--listen" not in flags else ()),
        *flags,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "ready on" in line, process.communicate()[1]
    return process, line.split(" ready on ")[1].partition(": ")[0]


@pytest.fixture(scope="module")
def address(made: Made) -> Iterator[str]:
    """Serve the recording without pauses."""
    process, found = replaying(made, "--speed", "inf")
    yield found
    process.terminate()
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "")


async def test_a_replay_sends_the_recorded_events_audio_and_files(made: Made, address: str, tmp_path: Path) -> None:
    async with Client(address) as client:
        heard = await hear(client.compose("anything", audio=BOTH))
        assert [each.event for each in heard.updates] == [each.event for each in made.heard.updates]
        name = heard.composition.name
        await client.watch(name).save(tmp_path / "song.flac")
        assert (tmp_path / "song.flac").read_bytes() == made.flac.read_bytes()
        assert (await client.get(name)).state == composition_pb2.STATE_SUCCEEDED
        assert [each.name async for each in client.compositions()] == [name]
        drafts = await hear(client.watch(name, audio=stream_pb2.AUDIO_SELECTION_DRAFT))
        assert (drafts.draft, drafts.master) == (made.heard.draft, b"")
        s16 = await hear(client.watch(name, audio=BOTH, encoding=audio_pb2.SAMPLE_FORMAT_S16LE))
        assert len(s16.draft) == len(made.heard.draft) // 2


async def test_every_cursor_continues_with_the_next_event(made: Made, address: str) -> None:
    async with Client(address) as client:
        for place, update in enumerate(made.heard.updates[:-1]):
            stream = client.watch(update.composition, cursor=update.cursor, audio=BOTH)
            assert (await anext(stream)).event == made.heard.updates[place + 1].event
            await stream.aclose()
        with pytest.raises(SegueError) as caught:
            await anext(client.watch(made.heard.composition.name, cursor="none"))
        assert caught.value.reason == "INVALID_CURSOR"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 400_000), limit=st.integers(0, 200_000))
def test_any_part_of_a_file_is_sent(made: Made, address: str, first: int, limit: int) -> None:
    output = next(each for each in made.heard.composition.outputs if each.kind == composition_pb2.OUTPUT_KIND_MASTER)
    first = min(first, output.size_bytes)
    request = files_pb2.DownloadArtifactRequest(name=output.name, read_offset=first, read_limit=limit)
    with grpc.insecure_channel(address) as channel:
        pieces = list(composer_pb2_grpc.ComposerServiceStub(channel).DownloadArtifact(request))
    end = first + limit if limit else output.size_bytes
    assert b"".join(piece.data for piece in pieces) == made.flac.read_bytes()[first:end]


async def test_calls_that_a_replay_cannot_answer_are_refused(address: str) -> None:
    async with Client(address) as client:
        for refused in (client.models(), client.cancel(NAME), client.plan(spec())):
            with pytest.raises(SegueError, match=r"this is a replay of a recording; it answers Compose") as caught:
                await refused
            assert caught.value.reason == "NOT_IMPLEMENTED"
        with pytest.raises(SegueError, match="this is a replay of compositions/"):
            await client.get(NAME)


async def test_a_replay_takes_the_recorded_time(made: Made) -> None:
    times = [each.event.event_time for each in made.heard.updates]
    span_s = (times[-1].ToNanoseconds() - times[0].ToNanoseconds()) / 1e9
    process, address = await asyncio.to_thread(replaying, made, "--speed", "0.5")
    try:
        async with Client(address) as client:
            began = time.monotonic()
            first = client.compose("anything", audio=BOTH)
            assert (await anext(first)).kind == "accepted"
            # A second watcher receives everything as well.
            second = await hear(client.watch(first.name, audio=BOTH))
            assert time.monotonic() - began >= 2 * span_s * 0.99
            assert len([update async for update in first]) == len(made.heard.updates) - 1
            assert second.digests() == made.heard.digests()
    finally:
        process.terminate()
        await asyncio.to_thread(process.communicate)


async def test_a_client_resumes_on_a_restarted_replay(made: Made) -> None:
    listen = f"127.0.0.1:{free_port()}"
    flags = ("--listen", listen, "--speed")
    process, _ = await asyncio.to_thread(replaying, made, *flags, "0.1")
    try:
        async with Client(listen, patience_s=60) as client:
            stream = client.compose("anything", audio=BOTH)
            heard = Heard()
            for _ in range(3):
                heard.take(await anext(stream))
            # The composition is still running at this point of the replay.
            assert (await client.get(stream.name)).state != composition_pb2.STATE_SUCCEEDED
            process.kill()
            await asyncio.to_thread(process.communicate)
            process, _ = await asyncio.to_thread(replaying, made, *flags, "inf")
            await asyncio.wait_for(hear(stream, heard), 60)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
    logged = [each.event for each in heard.updates if each.kind != "checkpoint"]
    assert logged == [each.event for each in made.heard.updates]
    assert stream.num_resumed


@pytest.mark.reference("grpcurl")
def test_grpcurl_receives_the_same_events(made: Made, address: str) -> None:
    asked = json.dumps({"spec": {"brief": {"prompt": "anything"}}, "audio": "AUDIO_SELECTION_NONE"})
    done = subprocess.run(
        ["grpcurl", "-plaintext", "-d", asked, address, "segue.composer.v1.ComposerService/Compose"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.count('"cursor"') == sum(kind != "audio" for kind in made.heard.kinds)


# A minimal recording, for tests with damaged files.


def small(path: Path) -> bytes:
    with path.open("wb") as file:
        writer = RecordingWriter(file)
        for number, body in enumerate((stream_pb2.Accepted(), stream_pb2.Started(), stream_pb2.Finished()), 1):
            kind = ("accepted", "started", "finished")[number - 1]
            event = stream_pb2.CompositionEvent(composition=NAME, sequence=number, **{kind: body})  # type: ignore[arg-type]  # fields of the oneof
            writer.event(f"c{number}", event)
        output = composition_pb2.Output(name=f"{NAME}/outputs/a.txt", size_bytes=2)
        writer.file(files_pb2.DownloadArtifactResponse(output=output))
        writer.file(files_pb2.DownloadArtifactResponse(data=b"hi", crc32c=google_crc32c.value(b"hi")))
        writer.end()
    return path.read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = tmp_path_factory.mktemp("small") / "small.segue"
    content = small(path)
    Recording(path).close()
    return path, content


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        Recording(path)
    return str(caught.value)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_is_detected(whole: tuple[Path, bytes], data: st.DataObject) -> None:
    path, content = whole
    at = data.draw(st.integers(0, len(content) - 1))
    wrecked = bytearray(content)
    wrecked[at] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(path, bytes(wrecked))


def test_a_truncated_recording_is_detected(whole: tuple[Path, bytes]) -> None:
    path, content = whole
    for length in range(len(content)):
        assert refused(path, content[:length])
    assert "follows the end" in refused(path, content + b"x")


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused(whole: tuple[Path, bytes], tail: bytes) -> None:
    path, content = whole
    assert "not a recording" in refused(path, tail)
    assert refused(path, content[:16] + tail)


def test_inconsistent_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "lies.segue"

    def written(*events: stream_pb2.CompositionEvent, output: str = "") -> bytes:
        with path.open("wb") as file:
            writer = RecordingWriter(file)
            for event in events:
                writer.event("c", event)
            if output:
                writer.file(files_pb2.DownloadArtifactResponse(output=composition_pb2.Output(name=output)))
            writer.end()
        return path.read_bytes()

    accepted = stream_pb2.CompositionEvent(composition=NAME, accepted=stream_pb2.Accepted())
    finished = stream_pb2.CompositionEvent(composition=NAME, finished=stream_pb2.Finished())
    other = stream_pb2.CompositionEvent(composition="compositions/fedcba98", finished=stream_pb2.Finished())
    assert "not ended" in refused(path, written(accepted))
    assert "not accepted" in refused(path, written(finished))
    assert "another composition" in refused(path, written(accepted, other))
    assert "follows the end" in refused(path, written(accepted, finished, finished))
    assert "not an output of" in refused(path, written(accepted, finished, output="../../etc/passwd"))


def test_the_command_reports_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # In this process: these errors are found before anything is served.
    (tmp_path / "song.flac").write_bytes(b"fLaC")
    for name, words in (("song.flac", "this is not a recording"), ("none.segue", "No such file")):
        assert main(["replay", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["replay", "song.flac", "--speed", "0"])
    assert (stopped.value.code, "ten times" in capsys.readouterr().err) == (2, True)
