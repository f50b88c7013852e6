"""The stream of Mix: decode, call the fold, encode; the order of messages is checked here."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2
from segue_mixer.edge import messages
from segue_mixer.edge.messages import MAX_CHANNELS
from segue_mixer.mix.checkpoint import MAX_STATE_BYTES, UnknownState
from segue_mixer.mix.draft import Mix
from segue_mixer.mix.sections import MIX, Incoming, LateBeats, Mixed, MixError, Piece, Section, WrongOrder
from segue_runtime import errors
from segue_runtime.rpc import chunks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

STATE_PIECE_BYTES: Final = 262_144
MAX_FRAMES: Final = 4 * 3600 * 192_000
MAX_BEAT_S: Final = 60.0
"""A beat is no longer than a minute, and no shorter than a frame."""
MAX_END_S: Final = 120.0
"""What the last section holds back until its ending is known, and what follows it, is held in memory."""
DEFAULT_JOIN_BEATS: Final = 1.0


async def mix(requests: AsyncIterator[mixer_pb2.MixRequest]) -> AsyncGenerator[mixer_pb2.MixResponse, None]:
    """Answer one Mix call."""
    session: _Session | None = None
    async for request in requests:
        kind = request.WhichOneof("message")
        if session is None:
            if kind != "start":
                raise errors.OutOfOrder(f"{kind} came before start", metadata={"position": "start"})
            session = _Session(request.start)
            continue
        work = session.work(kind or "", request)
        if work is not None:
            # One hop to a thread for each message: DSP must not hold up the other streams.
            for response in await asyncio.to_thread(_run, work):
                yield response
    if session is None:
        raise errors.OutOfOrder("the stream ended before start", metadata={"position": "start"})
    yield session.finish()


def _run(work: Callable[[], Iterator[mixer_pb2.MixResponse]]) -> list[mixer_pb2.MixResponse]:
    try:
        return list(work())
    except WrongOrder as error:
        raise messages.mix_error(error, errors.OutOfOrder) from error
    except MixError as error:
        raise messages.mix_error(error, errors.InvalidAudio) from error


class _Session:
    """One mix on the wire."""

    def __init__(self, start: mixer_pb2.MixStart) -> None:
        self._format = start.format
        self._places = {section.section_id: section for section in start.sections}
        self._mix = Mix(_sections(start), start.format.sample_rate, start.format.channels, _layers(start))
        self._resume_after = start.resume_after
        if start.resume_after and start.resume_after not in self._places:
            raise errors.InvalidField(f"start.resume_after: there is no section {start.resume_after!r}")
        self._checkpoint = bytearray()
        self._waits_for_state = bool(start.resume_after)
        self._open = mixer_pb2.MixSectionStart()
        self._warnings: list[music_pb2.Warning] = []

    def work(self, kind: str, request: mixer_pb2.MixRequest) -> Callable[[], Iterator[mixer_pb2.MixResponse]] | None:
        """Check a message; return what is left to be done in a thread, None when that is nothing."""
        if kind == "start":
            raise errors.OutOfOrder("start comes once", metadata={"position": "start"})
        if (kind == "checkpoint") != self._waits_for_state:
            due = "a checkpoint" if self._waits_for_state else "a section"
            raise errors.OutOfOrder(f"{kind} came where {due} was due", metadata={"position": kind})
        if kind == "checkpoint":
            self._take_state(request.checkpoint)
            return None
        if kind == "section_start":
            self._open_section(request.section_start)
            return None
        return (lambda: self._audio(request.audio)) if kind == "audio" else (lambda: self._end(request.section_end))

    def finish(self) -> mixer_pb2.MixResponse:
        """Close the mix after the client has."""
        if not self._mix.is_complete:
            raise errors.OutOfOrder(
                f"the stream ended in section {self._mix.section.section_id!r}, before the piece did",
                metadata={"position": self._mix.section.section_id, "section_id": self._mix.section.section_id},
            )
        return mixer_pb2.MixResponse(
            finished=mixer_pb2.MixFinished(
                frames=self._mix.frames,
                loudness=messages.loudness_message(self._mix.loudness()),
                warnings=self._warnings,
            )
        )

    def _take_state(self, piece: mixer_pb2.Checkpoint) -> None:
        wrong = piece.section_id != self._resume_after or piece.offset != len(self._checkpoint)
        if wrong or len(self._checkpoint) + len(piece.data) > MAX_STATE_BYTES:
            raise errors.OutOfOrder(
                f"checkpoint {piece.section_id!r} at {piece.offset} came where {self._resume_after!r} at "
                f"{len(self._checkpoint)} was due",
                metadata={"position": str(len(self._checkpoint))},
            )
        self._checkpoint += piece.data
        if not piece.last:
            return
        self._waits_for_state = False
        try:
            self._mix.resume(self._resume_after, bytes(self._checkpoint))
        except (UnknownState, WrongOrder) as error:
            raise errors.InvalidField(
                f"checkpoint: {error}; send the sections from the first one", metadata={"section_id": piece.section_id}
            ) from error
        self._checkpoint.clear()

    def _open_section(self, start: mixer_pb2.MixSectionStart) -> None:
        self._check_start(start)
        to_timeline = self._format.sample_rate / start.format.sample_rate
        incoming = Incoming(
            sample_rate=start.format.sample_rate,
            channels=start.format.channels,
            sample_locked=start.sample_locked,
            continuous=start.continuous,
            declared_lufs=start.declared_lufs if start.HasField("declared_lufs") else None,
            target_lufs=start.target_lufs if start.HasField("target_lufs") else None,
            beats=tuple(beat * to_timeline for beat in start.beats),
            downbeats=tuple(beat * to_timeline for beat in start.downbeats),
            tail_frames=math.floor(start.tail_frames * to_timeline),
            kept_shift=start.shift_frames if start.HasField("shift_frames") else None,
        )
        try:
            self._mix.open_section(start.section_id, incoming)
        except WrongOrder as error:
            raise messages.mix_error(error, errors.OutOfOrder) from error
        self._open = start

    def _check_start(self, start: mixer_pb2.MixSectionStart) -> None:
        _check_beats("section_start", start)
        if start.sample_locked and start.shift_frames:
            raise errors.InvalidField(
                f"section_start.shift_frames: section {start.section_id!r} is sample_locked and lies where it is "
                "planned; leave it out",
                metadata={"section_id": start.section_id},
            )

    def _audio(self, chunk: audio_pb2.AudioChunk) -> Iterator[mixer_pb2.MixResponse]:
        if not self._mix.is_open or chunk.section_id not in {"", self._open.section_id}:
            raise errors.OutOfOrder(
                f"audio of section {chunk.section_id!r} came where {self._open.section_id!r} is open"
                if self._mix.is_open
                else "audio came where no section is open",
                metadata={"position": str(chunk.first_frame), "section_id": chunk.section_id},
            )
        samples = chunks.samples_of(chunk, self._open.format, f"section {self._open.section_id}")
        for piece in self._mix.push(chunk.layer, chunk.first_frame, samples):
            yield from self._encode(piece)

    def _end(self, end: mixer_pb2.MixSectionEnd) -> Iterator[mixer_pb2.MixResponse]:
        if not self._mix.is_open or end.section_id != self._open.section_id:
            raise errors.OutOfOrder(
                f"the end of section {end.section_id!r} came where it is not open",
                metadata={"position": end.section_id, "section_id": end.section_id},
            )
        if end.tail_frames < self._open.tail_frames:
            raise errors.InvalidAudio(
                f"section {end.section_id}: {self._open.tail_frames} frames beyond its end were announced, "
                f"{end.tail_frames} came",
                metadata={"section_id": end.section_id, "frame": str(end.frames + end.tail_frames)},
            )
        late = self._late_beats(end)
        for made in self._mix.close_section(end.frames, end.tail_frames, ending=end.ending, late=late):
            if isinstance(made, Mixed):
                report = messages.mixed_message(made)
                self._warnings.extend(report.warnings)
                yield mixer_pb2.MixResponse(section_mixed=report)
                yield from _checkpoint(made)
            else:
                yield from self._encode(made)

    def _late_beats(self, end: mixer_pb2.MixSectionEnd) -> LateBeats | None:
        _check_beats("section_end", end)
        if not end.beats:
            return None
        if self._open.sample_locked or self._open.beats:
            raise errors.InvalidField(
                f"section_end.beats: those of section {end.section_id!r} were known when it began; leave them out",
                metadata={"section_id": end.section_id},
            )
        to_timeline = self._format.sample_rate / self._open.format.sample_rate
        return LateBeats(
            tuple(beat * to_timeline for beat in end.beats), tuple(beat * to_timeline for beat in end.downbeats)
        )

    def _encode(self, piece: Piece) -> Iterator[mixer_pb2.MixResponse]:
        template = audio_pb2.AudioChunk(
            format=self._format,
            stage=audio_pb2.STAGE_DRAFT,
            section_id=self._open.section_id,
            take=self._open.take,
            attempt=self._open.attempt,
            layer=piece.layer,
        )
        for chunk in messages.encode_chunks(piece.samples, template, piece.first_frame):
            yield mixer_pb2.MixResponse(audio=chunk)


def _check_beats(message: str, said: mixer_pb2.MixSectionStart | mixer_pb2.MixSectionEnd) -> None:
    for name, beats in (("beats", said.beats), ("downbeats", said.downbeats)):
        wrong = next((index for index, (one, other) in enumerate(pairwise(beats)) if other <= one), None)
        if wrong is not None or (beats and beats[0] < 0):
            index = 0 if wrong is None else wrong + 1
            raise errors.InvalidField(
                f"{message}.{name}[{index}]: {beats[index]} in section {said.section_id!r}; frames from its "
                "start, each later than the one before",
                metadata={"section_id": said.section_id},
            )


def _checkpoint(mixed: Mixed) -> Iterator[mixer_pb2.MixResponse]:
    for offset in range(0, len(mixed.state), STATE_PIECE_BYTES):
        piece = mixed.state[offset : offset + STATE_PIECE_BYTES]
        yield mixer_pb2.MixResponse(
            checkpoint=mixer_pb2.Checkpoint(
                section_id=mixed.section_id,
                offset=offset,
                data=piece,
                last=offset + len(piece) == len(mixed.state),
            )
        )


def _sections(start: mixer_pb2.MixStart) -> list[Section]:
    """Read the timeline; sections stand without a gap, only the last one has a tail."""
    channels, rate = start.format.channels, start.format.sample_rate
    if channels > MAX_CHANNELS:
        raise errors.InvalidField(f"start.format.channels: {channels}; loudness is defined for 1 to {MAX_CHANNELS}")
    sections: list[Section] = []
    due = 0
    for index, place in enumerate(start.sections):
        where = f"start.sections[{index}]"
        if not 1 <= place.beat_frames <= MAX_BEAT_S * rate:
            raise errors.InvalidField(
                f"{where}.beat_frames: {place.beat_frames:g}; a beat has 1 to {MAX_BEAT_S * rate:g} frames"
            )
        if place.tail_frames > MAX_END_S * rate:
            raise errors.InvalidField(f"{where}.tail_frames: {place.tail_frames}; {MAX_END_S:g} s is the most")
        if place.first_frame != due:
            raise errors.InvalidField(
                f"{where}.first_frame: {place.first_frame} where {due} is due: no gap, no overlap"
            )
        if place.tail_frames and index + 1 < len(start.sections):
            raise errors.InvalidField(f"{where}.tail_frames: only the last section has a tail")
        if any(place.section_id == earlier.section_id for earlier in sections):
            raise errors.InvalidField(f"{where}.section_id: {place.section_id!r} is there twice")
        due += place.frames
        if due + place.tail_frames > MAX_FRAMES:
            raise errors.InvalidField(f"{where}.frames: the piece is longer than {MAX_FRAMES} frames")
        beats = place.join.beats if place.join.HasField("beats") else DEFAULT_JOIN_BEATS
        # A crossfade longer than its section would go on in the one after it.
        crossfade = min(round(beats * place.beat_frames), place.frames)
        sections.append(
            Section(
                section_id=place.section_id,
                first_frame=place.first_frame,
                frames=place.frames,
                tail_frames=place.tail_frames,
                hard=place.join.kind == music_pb2.JOIN_KIND_HARD,
                crossfade_frames=crossfade,
                beat_frames=place.beat_frames,
                bar_frames=round(min(place.bar_frames, place.frames, MAX_END_S * rate)),
            )
        )
    return sections


def _layers(start: mixer_pb2.MixStart) -> list[str]:
    layers = list(start.layers)
    if len(set(layers)) != len(layers) or MIX in layers:
        raise errors.InvalidField("start.layers: each has a name of its own")
    return layers
