"""The sections of a piece or of an uploaded file as ranges of frames, without a gap between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2

if TYPE_CHECKING:
    from segue.music.v1.music_pb2 import Plan

CHANNELS: Final = 2
"""Compositions are always stereo."""
WHOLE_FILE: Final = "piece"
"""The id of the only section of an uploaded file."""


@dataclass(frozen=True, slots=True)
class TimelineSection:
    """The frames of one section; those of the last section include the tail of the piece."""

    section_id: str
    first_frame: int
    frames: int
    target_lufs: float | None = None

    @property
    def end_frame(self) -> int:
        """The frame after the last one."""
        return self.first_frame + self.frames


@dataclass(frozen=True)
class Timeline:
    """All sections, and the format of their audio in the store."""

    sample_rate: int
    channels: int
    sections: tuple[TimelineSection, ...]

    @classmethod
    def of_plan(cls, plan: Plan) -> Timeline:
        """Return the timeline of a planned composition."""
        return cls(
            plan.sample_rate,
            CHANNELS,
            tuple(
                TimelineSection(
                    item.spec.section_id,
                    item.first_frame,
                    item.spec.frames + item.spec.tail_frames,
                    item.spec.target_lufs if item.spec.HasField("target_lufs") else None,
                )
                for item in plan.sections
            ),
        )

    @classmethod
    def of_file(cls, sample_rate: int, channels: int, frames: int) -> Timeline:
        """Return the timeline of an uploaded file: one section, from the first frame to the last."""
        return cls(sample_rate, channels, (TimelineSection(WHOLE_FILE, 0, frames),))

    @property
    def audio_format(self) -> audio_pb2.AudioFormat:
        """The format in which its audio is stored and sent to other roles."""
        return audio_pb2.AudioFormat(
            sample_rate=self.sample_rate, channels=self.channels, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE
        )
