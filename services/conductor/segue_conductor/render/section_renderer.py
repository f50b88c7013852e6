"""Renders sections: in the order that the plan's dependencies allow, several at once where the pool has slots."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2, stream_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_composition import state
from segue_conductor.backoff import Patience
from segue_conductor.render.melody import Guide, Melody
from segue_conductor.render.renderer_call import RenderCall
from segue_conductor.render.take_store import Take, take_key
from segue_music.codec import section_seed
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue.music.v1.music_pb2 import Plan, PlannedSection
    from segue_conductor.composition_job import Context

MAX_TRIES: Final = 3
MAX_TRIES_OF_SOUND: Final = 2
"""Unusable sound is tried once more, with another seed: the same one would do the same again."""
BACKOFF_S: Final = 0.2
DEFAULT_CROSSFADE_BEATS: Final = 1.0
RING_OUT_S: Final = 2.0
"""How long the sound of one section may ring into the next at a hard join."""
RETRIED: Final = (errors.RenderInvalid, errors.InternalError, errors.ResourceExhausted)
"""Tried again a few times; a renderer that is not there is waited for."""
BEFORE_SECTION: Final = failpoints.declare("conductor.before_section", "a section is about to be rendered")
AFTER_TAKE: Final = failpoints.declare("conductor.after_take", "a take is complete but not in the log")
log = logs.get("conductor")


class Band:
    """The takes of one composition: who waits for whom, and the take that each section has now."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sections = list(context.plan.sections)
        self._takes: dict[str, Take] = {}
        self._ready: dict[str, asyncio.Event] = {item.spec.section_id: asyncio.Event() for item in self._sections}
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None
        self._melody = Melody(context)

    async def run(self) -> None:
        """Render everything; the first error that no retry helps ends it."""
        slots = asyncio.Semaphore(self._context.slots)
        try:
            async with self._melody, asyncio.TaskGroup() as group:
                for index in range(len(self._sections)):
                    group.create_task(self._render_when_due(index, slots))
        except* Exception as failures:  # noqa: BLE001 - whatever it was, those who wait for takes must be told
            self._failure = failures.exceptions[0]
            self._ring()
            raise failures.exceptions[0] from None

    async def take(self, index: int) -> Take:
        """Return a section's take as soon as it is being made; raises what ended the rendering."""
        section_id = self._sections[index].spec.section_id
        while section_id not in self._takes:
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()
        return self._takes[section_id]

    async def another_take(self, index: int, failed: Take) -> Take:
        """Wait for the take that replaces a failed one."""
        section_id = self._sections[index].spec.section_id
        while self._takes.get(section_id) is failed:
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()
        return await self.take(index)

    @property
    def takes(self) -> Mapping[str, Take]:
        """The takes by section, those that there are so far."""
        return self._takes

    async def _render_when_due(self, index: int, slots: asyncio.Semaphore) -> None:
        section = self._sections[index]
        for other in section.waits_for:
            await self._ready[other].wait()
        if index >= self._context.slots:
            # Nearer sections first: the listener waits for them.
            await self._ready[self._sections[index - self._context.slots].spec.section_id].wait()
        async with slots:
            await self._render(index)
        self._ready[section.spec.section_id].set()

    async def _render(self, index: int) -> None:
        section = self._sections[index]
        known = state.section_of(self._context.composition, section.spec.section_id)
        kept = await self._kept(known)
        if kept is not None:
            # Said before the mixer has it: a section is first rendered, then joined.
            if known.state not in state.RENDERED:
                await self._finished(section, kept, 1, reused=True)
            self._put(section.spec.section_id, kept)
            return
        conditioning = await self._conditioning(index)
        guide = await self._guide(section)
        overlap = overlap_frames(self._sections, index, locked=self._context.player.profile.gives_notes)
        seed = seed_of(self._context.plan, section)
        attempt = failures = 0
        patience = Patience()
        while True:
            attempt += 1
            digest = hashlib.sha256(conditioning).hexdigest() if conditioning else ""
            profile = self._context.player.profile
            key = take_key(
                section.spec,
                profile,
                seed,
                overlap_frames=overlap,
                conditioning_digest=digest,
                guide_digest=guide.digest,
            )
            found = await self._context.shelf.find(key, stems=self._context.spec.stems)
            if found is not None:
                await self._finished(section, found, attempt, reused=True)
                self._put(section.spec.section_id, found)
                return
            take = self._context.shelf.new(key)
            start = renderer_pb2.RenderStart(
                spec=section.spec,
                model=profile.model,
                seed=seed,
                take_key=key,
                attempt=attempt,
                stems=self._context.spec.stems,
                # Whoever uses the take again may want them.
                notes=profile.gives_notes,
                overlap_frames=overlap,
                conditioning_frames=len(conditioning) // self._conditioning_frame_bytes(),
                owner=self._context.composition.owner,
                guide_frames=guide.frames,
                guide_band=guide.is_band,
            )
            await self._context.journal.say(
                stream_pb2.CompositionEvent(
                    section_started=stream_pb2.SectionStarted(
                        section_id=section.spec.section_id, attempt=attempt, model=profile.model, take=key
                    )
                )
            )
            await failpoints.reach(BEFORE_SECTION)
            self._put(section.spec.section_id, take)
            try:
                await RenderCall(self._context, take, start, conditioning, guide).run()
                await failpoints.reach(AFTER_TAKE)
                await self._finished(section, take, attempt, reused=False)
            except BaseException as error:
                await take.fail(str(error))
                if isinstance(error, errors.Unavailable):
                    await self._say_retried(section, attempt, error, seed)
                    await patience.wait(error)
                elif isinstance(error, RETRIED) and failures + 1 < _max_tries(error):
                    failures += 1
                    if isinstance(error, errors.RenderInvalid):
                        seed = (seed + 1) % 2**32
                    await self._say_retried(section, attempt, error, seed)
                    await asyncio.sleep(BACKOFF_S * 2**failures)
                else:
                    raise
            else:
                return

    async def _kept(self, known: composition_pb2.Section) -> Take | None:
        """Return what an earlier claim has finished, or the parent's take of a section that no edit has touched."""
        is_ours = known.state in state.RENDERED
        if not known.take or (known.attempt and not is_ours):
            return None
        take = await self._context.shelf.find(known.take, stems=self._context.spec.stems)
        if take is None and not is_ours:
            await self._warn(
                known.section_id,
                "take_gone",
                "the parent's take is not there any more, or has no stems: it is played again",
            )
        return take

    async def _guide(self, section: PlannedSection) -> Guide:
        guide = await self._melody.guide(section)
        if self._context.spec.melody.source and not guide.frames:
            await self._warn(section.spec.section_id, "melody_ended", "the melody's file has ended before this section")
        return guide

    async def _warn(self, section_id: str, code: str, text: str) -> None:
        warning = music_pb2.Warning(code=code, text=text, section_id=section_id)
        await self._context.journal.say(stream_pb2.CompositionEvent(warned=warning))

    async def _say_retried(self, section: PlannedSection, attempt: int, error: errors.SegueError, seed: int) -> None:
        log.warning("section failed, trying again", section=section.spec.section_id, attempt=attempt)
        planned = next(item for item in self._context.plan.sections if item.spec.section_id == section.spec.section_id)
        retried = stream_pb2.SectionRetried(
            section_id=section.spec.section_id,
            attempt=attempt,
            error=errors.to_status(error, ""),
            seed=seed if seed != seed_of(self._context.plan, planned) else None,
        )
        await self._context.journal.say(stream_pb2.CompositionEvent(section_retried=retried))

    async def _finished(self, section: PlannedSection, take: Take, attempt: int, *, reused: bool) -> None:
        finished = await take.wait_finished()
        await self._context.journal.say(
            stream_pb2.CompositionEvent(
                section_finished=stream_pb2.SectionFinished(
                    section_id=section.spec.section_id,
                    attempt=attempt,
                    take=take.key,
                    reused=reused,
                    frames=finished.frames,
                    rendered=finished,
                )
            )
        )

    def _conditioning_frame_bytes(self) -> int:
        return max(1, self._context.player.profile.channels) * 4

    async def _conditioning(self, index: int) -> bytes:
        """Return the end of the section before, when the plan asks for it and the model takes it."""
        section, profile = self._sections[index], self._context.player.profile
        if index == 0 or section.spec.continuity != music_pb2.CONTINUITY_TAIL or not profile.HasField("conditioning"):
            return b""
        before = self._takes[self._sections[index - 1].spec.section_id]
        finished, accepted = await before.wait_finished(), await before.wait_accepted()
        wanted = profile.conditioning.seconds + profile.conditioning.nanos / 1e9
        frames = min(finished.frames, round(wanted * accepted.format.sample_rate))
        pieces = []
        position = finished.frames - frames
        while position < finished.frames:
            pieces.append(await before.read(position, min(16_384, finished.frames - position)))
            position += len(pieces[-1]) // before.frame_bytes
        return b"".join(pieces)

    def _put(self, section_id: str, take: Take) -> None:
        self._takes[section_id] = take
        self._ring()

    def _ring(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _max_tries(error: BaseException) -> int:
    return MAX_TRIES_OF_SOUND if isinstance(error, errors.RenderInvalid) else MAX_TRIES


def overlap_frames(sections: list[PlannedSection], index: int, *, locked: bool) -> int:
    """Return how far a take should go on beyond its section, for the crossfade into the next.

    One that does not keep to the beat of the plan may be moved for it, by half a beat at most.
    """
    spare = 0 if locked else round(beat_frames(sections[index]) / 2)
    if index + 1 >= len(sections):
        return int(sections[index].spec.tail_frames) + spare
    following = sections[index + 1]
    if following.join.kind == music_pb2.JOIN_KIND_HARD:
        if following.spec.continuity == music_pb2.CONTINUITY_TAIL:
            return 0  # the next one goes on from the very end of this sound
        return round(RING_OUT_S * following.spec.sample_rate)
    beats = following.join.beats if following.join.HasField("beats") else DEFAULT_CROSSFADE_BEATS
    return round(beats * beat_frames(following)) + spare


def seed_of(plan: Plan, section: PlannedSection) -> int:
    """Return the seed of a section's take."""
    return section.seed if section.HasField("seed") else section_seed(plan.seed, section.spec.section_id)


def beat_frames(section: PlannedSection) -> float:
    """Return the length of a section's first beat in frames."""
    from segue_music import codec, timing

    spec = codec.section_from_message(section.spec)
    if spec.metre is None:
        message = f"section {spec.section_id} has no metre"
        raise ValueError(message)
    return timing.tempo_map(spec).seconds(timing.ticks_per_beat(spec.metre)) * spec.sample_rate
