"""The stream of Mix: checks the order of messages, decodes, mixes, encodes."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.mixer.v1 import mixer_pb2
from segue_mixer.audio_check import MixError, WrongOrder
from segue_mixer.edge import messages
from segue_mixer.edge.mix_start import read_layers, read_sections
from segue_mixer.mix.checkpoint import MAX_CHECKPOINT_BYTES, UnreadableCheckpoint
from segue_mixer.mix.draft import DraftMixer
from segue_mixer.mix.sections import DraftBlock, LateBeats, MixedSection, SectionInput
from segue_runtime import errors
from segue_runtime.rpc import chunks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from segue.music.v1 import music_pb2

CHECKPOINT_PART_BYTES: Final = 262_144


async def mix(requests: AsyncIterator[mixer_pb2.MixRequest]) -> AsyncGenerator[mixer_pb2.MixResponse, None]:
    """Answer one Mix call."""
    session: _Session | None = None
    async for request in requests:
        kind = request.WhichOneof("message")
        if session is None:
            if kind != "start":
                raise errors.OutOfOrder(f"{kind} arrived before start", metadata={"position": "start"})
            session = _Session(request.start)
            continue
        work = session.work(kind or "", request)
        if work is not None:
            # DSP runs in a thread, so that it does not block the other streams.
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
    """One mix on one stream."""

    def __init__(self, start: mixer_pb2.MixStart) -> None:
        self._format = start.format
        sections = read_sections(start)
        self._mix = DraftMixer(sections, start.format.sample_rate, start.format.channels, read_layers(start))
        self._resume_after = start.resume_after
        if start.resume_after and all(section.section_id != start.resume_after for section in sections):
            raise errors.InvalidField(f"start.resume_after: there is no section {start.resume_after!r}")
        self._checkpoint = bytearray()
        self._needs_checkpoint = bool(start.resume_after)
        self._open = mixer_pb2.MixSectionStart()
        self._warnings: list[music_pb2.Warning] = []

    def work(self, kind: str, request: mixer_pb2.MixRequest) -> Callable[[], Iterator[mixer_pb2.MixResponse]] | None:
        """Handle a message; return the work for a thread, or None when nothing is left to do."""
        if kind == "start":
            raise errors.OutOfOrder("start may be sent only once", metadata={"position": "start"})
        if (kind == "checkpoint") != self._needs_checkpoint:
            expected = "a checkpoint" if self._needs_checkpoint else "a section"
            raise errors.OutOfOrder(f"{kind} arrived, expected {expected}", metadata={"position": kind})
        if kind == "checkpoint":
            self._add_checkpoint(request.checkpoint)
            return None
        if kind == "section_start":
            self._open_section(request.section_start)
            return None
        return (lambda: self._audio(request.audio)) if kind == "audio" else (lambda: self._end(request.section_end))

    def finish(self) -> mixer_pb2.MixResponse:
        """Return the last response, after the client has ended its stream."""
        if not self._mix.is_complete:
            raise errors.OutOfOrder(
                f"the stream ended in section {self._mix.section.section_id!r}, before the end of the piece",
                metadata={"position": self._mix.section.section_id, "section_id": self._mix.section.section_id},
            )
        return mixer_pb2.MixResponse(
            finished=mixer_pb2.MixFinished(
                frames=self._mix.frames,
                loudness=messages.loudness_message(self._mix.loudness()),
                warnings=self._warnings,
            )
        )

    def _add_checkpoint(self, part: mixer_pb2.Checkpoint) -> None:
        wrong = part.section_id != self._resume_after or part.offset != len(self._checkpoint)
        if wrong or len(self._checkpoint) + len(part.data) > MAX_CHECKPOINT_BYTES:
            raise errors.OutOfOrder(
                f"byte {part.offset} of checkpoint {part.section_id!r} arrived, expected byte "
                f"{len(self._checkpoint)} of {self._resume_after!r}",
                metadata={"position": str(len(self._checkpoint))},
            )
        self._checkpoint += part.data
        if not part.last:
            return
        self._needs_checkpoint = False
        try:
            self._mix.resume(self._resume_after, bytes(self._checkpoint))
        except (UnreadableCheckpoint, WrongOrder) as error:
            raise errors.InvalidField(
                f"checkpoint: {error}; send the sections from the first one", metadata={"section_id": part.section_id}
            ) from error
        self._checkpoint.clear()

    def _open_section(self, start: mixer_pb2.MixSectionStart) -> None:
        self._check_start(start)
        to_timeline = self._format.sample_rate / start.format.sample_rate
        source = SectionInput(
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
            self._mix.open_section(start.section_id, source)
        except WrongOrder as error:
            raise messages.mix_error(error, errors.OutOfOrder) from error
        self._open = start

    def _check_start(self, start: mixer_pb2.MixSectionStart) -> None:
        _check_beats("section_start", start)
        if start.sample_locked and start.shift_frames:
            raise errors.InvalidField(
                f"section_start.shift_frames: section {start.section_id!r} is sample_locked and cannot be moved",
                metadata={"section_id": start.section_id},
            )

    def _audio(self, chunk: audio_pb2.AudioChunk) -> Iterator[mixer_pb2.MixResponse]:
        if not self._mix.is_open or chunk.section_id not in {"", self._open.section_id}:
            raise errors.OutOfOrder(
                f"audio of section {chunk.section_id!r} arrived while section {self._open.section_id!r} is open"
                if self._mix.is_open
                else "audio arrived while no section is open",
                metadata={"position": str(chunk.first_frame), "section_id": chunk.section_id},
            )
        samples = chunks.samples_of(chunk, self._open.format, f"section {self._open.section_id}")
        for block in self._mix.push(chunk.layer, chunk.first_frame, samples):
            yield from self._encode(block)

    def _end(self, end: mixer_pb2.MixSectionEnd) -> Iterator[mixer_pb2.MixResponse]:
        if not self._mix.is_open or end.section_id != self._open.section_id:
            raise errors.OutOfOrder(
                f"the end of section {end.section_id!r} arrived, but that section is not open",
                metadata={"position": end.section_id, "section_id": end.section_id},
            )
        if end.tail_frames < self._open.tail_frames:
            raise errors.InvalidAudio(
                f"section {end.section_id}: {end.tail_frames} frames beyond its end arrived, "
                f"{self._open.tail_frames} were announced",
                metadata={"section_id": end.section_id, "frame": str(end.frames + end.tail_frames)},
            )
        late = self._late_beats(end)
        for output in self._mix.close_section(end.frames, end.tail_frames, ending=end.ending, late=late):
            if isinstance(output, MixedSection):
                report = messages.mixed_message(output)
                self._warnings.extend(report.warnings)
                yield mixer_pb2.MixResponse(section_mixed=report)
                yield from _checkpoint(output)
            else:
                yield from self._encode(output)

    def _late_beats(self, end: mixer_pb2.MixSectionEnd) -> LateBeats | None:
        _check_beats("section_end", end)
        if not end.beats:
            return None
        if self._open.sample_locked or self._open.beats:
            raise errors.InvalidField(
                f"section_end.beats: section {end.section_id!r} began with beats or is sample_locked",
                metadata={"section_id": end.section_id},
            )
        to_timeline = self._format.sample_rate / self._open.format.sample_rate
        return LateBeats(
            tuple(beat * to_timeline for beat in end.beats), tuple(beat * to_timeline for beat in end.downbeats)
        )

    def _encode(self, block: DraftBlock) -> Iterator[mixer_pb2.MixResponse]:
        template = audio_pb2.AudioChunk(
            format=self._format,
            stage=audio_pb2.STAGE_DRAFT,
            section_id=self._open.section_id,
            take=self._open.take,
            attempt=self._open.attempt,
            layer=block.layer,
        )
        for chunk in messages.encode_chunks(block.samples, template, block.first_frame):
            yield mixer_pb2.MixResponse(audio=chunk)


def _check_beats(message: str, section: mixer_pb2.MixSectionStart | mixer_pb2.MixSectionEnd) -> None:
    for name, beats in (("beats", section.beats), ("downbeats", section.downbeats)):
        wrong = next((index for index, (earlier, later) in enumerate(pairwise(beats)) if later <= earlier), None)
        if wrong is not None or (beats and beats[0] < 0):
            index = 0 if wrong is None else wrong + 1
            raise errors.InvalidField(
                f"{message}.{name}[{index}]: {beats[index]} in section {section.section_id!r}; beats are frames from "
                "its start, in increasing order",
                metadata={"section_id": section.section_id},
            )


def _checkpoint(mixed: MixedSection) -> Iterator[mixer_pb2.MixResponse]:
    content = mixed.checkpoint
    for offset in range(0, len(content), CHECKPOINT_PART_BYTES):
        part = content[offset : offset + CHECKPOINT_PART_BYTES]
        yield mixer_pb2.MixResponse(
            checkpoint=mixer_pb2.Checkpoint(
                section_id=mixed.section_id,
                offset=offset,
                data=part,
                last=offset + len(part) == len(content),
            )
        )
