"""The client writes complete files only, and resumes broken downloads."""

from __future__ import annotations

import asyncio
import resource
import signal
from typing import TYPE_CHECKING

import pytest
from tests.sdk.fake_composer import NAME, Break, FakeComposer, Piece, QuickClock, files_in, serving

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_client import Client, SegueError, spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_files() -> Iterator[None]:
    """A disk that is full after 50 000 bytes, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


async def test_save_requests_the_format_and_writes_the_announced_file(tmp_path: Path) -> None:
    piece = Piece()
    fake = FakeComposer(piece)
    fake.break_downloads = {0, 65536, 196608}
    async with serving(fake) as address, Client(address, clock=QuickClock()) as client:
        wanted = spec("calm piano", duration_s=20, seed=3)
        composition = await client.compose(wanted).save(str(tmp_path / "new" / "song.flac"))
    assert composition.name == NAME
    assert (tmp_path / "new" / "song.flac").read_bytes() == piece.flac
    assert fake.num_downloads == 4
    assert [export.file_format for export in fake.specs[0].exports] == [audio_pb2.FILE_FORMAT_FLAC]
    # The message of the caller is unchanged.
    assert not wanted.exports
    assert (wanted.brief.seed, wanted.brief.duration.seconds) == (3, 20)


async def test_an_existing_file_and_an_unknown_format_are_refused_before_the_call(tmp_path: Path) -> None:
    fake = FakeComposer(Piece())
    there = tmp_path / "song.flac"
    there.write_text("mine")
    async with serving(fake) as address, Client(address) as client:
        with pytest.raises(FileExistsError, match="replace=True"):
            await client.compose("calm piano").save(there)
        with pytest.raises(ValueError, match="unknown file format"):
            await client.compose("calm piano").save(tmp_path / "song.xyz")
        with pytest.raises(ValueError, match=r"\.wav"):
            await client.compose("calm piano").save_live(tmp_path / "song.flac")
        assert fake.num_streams == 0
        with pytest.raises(FileNotFoundError, match=r"it has: audio/flac"):
            await client.watch(NAME).save(tmp_path / "song.mp3")
        await client.watch(NAME).save(there, replace=True)
    assert there.read_bytes() == fake.piece.flac


@pytest.mark.usefixtures("small_files")
async def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    async with serving(FakeComposer(Piece(num_chunks=80))) as address, Client(address) as client:
        with pytest.raises(OSError, match="too large"):
            await client.compose("calm piano").save(tmp_path / "song.flac")
        with pytest.raises(OSError, match="too large"):
            await client.compose("calm piano").save_live(tmp_path / "draft.wav")
    assert files_in(tmp_path) == []


async def test_a_stream_is_used_once() -> None:
    async with serving(FakeComposer(Piece())) as address, Client(address) as client:
        stream = client.compose("calm piano")
        await stream.result()
        with pytest.raises(RuntimeError, match="already used"):
            await stream.result()


async def test_closing_a_stream_ends_its_call() -> None:
    fake = FakeComposer(Piece(), lambda _number, messages: [*messages[:4], Break(silent=True)])
    async with serving(fake) as address, Client(address) as client:
        async with client.compose("calm piano") as stream:
            async for update in stream:
                if update.kind == "planned":
                    break
        assert stream.name == NAME
        assert stream.cursor == "c3"


async def test_a_deletion_succeeds_when_its_answer_is_lost() -> None:
    fake = FakeComposer(Piece())
    async with serving(fake) as address, Client(address, clock=QuickClock()) as client:
        await client.delete(NAME)
        assert fake.num_deletes == 2
        with pytest.raises(SegueError, match="COMPOSITION_NOT_FOUND"):
            await client.delete(NAME)


@pytest.mark.parametrize("audio", stream_pb2.AudioSelection.values())
async def test_every_audio_selection_reaches_the_end(audio: stream_pb2.AudioSelection.ValueType) -> None:
    async with serving(FakeComposer(Piece())) as address, Client(address) as client:
        async with asyncio.timeout(20):
            kinds = [update.kind async for update in client.watch(NAME, audio=audio)]
    assert kinds[-1] == "finished"
    assert ("audio" in kinds) == (audio != stream_pb2.AUDIO_SELECTION_NONE)
