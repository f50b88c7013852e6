"""A file that a child process decodes, with little memory and time; its PCM is read back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from segue_audio.decoder.child_process import BLOCK_FRAMES, HEAD, SHAPE
from segue_audio.errors import UnreadableAudio
from segue_audio.readable_files import READABLE, ReadLimits, is_readable

if TYPE_CHECKING:
    from asyncio import StreamReader
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_audio.arrays import Float32

STALL_S: Final = 20.0
"""A decoder that sends nothing for this time is killed."""
_LARGEST_BODY: Final = BLOCK_FRAMES * 8 * 4
_ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
LIMITS: Final = ReadLimits()


def check_magic(head: bytes) -> None:
    """Refuse a file that no decoder knows by its first bytes, without waiting for the rest."""
    if not is_readable(head):
        *others, last = (container.name for container in READABLE)
        raise UnreadableAudio(f"the file is not readable audio; send {', '.join(others)} or {last}")


class DecodedFile:
    """A file being decoded; `async with` always ends the child process.

    A file that cannot be decoded raises UnreadableAudio, in `async with` or in `blocks`.
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
            "segue_audio.decoder.child_process",
            str(self._path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_ENVIRONMENT,
            cwd="/",
        )
        try:
            self._set_shape(*await self._message())
        except BaseException:
            await self._end()
            raise
        return self

    def _set_shape(self, kind: bytes, body: bytes) -> None:
        if kind != b"H" or len(body) != SHAPE.size:
            raise _broken()
        self.sample_rate, self.channels, self.frames = SHAPE.unpack(body)
        rate_fits = LIMITS.min_sample_rate <= self.sample_rate <= LIMITS.max_sample_rate
        if not rate_fits or not 1 <= self.channels <= LIMITS.max_channels:
            raise _broken()

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def blocks(self) -> AsyncIterator[Float32]:
        """Yield the audio block by block."""
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
            raise UnreadableAudio(f"the decoder sent nothing for {STALL_S:.0f} s") from None
        except asyncio.IncompleteReadError:
            raise _broken() from None
        if kind == b"E":
            raise UnreadableAudio(body.decode("utf-8", "replace"))
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
        # Its remaining output must be read, or the process is never reaped.
        await self._child.communicate()


def _broken() -> UnreadableAudio:
    # The child may be compromised: its output is not trusted.
    return UnreadableAudio("decoding the file took too much memory or time, or crashed the decoder")
