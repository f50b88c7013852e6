"""Decode files that may be hostile in a child process with little memory and little time, and read its PCM back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from segue_audio.decoder import BLOCK_FRAMES, HEAD, SHAPE
from segue_audio.errors import UnreadableAudio
from segue_audio.limits import ReadLimits

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_audio.arrays import Float32

STALL_S: Final = 20.0
"""A decoder that gives nothing for so long is ended."""
_LARGEST_BODY: Final = BLOCK_FRAMES * 8 * 4
_ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
LIMITS: Final = ReadLimits()
MAGICS: Final = (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff", b"ID3")


def check_magic(head: bytes) -> None:
    """Refuse at once what no decoder will know, without waiting for the rest."""
    is_mpeg = len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    if not is_mpeg and not head.startswith(MAGICS):
        raise UnreadableAudio("the file is no sound that can be read; send WAV, FLAC, Ogg, MP3, AIFF or CAF")


class DecodedFile:
    """A file being decoded; use it in `async with`, which ends the child whatever happens.

    What is wrong with the file is raised as UnreadableAudio, by `async with` or while blocks are read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._child: asyncio.subprocess.Process | None = None
        self.sample_rate = 0
        self.channels = 0
        self.frames = 0

    async def __aenter__(self) -> Self:
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-m",
            "segue_audio.decoder",
            str(self._path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
        )
        try:
            self._take_shape(*await self._message())
        except BaseException:
            await self._end()
            raise
        return self

    def _take_shape(self, kind: bytes, body: bytes) -> None:
        if kind != b"H" or len(body) != SHAPE.size:
            raise _broken()
        self.sample_rate, self.channels, self.frames = SHAPE.unpack(body)
        rate_fits = LIMITS.min_sample_rate <= self.sample_rate <= LIMITS.max_sample_rate
        if not rate_fits or not 1 <= self.channels <= LIMITS.max_channels:
            raise _broken()

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def blocks(self) -> AsyncIterator[Float32]:
        """Give the sound block by block."""
        while True:
            kind, body = await self._message()
            if kind == b"Z":
                return
            if kind != b"P" or len(body) % (4 * self.channels):
                raise _broken()
            yield np.frombuffer(body, "<f4").reshape(-1, self.channels)

    async def _message(self) -> tuple[bytes, bytes]:
        try:
            async with asyncio.timeout(STALL_S):
                kind, size = HEAD.unpack(await self._out.readexactly(HEAD.size))
                body = await self._out.readexactly(min(size, _LARGEST_BODY))
        except TimeoutError:
            raise _unreadable(f"decoding the file stood still for {STALL_S:.0f} s") from None
        except asyncio.IncompleteReadError:
            raise _broken() from None
        if kind == b"E":
            raise _unreadable(body.decode("utf-8", "replace"))
        return kind, body

    @property
    def _out(self) -> StreamReader:
        if self._child is None or self._child.stdout is None:
            raise RuntimeError("the decoder was not started")
        return self._child.stdout

    async def _end(self) -> None:
        if self._child is None:
            return
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.kill()
        # What it still wrote must be read, or it would never be reaped.
        await self._child.communicate()


def _broken() -> UnreadableAudio:
    # Whatever the file made of the child, what it says is not believed.
    return _unreadable("decoding the file took too much memory or time, or broke the decoder")


def _unreadable(why: str) -> UnreadableAudio:
    return UnreadableAudio(why)
