"""Feeds takes to the mixer in order and records the draft; goes on from the last checkpoint when anything breaks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_composition import state
from segue_conductor.backoff import Patience
from segue_conductor.mix.beats import Beats, find_beats, goes_on, needs_beats
from segue_conductor.mix.segments import Recorder, places_of, recorded
from segue_conductor.render.section_renderer import beat_frames
from segue_conductor.render.take_store import TakeFailed
from segue_music import codec, timing
from segue_runtime import errors, failpoints
from segue_runtime.rpc.chunks import chunk_frames, fill
from segue_runtime.rpc.duplex import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from segue.music.v1.music_pb2 import PlannedSection
    from segue_conductor.composition_job import Context
    from segue_conductor.render.section_renderer import Band
    from segue_conductor.render.take_store import Take

STATE_PIECE_BYTES: Final = 256 * 1024
AFTER_JOIN: Final = failpoints.declare("conductor.after_join", "a section is joined and its checkpoint committed")


class Mixing:
    """The draft of one composition."""

    def __init__(self, context: Context, band: Band) -> None:
        self._context = context
        self._band = band
        self._sections = list(context.plan.sections)
        self._failed_take: tuple[int, Take] | None = None
        self._mixed: mixer_pb2.SectionMixed | None = None
        self._state_so_far = bytearray()

    async def run(self) -> None:
        """Mix to the end."""
        patience = Patience()
        while not self._context.journal.checkpoint.draft_finished:
            joined = self._context.journal.checkpoint.joined
            try:
                await self._mix()
            except TakeFailed:
                # The band tries that section again, or gives up; then its error comes out of another_take.
                if self._failed_take is not None:
                    await self._band.another_take(*self._failed_take)
            except errors.Unavailable as error:
                if self._context.journal.checkpoint.joined > joined:
                    patience.renew()
                await patience.wait(error)

    async def _mix(self) -> None:
        checkpoint = self._context.journal.checkpoint
        places = places_of(self._context.plan)
        recorder = Recorder(
            self._context.journal,
            self._context.artifacts,
            audio_pb2.STAGE_DRAFT,
            places,
            self._band.takes,
            await recorded(self._context.store, self._context.journal.name, audio_pb2.STAGE_DRAFT, checkpoint.sequence),
            sample_rate=self._context.plan.sample_rate,
            channels=self._context.channels,
        )
        if checkpoint.joined < len(places):
            recorder.open_section(checkpoint.joined)
        self._mixed, self._state_so_far = None, bytearray()
        answers = exchange(
            self._context.peers.mixer.Mix,
            self._requests(checkpoint.joined),
            service="mixer",
            timeout_s=self._context.remaining_s(),
        )
        async with contextlib.aclosing(answers):
            async for response in answers:
                await self._take(response, recorder)
        if not self._context.journal.checkpoint.draft_finished:
            raise errors.ServiceUnreachable("the mixer ended early", metadata={"service": "mixer"})

    async def _take(self, response: mixer_pb2.MixResponse, recorder: Recorder) -> None:
        kind = response.WhichOneof("message")
        if kind == "audio":
            if not response.audio.layer:
                await recorder.write(response.audio.data)
        elif kind == "section_mixed":
            self._mixed = response.section_mixed
            self._state_so_far.clear()
        elif kind == "checkpoint":
            self._state_so_far += response.checkpoint.data
            if response.checkpoint.last and self._mixed is not None:
                await self._joined(self._mixed, bytes(self._state_so_far))
        elif kind == "finished":
            await self._draft_finished(response.finished)

    async def _joined(self, mixed: mixer_pb2.SectionMixed, state: bytes) -> None:
        journal = self._context.journal
        key = f"{self._context.folder}/mixer/{mixed.section_id}-{journal.epoch}"
        await self._context.artifacts.put(key, state, replace=True)
        joined = journal.checkpoint.joined + 1
        await journal.say(
            stream_pb2.CompositionEvent(section_mixed=mixed),
            checkpoint=replace(
                journal.checkpoint,
                joined=joined,
                mixer_state=key,
                # Everything that the log has now belongs to sections that are joined.
                sequence=journal.sequence,
            ),
        )
        await failpoints.reach(AFTER_JOIN)

    async def _draft_finished(self, finished: mixer_pb2.MixFinished) -> None:
        journal = self._context.journal
        if finished.frames != self._context.plan.frames:
            raise errors.InternalError(f"the draft has {finished.frames} frames, the plan {self._context.plan.frames}")
        await journal.say(
            stream_pb2.CompositionEvent(draft_finished=stream_pb2.DraftFinished(mixed=finished)),
            checkpoint=replace(journal.checkpoint, draft_finished=True),
        )

    async def _requests(self, first: int) -> AsyncIterator[mixer_pb2.MixRequest]:
        resume_after = self._sections[first - 1].spec.section_id if first else ""
        yield mixer_pb2.MixRequest(start=mix_start(self._sections, self._context, resume_after))
        if first:
            async for request in self._checkpoint_requests(resume_after):
                yield request
        for index in range(first, len(self._sections)):
            take = await self._band.take(index)
            try:
                timing = await self._timing(index, take)
                async for request in feed_section(self._sections[index], take, timing):
                    yield request
            except TakeFailed:
                self._failed_take = (index, take)
                raise

    async def _timing(self, index: int, take: Take) -> Timing:
        """Say how a section comes to lie on the beats before it."""
        section = self._sections[index]
        if not await needs_beats(section, take):
            return Timing()
        kept = state.section_of(self._context.composition, section.spec.section_id)
        return Timing(
            # Where it stays, its beats still tell the next section where to lie.
            shift_frames=kept.shift_frames if kept.HasField("shift_frames") else None,
            beats=partial(find_beats, self._context, section, take),
            # The first one is heard while it is rendered; the others wait until there is a beat to lay them on.
            late=index == 0,
        )

    async def _checkpoint_requests(self, section_id: str) -> AsyncIterator[mixer_pb2.MixRequest]:
        key = self._context.journal.checkpoint.mixer_state
        content = await self._context.artifacts.get(key)
        for offset in range(0, max(1, len(content)), STATE_PIECE_BYTES):
            piece = content[offset : offset + STATE_PIECE_BYTES]
            yield mixer_pb2.MixRequest(
                checkpoint=mixer_pb2.Checkpoint(
                    section_id=section_id, offset=offset, data=piece, last=offset + len(piece) == len(content)
                )
            )


def mix_start(
    sections: Sequence[PlannedSection], context: Context, resume_after: str = "", layers: Sequence[str] = ()
) -> mixer_pb2.MixStart:
    """Return the first message of a mix."""
    return mixer_pb2.MixStart(
        format=audio_pb2.AudioFormat(
            sample_rate=context.plan.sample_rate,
            channels=context.channels,
            sample_format=audio_pb2.SAMPLE_FORMAT_F32LE,
        ),
        sections=[_mix_section(section) for section in sections],
        layers=layers,
        resume_after=resume_after,
    )


def _mix_section(section: PlannedSection) -> mixer_pb2.MixSection:
    spec = codec.section_from_message(section.spec)
    if spec.metre is None:
        message = f"section {spec.section_id} has no metre"
        raise ValueError(message)
    bar = timing.ticks_per_bar(spec.metre)
    tempo = timing.tempo_map(spec)
    last_bar_s = tempo.seconds(spec.bars * bar) - tempo.seconds((spec.bars - 1) * bar)
    return mixer_pb2.MixSection(
        section_id=spec.section_id,
        first_frame=section.first_frame,
        frames=spec.frames,
        tail_frames=spec.tail_frames,
        join=section.join,
        beat_frames=beat_frames(section),
        bar_frames=last_bar_s * spec.sample_rate,
    )


@dataclass(frozen=True)
class Timing:
    """How a section comes to lie on the beats before it; nothing: as it is planned."""

    shift_frames: int | None = None
    """Where it lay in an earlier mix."""
    beats: Callable[[], Awaitable[Beats]] | None = None
    late: bool = False
    """Whether its sound does not wait for its beats."""


async def feed_section(
    section: PlannedSection, take: Take, timing: Timing, layers: Sequence[str] = ("",)
) -> AsyncIterator[mixer_pb2.MixRequest]:
    """Send one take as the mixer wants it; waits where it is still being made."""
    accepted = await take.wait_accepted()
    section_id = section.spec.section_id
    beats = Beats() if timing.beats is None or timing.late else await timing.beats()
    start = mixer_pb2.MixSectionStart(
        section_id=section_id,
        take=take.key,
        format=accepted.format,
        sample_locked=accepted.sample_locked,
        continuous=goes_on(section, accepted),
        beats=beats.beats,
        downbeats=beats.downbeats,
        tail_frames=beats.tail_frames,
    )
    if timing.shift_frames is not None and not accepted.sample_locked:
        start.shift_frames = timing.shift_frames
        # How far it may lie before its place depends on how much sound it has beyond its end.
        start.tail_frames = (await take.wait_finished()).tail_frames
    if accepted.HasField("declared_lufs"):
        start.declared_lufs = accepted.declared_lufs
    if section.spec.HasField("target_lufs"):
        start.target_lufs = section.spec.target_lufs
    yield mixer_pb2.MixRequest(section_start=start)
    step = chunk_frames(accepted.format)
    position = 0
    while pieces := [(layer, await take.read(position, step, layer or "mix")) for layer in layers]:
        whole = pieces[0][1]
        if not whole:
            break
        # Who does not play in this section is silent.
        pieces = [(layer, piece or bytes(len(whole))) for layer, piece in pieces]
        frames = len(whole) // take.frame_bytes
        for layer, piece in pieces:
            template = audio_pb2.AudioChunk(
                format=accepted.format, stage=audio_pb2.STAGE_TAKE, section_id=section_id, take=take.key, layer=layer
            )
            yield mixer_pb2.MixRequest(audio=fill(template, piece, position))
        position += frames
    finished = await take.wait_finished()
    late = await timing.beats() if timing.beats is not None and timing.late else Beats()
    yield mixer_pb2.MixRequest(
        section_end=mixer_pb2.MixSectionEnd(
            section_id=section_id,
            frames=finished.frames,
            tail_frames=finished.tail_frames,
            ending=finished.ending,
            beats=late.beats,
            downbeats=late.downbeats,
        )
    )
