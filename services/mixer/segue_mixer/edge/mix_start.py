"""The start message of Mix: decodes the timeline and checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_mixer.edge.messages import MAX_CHANNELS
from segue_mixer.mix.sections import MIX, MixSection
from segue_runtime import errors

if TYPE_CHECKING:
    from segue.mixer.v1 import mixer_pb2

MAX_FRAMES: Final = 4 * 3600 * 192_000
MAX_BEAT_S: Final = 60.0
"""A beat lasts at most a minute and at least a frame."""
MAX_END_S: Final = 120.0
"""Limit of the last bar and of the tail after it: the mixer holds both in memory until the ending is known."""
DEFAULT_JOIN_BEATS: Final = 1.0


def read_sections(start: mixer_pb2.MixStart) -> list[MixSection]:
    """Decode the timeline; sections must not leave gaps, and only the last one has a tail."""
    channels = start.format.channels
    if channels > MAX_CHANNELS:
        raise errors.InvalidField(
            f"start.format.channels: {channels}; loudness is defined for 1 to {MAX_CHANNELS} channels"
        )
    sections: list[MixSection] = []
    expected = 0
    for index, item in enumerate(start.sections):
        where = f"start.sections[{index}]"
        _check_section(item, where, start.format.sample_rate, is_last=index + 1 == len(start.sections))
        if item.first_frame != expected:
            raise errors.InvalidField(
                f"{where}.first_frame: {item.first_frame}, expected {expected}; sections must not leave gaps or overlap"
            )
        if any(item.section_id == earlier.section_id for earlier in sections):
            raise errors.InvalidField(f"{where}.section_id: {item.section_id!r} occurs twice")
        expected += item.frames
        if expected + item.tail_frames > MAX_FRAMES:
            raise errors.InvalidField(f"{where}.frames: the piece is longer than {MAX_FRAMES} frames")
        sections.append(_section(item, start.format.sample_rate))
    return sections


def read_layers(start: mixer_pb2.MixStart) -> list[str]:
    """Decode the names of the layers."""
    layers = list(start.layers)
    if len(set(layers)) != len(layers) or MIX in layers:
        raise errors.InvalidField("start.layers: every layer needs a name of its own")
    return layers


def _check_section(item: mixer_pb2.MixSection, where: str, rate: int, *, is_last: bool) -> None:
    if not 1 <= item.beat_frames <= MAX_BEAT_S * rate:
        raise errors.InvalidField(
            f"{where}.beat_frames: {item.beat_frames:g}; a beat has 1 to {MAX_BEAT_S * rate:g} frames"
        )
    if item.tail_frames > MAX_END_S * rate:
        raise errors.InvalidField(f"{where}.tail_frames: {item.tail_frames}; the maximum is {MAX_END_S:g} s")
    if item.tail_frames and not is_last:
        raise errors.InvalidField(f"{where}.tail_frames: only the last section has a tail")


def _section(item: mixer_pb2.MixSection, rate: int) -> MixSection:
    beats = item.join.beats if item.join.HasField("beats") else DEFAULT_JOIN_BEATS
    return MixSection(
        section_id=item.section_id,
        first_frame=item.first_frame,
        frames=item.frames,
        tail_frames=item.tail_frames,
        hard=item.join.kind == music_pb2.JOIN_KIND_HARD,
        # A crossfade longer than its section would continue into the next one.
        crossfade_frames=min(round(beats * item.beat_frames), item.frames),
        beat_frames=item.beat_frames,
        bar_frames=round(min(item.bar_frames, item.frames, MAX_END_S * rate)),
    )
