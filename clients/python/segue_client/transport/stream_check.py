"""Checks every message of a stream before it is used: positions, lengths, checksums, names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import google_crc32c
import grpc

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client.errors import DamagedAudio
from segue_client.events import BYTES_PER_SAMPLE, FROM_MEMORY

if TYPE_CHECKING:
    from segue.composer.v1.stream_pb2 import CompositionEvent

NAME: Final = re.compile(r"compositions/[0-9a-f]{8,64}")
MAX_CURSOR_BYTES: Final = 512


@dataclass
class StreamPosition:
    """The position in a stream, and what may follow. `check` advances it, or raises and leaves it unchanged."""

    name: str = ""
    """The name of the composition; empty before its first event."""
    sequence: int = 0
    next_frame: dict[int, int] = field(default_factory=dict)
    """The next frame of each stage that was asked for. A stage that is missing here may begin at any frame."""
    audio_format: tuple[int, int, int] | None = None
    """Sample rate, channels and sample format, which are the same for all chunks."""
    frames: int | None = None
    """The length of the piece in its plan."""
    draft_done: bool = True
    """Whether the master may follow."""

    def check(self, cursor: str, event: CompositionEvent) -> None:
        """Raise DamagedAudio for a gap, a repetition, or a wrong length, checksum or name."""
        kind = event.WhichOneof("event")
        if not cursor or len(cursor) > MAX_CURSOR_BYTES:
            raise damaged("an event has no cursor")
        if event.composition != self.name and (self.name or not NAME.fullmatch(event.composition)):
            raise damaged(f"an event of {event.composition!r} is in the stream of {self.name or 'a new piece'}")
        if event.sequence < self.sequence:
            raise damaged(f"event {event.sequence} follows event {self.sequence}")
        if kind == "accepted" and event.accepted.composition.name != event.composition:
            raise damaged("the accepted composition has two names")
        if kind == "audio":
            self._check_audio(event.audio)
        elif kind == "draft_rewound":
            self._rewind(event.draft_rewound)
        elif kind in {"planned", "replanned"}:
            self.frames = (event.planned.plan if kind == "planned" else event.replanned.plan).frames or None
        elif kind == "draft_finished":
            self.draft_done = True
        elif kind == "finished":
            self._check_end(event.finished.composition)
        self.name, self.sequence = event.composition, event.sequence

    def _check_audio(self, audio: audio_pb2.AudioChunk) -> None:
        if audio.stage not in {audio_pb2.STAGE_DRAFT, audio_pb2.STAGE_MASTER}:
            raise damaged(f"audio of stage {audio.stage} was not requested")
        if audio.stage == audio_pb2.STAGE_MASTER and not self.draft_done:
            raise damaged("the master starts before the end of the draft")
        expected = self.next_frame.get(audio.stage, audio.first_frame)
        if audio.first_frame != expected or not audio.frames:
            raise damaged(
                f"frame {expected} was expected, but {audio.frames} frames from {audio.first_frame} were received"
            )
        audio_format = (audio.format.sample_rate, audio.format.channels, audio.format.sample_format)
        if self.audio_format not in {None, audio_format}:
            raise damaged(f"the format changed from {self.audio_format} to {audio_format}")
        frame_bytes = audio.format.channels * BYTES_PER_SAMPLE.get(audio.format.sample_format, 0)
        if len(audio.data) != audio.frames * frame_bytes:
            raise damaged(f"{len(audio.data)} bytes are not {audio.frames} frames of {frame_bytes} bytes")
        if google_crc32c.value(audio.data) != audio.crc32c:
            raise damaged(f"the checksum of frame {audio.first_frame} is wrong")
        end = audio.first_frame + audio.frames
        if self.frames is not None and end > self.frames:
            raise damaged(f"frame {end} is past the end of the piece, which has {self.frames} frames")
        self.next_frame[audio.stage], self.audio_format = end, audio_format

    def _rewind(self, rewound: stream_pb2.DraftRewound) -> None:
        due = self.next_frame.get(rewound.stage)
        if due is None:
            return
        if rewound.first_frame < 0:
            raise damaged(f"the stream rewinds to frame {rewound.first_frame}")
        self.next_frame[rewound.stage] = min(due, rewound.first_frame)

    def _check_end(self, ended: composition_pb2.Composition) -> None:
        if ended.name != self.name:
            raise damaged(f"the end of {ended.name!r} is in the stream of {self.name}")
        # Only a composition that succeeded has all of its audio.
        if ended.state != composition_pb2.STATE_SUCCEEDED or not ended.plan.frames:
            return
        for stage, due in self.next_frame.items():
            if due != ended.plan.frames:
                raise damaged(
                    f"the {audio_pb2.Stage.Name(stage)} ended at frame {due} of {ended.plan.frames}"  # type: ignore[arg-type]  # the key was checked
                )

    def without_known(self, event: CompositionEvent) -> CompositionEvent | None:
        """Return the new part of an event that may be a repetition; None when nothing in it is new."""
        if event.WhichOneof("event") != "audio":
            known = event.sequence <= self.sequence and event.WhichOneof("event") not in FROM_MEMORY
            return None if known else event
        audio = event.audio
        skipped = self.next_frame.get(audio.stage, audio.first_frame) - audio.first_frame
        if event.sequence < self.sequence or skipped >= audio.frames:
            return None
        if skipped <= 0:
            return event
        if google_crc32c.value(audio.data) != audio.crc32c:
            raise damaged(f"the checksum of frame {audio.first_frame} is wrong")
        rest = stream_pb2.CompositionEvent()
        rest.CopyFrom(event)
        rest.audio.first_frame += skipped
        rest.audio.frames -= skipped
        rest.audio.data = audio.data[skipped * (len(audio.data) // audio.frames) :]
        rest.audio.crc32c = google_crc32c.value(rest.audio.data)
        return rest


def damaged(fault: str) -> DamagedAudio:
    """Return the error for a damaged stream."""
    return DamagedAudio(grpc.StatusCode.DATA_LOSS, f"the stream is damaged: {fault}")
