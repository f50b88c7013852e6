"""Hostile files: refused with a reason, by a child process that needs less than a second, without a crash."""

from __future__ import annotations

import resource
import struct
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from segue_audio.decoder.child_process import HEAD, SHAPE
from segue_audio.decoder.decoded_file import DecodedFile
from segue_audio.errors import AudioError
from segue_audio.files import AudioFileSettings, FileFormat, open_writer, read_tags

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wav(channels: int = 2, rate: int = 48_000, bits: int = 16, claims: int = 4_000, kind: int = 1) -> bytes:
    """A WAV with the given header fields and 4000 bytes of data."""
    numbers = (kind, channels, rate & 0xFFFFFFFF, 0, channels * bits // 8 & 0xFFFF, bits)
    head = b"fmt " + struct.pack("<IHHIIHH", 16, *numbers) + b"data" + struct.pack("<I", claims)
    return b"RIFF" + struct.pack("<I", 4_040) + b"WAVE" + head + bytes(4_000)


def flac(path: Path, *, claims: int | None = None, cut: int | None = None) -> bytes:
    """A FLAC of a second of noise that claims another length, or is incomplete."""
    rng = np.random.default_rng(1)
    soundfile.write(path, rng.normal(0, 0.1, (48_000, 2)), 48_000, format="FLAC")
    content = bytearray(path.read_bytes())
    if claims is not None:
        # STREAMINFO: the low four bits of byte 13 and the four bytes after it count the frames.
        content[21] = content[21] & 0xF0 | claims >> 32 & 0x0F
        content[22:26] = (claims & 0xFFFFFFFF).to_bytes(4)
    return bytes(content[:cut])


def nan(path: Path) -> bytes:
    soundfile.write(path, np.full((4_800, 2), np.nan), 48_000, format="WAV", subtype="FLOAT")
    return path.read_bytes()


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "nothing": lambda _: b"",
    "4 bytes": lambda _: b"RIFF",
    "no channels": lambda _: wav(channels=0),
    "65535 channels": lambda _: wav(channels=65_535),
    "9 channels": lambda _: wav(channels=9),
    "no rate": lambda _: wav(rate=0),
    "4 GHz": lambda _: wav(rate=4_000_000_000),
    "no bits": lambda _: wav(bits=0),
    "no frames": lambda _: wav(claims=0)[:44],
    "a picture": lambda _: b"\x89PNG\r\n\x1a\n" + bytes(4_000),
    "junk that begins like MP3": lambda _: b"\xff\xfb\x90\x00" + bytes(range(256)) * 16,
    "junk behind ID3": lambda _: b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(4_000),
    "not a number": nan,
    "FLAC cut short": lambda path: flac(path, cut=40_000),
    "FLAC of 2^36 frames": lambda path: flac(path, claims=(1 << 36) - 1),
    "FLAC of a million hours": lambda path: flac(path, claims=1 << 35),
    "FLAC that claims a frame more": lambda path: flac(path, claims=48_001),
    "Ogg without Opus": lambda _: b"OggS" + bytes(4_000),
}


async def decoded(path: Path) -> int:
    frames = 0
    async with DecodedFile(path) as sound:
        async for block in sound.blocks():
            frames += len(block)
    return frames


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_within_a_second(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(HOSTILE[name](tmp_path / "made"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with pytest.raises(AudioError) as caught:
        await decoded(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # CPU time, which includes the start of Python; elapsed time would depend on the load of the machine.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
    assert str(caught.value)
    assert str(tmp_path) not in str(caught.value)


async def test_a_header_that_claims_4_gib_gives_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(wav(claims=0xFFFF_FFF0))
    assert await decoded(path) == 1_000


def page(body: bytes, *segments: int) -> bytes:
    return b"OggS" + struct.pack("<BBqIIIB", 0, 0, 0, 1, 0, 0, len(segments)) + bytes(segments) + body


OPUS = page(b"OpusHead", 8)
RIFF = b"RIFF\0\0\0\0WAVE"
TAGS: dict[str, bytes] = {
    "Opus tags of millions of bytes in pages of 255": OPUS + page(b"OpusTags" + b"\xff" * 247, 255) * 60_000,
    "Opus tags of empty pages": OPUS + page(b"") * 400_000,
    "Opus without a page of tags": OPUS,
    "two million chunks": RIFF + b"JUNK\0\0\0\0" * 2_000_000,
    "two million metadata blocks": b"fLaC" + bytes(4) * 2_000_000,
    "four billion comments": b"fLaC\x84\0\0\x0c" + struct.pack("<III", 0, 0xFFFFFFFF, 0),
    "a million comments": b"fLaC\x84\x80\0\x08" + struct.pack("<II", 0, 1 << 20) + bytes(0x800000),
    "six million ID3 frames": b"ID3\x03\0\0" + bytes([31, 0, 0, 0]) + b"TXXX\0\0\0\0\0\0" * 6_501_171,
    "an ID3 tag cut short in a WAV": RIFF + b"id3 \x05\0\0\0ID3\x03\0",
}


@pytest.mark.parametrize("name", TAGS)
def test_hostile_tags_are_refused_with_a_message_and_cost_little(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(TAGS[name])
    begun = time.process_time()
    with pytest.raises(AudioError):
        read_tags(path)
    # Far above the need, far below reading everything.
    assert time.process_time() - begun < 1.0


def test_a_large_wav_with_incomplete_sizes_has_no_tags(tmp_path: Path) -> None:
    path = tmp_path / "file.wav"
    path.write_bytes(b"RF64\0\0\0\0WAVEds64\x1c\0\0\0\0\0")
    assert read_tags(path).tags == {}


@pytest.mark.parametrize("size", [255 * 255 - 60, *range(255 * 255 - 30, 255 * 255 - 20), 255 * 510])
def test_opus_tags_that_end_on_a_page_s_border_are_read(tmp_path: Path, size: int) -> None:
    path = tmp_path / "tone.opus"
    settings = AudioFileSettings(file_format=FileFormat.OGG_OPUS, tags={"COMMENT": "x" * size})
    with open_writer(path, settings) as writer:
        writer.write(np.zeros((4_800, 2), np.float32))
    assert read_tags(path).tags["COMMENT"] == "x" * size


def head(rate: int = 48_000, channels: int = 2) -> bytes:
    return HEAD.pack(b"H", SHAPE.size) + SHAPE.pack(rate, channels, 2)


SAYINGS: dict[str, bytes] = {
    "nothing": b"",
    "sound before its shape": HEAD.pack(b"P", 8) + bytes(8),
    "a shape of another length": HEAD.pack(b"H", 3) + b"abc",
    "no channels": head(channels=0),
    "a billion channels": head(channels=1 << 30),
    "a rate of a gigahertz": head(rate=10**9),
    "half a frame": head() + HEAD.pack(b"P", 12) + bytes(12),
    "a message of no kind": head() + HEAD.pack(b"?", 8) + bytes(8),
    "a message of four gigabytes": head() + HEAD.pack(b"P", 0xFFFFFFFF) + bytes(100),
    "no end": head() + HEAD.pack(b"P", 16) + bytes(16),
}


@pytest.mark.parametrize("name", SAYINGS)
async def test_what_a_broken_child_says_is_not_believed(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "said").write_bytes(SAYINGS[name])
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\nexec /bin/cat '{tmp_path}/said'\n")
    child.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(child))
    with pytest.raises(AudioError):
        await decoded(tmp_path / "file")
