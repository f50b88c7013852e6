"""One composition's stream that outlives its connections: it goes on from the last cursor, and checks what comes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import google_crc32c
import grpc

from segue.audio.v1 import audio_pb2
from segue_client.errors import DamagedAudio, SegueError, from_rpc_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable

    from segue.composer.v1 import composer_pb2
    from segue.composer.v1.composer_pb2 import CompositionEvent

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 5.0
BYTES_PER_SAMPLE: Final = {
    audio_pb2.SAMPLE_FORMAT_F32LE: 4,
    audio_pb2.SAMPLE_FORMAT_S16LE: 2,
    audio_pb2.SAMPLE_FORMAT_S24LE: 3,
}
PASSING: Final = frozenset({"READER_TOO_SLOW", "SHUTTING_DOWN"})


@dataclass(frozen=True, slots=True)
class Update:
    """An event, and the cursor after it."""

    cursor: str
    event: CompositionEvent

    @property
    def kind(self) -> str:
        """Which event it is: "audio", "section_started", "finished" …"""
        return self.event.WhichOneof("event") or ""


@dataclass
class Place:
    """Where the audio of each stage must go on; rewinds move it back."""

    next_frame: dict[int, int] = field(default_factory=dict)

    def check(self, event: CompositionEvent) -> None:
        """Raise DamagedAudio for a gap, a repetition, a wrong length or a wrong checksum."""
        kind = event.WhichOneof("event")
        if kind == "draft_rewound":
            rewound = event.draft_rewound
            if rewound.stage in self.next_frame:
                self.next_frame[rewound.stage] = min(self.next_frame[rewound.stage], rewound.first_frame)
        elif kind == "audio":
            self._check_audio(event.audio)

    def _check_audio(self, audio: audio_pb2.AudioChunk) -> None:
        expected = self.next_frame.get(audio.stage)
        frame_bytes = audio.format.channels * BYTES_PER_SAMPLE.get(audio.format.sample_format, 0)
        if expected is not None and audio.first_frame != expected:
            raise _damaged(f"frame {audio.first_frame} came where {expected} was due")
        if len(audio.data) != audio.frames * frame_bytes:
            raise _damaged(f"{len(audio.data)} bytes came for {audio.frames} frames of {frame_bytes}")
        if google_crc32c.value(audio.data) != audio.crc32c:
            raise _damaged(f"the checksum of frame {audio.first_frame} is wrong")
        self.next_frame[audio.stage] = audio.first_frame + audio.frames


class Resuming:
    """Opens a stream again when it breaks for a reason that passes.

    `begin` starts it the first time (Compose, with a request id that makes it safe to repeat, or a watch); `resume`
    opens a watch of the named composition from a cursor.
    """

    def __init__(
        self,
        begin: Callable[[], AsyncIterable[composer_pb2.ComposeResponse | composer_pb2.WatchCompositionResponse]],
        resume: Callable[[str, str], AsyncIterable[composer_pb2.WatchCompositionResponse]],
        *,
        patience_s: float,
        cursor: str = "",
        name: str = "",
    ) -> None:
        self._begin = begin
        self._resume = resume
        self._patience_s = patience_s
        self._cursor = cursor
        self._name = name
        self._place = Place()
        self.num_resumed = 0

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield every event once; the last one is `finished`."""
        wait_s, broken_since = FIRST_WAIT_S, 0.0
        while True:
            call = self._resume(self._name, self._cursor) if self._name else self._begin()
            try:
                async for response in call:
                    wait_s, broken_since = FIRST_WAIT_S, 0.0
                    self._name = response.event.composition
                    self._place.check(response.event)
                    self._cursor = response.cursor
                    update = Update(response.cursor, response.event)
                    yield update
                    if update.kind == "finished":
                        return
                # A stream that ends without `finished` is a broken one.
                failure = SegueError(grpc.StatusCode.UNAVAILABLE, "the stream ended in the middle")
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if failure.code is not grpc.StatusCode.UNAVAILABLE:
                    raise failure from error
            finally:
                if hasattr(call, "cancel"):
                    call.cancel()
            broken_since = broken_since or time.monotonic()
            if failure.reason not in PASSING and time.monotonic() - broken_since > self._patience_s:
                raise failure
            await asyncio.sleep(failure.retry_after_s or wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
            self.num_resumed += 1


def _damaged(what: str) -> DamagedAudio:
    return DamagedAudio(grpc.StatusCode.DATA_LOSS, f"the audio is damaged: {what}")
