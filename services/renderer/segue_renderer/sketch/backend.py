"""The renderer backend of the sketch band: bit-exact, streamed in blocks, in its own threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.elements import (
    Chord,
    ChordQuality,
    Key,
    Layer,
    LayerKind,
    Metre,
    Mode,
    Motif,
    MotifNote,
    TempoPoint,
)
from segue_music.plan import (
    Continuity,
    Determinism,
    Honours,
    LayerTask,
    ModelProfile,
    Role,
    SectionSpec,
    Warning,  # noqa: A004  the contract's word
)
from segue_music.timing import section_frames, ticks_per_bar
from segue_renderer.backend import (
    BackendStatus,
    RenderAccepted,
    RenderedAudio,
    RenderedNotes,
    RenderFinished,
    RenderProgress,
)
from segue_renderer.sketch import validation
from segue_renderer.sketch.band import FX, LAYER_NAMES, SketchBand
from segue_renderer.sketch.sampled.library import VoiceLibrary
from segue_renderer.sketch.sampled.player import PLAYER_VERSION
from segue_renderer.sketch.score.grooves import GROOVES
from segue_renderer.sketch.sound.sample_cache import MAX_BYTES
from segue_renderer.wait_queue import WaitQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from segue_audio.arrays import Stereo
    from segue_renderer.backend import RenderEvent, RenderRequest
    from segue_renderer.sketch.sampled.pack import VoicePack
    from segue_runtime.settings import Settings

ENGINE_VERSION: Final = "sketch-8"
MODEL: Final = "sketch"
SAMPLED_MODEL: Final = "sketch-sampled"
SYNTHESISED: Final = ModelProfile(
    model=MODEL,
    backend=MODEL,
    engine_version=ENGINE_VERSION,
    channels=2,
    layers=tuple(kind for kind in LayerKind if kind != LayerKind.UNSPECIFIED),
    extra_stems=(FX,),
    continuities=(Continuity.NONE, Continuity.MOTIF),
    determinism=Determinism.BIT_EXACT,
    real_time_factor=20.0,
    gives_notes=True,
    grooves=tuple(GROOVES),
    honours_tempo=Honours.EXACT,
    honours_key=Honours.EXACT,
    honours_metre=Honours.EXACT,
    uses_lyrics=True,
    sings_vowels=True,
    layer_tasks=(LayerTask.ADD,),
)
"""The band that needs no voice pack."""


class SketchBackend:
    """Renders one section in each of its threads, with synthesised voices, or with those of a voice pack."""

    def __init__(self, slots: int = 1, open_pack: Callable[[], VoicePack | None] = lambda: None) -> None:
        self._queue = WaitQueue(slots)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="sketch")
        # A thread of its own: writing the notes of a queued section must not delay a section that plays.
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="sketch-writer")
        self._open_pack = open_pack
        self._pack: VoicePack | None = None
        self._profiles: tuple[ModelProfile, ...] = (SYNTHESISED,)

    @property
    def profiles(self) -> Sequence[ModelProfile]:
        """The band with sampled voices, if a pack is chosen, and the one without."""
        return self._profiles

    async def describe(self) -> None:
        """Open the voice pack; its digest is the model's."""
        if self._pack is None:
            self._pack = await asyncio.get_running_loop().run_in_executor(self._writers, self._open_pack)
        if self._pack is not None:
            self._profiles = (sampled_profile(self._pack), SYNTHESISED)

    async def load(self) -> None:
        """Render one bar and discard it, so that the first caller does not wait for the tables."""
        await self.describe()
        await asyncio.get_running_loop().run_in_executor(self._threads, _warm_up, self._pack)

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Render one section, block by block."""
        request = _with_layer(request)
        validation.check(request)
        loop = asyncio.get_running_loop()
        profile = next((each for each in self._profiles if each.model == request.model), self._profiles[0])
        pack = self._pack if profile.model == SAMPLED_MODEL else None
        with self._queue.enter(request.owner) as position:
            # The notes are written before a slot is free: waiting callers receive the section's loudness.
            band = await loop.run_in_executor(self._writers, SketchBand, request.spec, request.seed, pack)
            yield RenderAccepted(
                profile=profile,
                sample_rate=request.spec.sample_rate,
                channels=2,
                declared_lufs=None if request.layer_task else band.declared_lufs(),
                sample_locked=True,
                queue_position=position.current,
            )
            async for current in position.updates():
                yield RenderProgress(0, request.spec.frames, current)
            if request.notes:
                for start in range(0, len(band.notes), 1024):
                    yield RenderedNotes(band.notes[start : start + 1024])
            blocks = band.blocks()
            while (block := await loop.run_in_executor(self._threads, next, blocks, None)) is not None:
                for piece in _pieces(block, band, request):
                    yield piece
            yield RenderFinished(
                frames=request.spec.frames,
                tail_frames=band.tail_frames,
                ending=request.spec.next is None,
                lyrics_applied=band.sings,
                warnings=_warnings(request, band),
            )

    def status(self) -> BackendStatus:
        """Return the number of slots, how many are busy, and the queue length."""
        return BackendStatus(slots=self._queue.slots, busy_slots=self._queue.busy, queued=self._queue.queued)

    async def close(self) -> None:
        """Stop the threads."""
        for threads in (self._writers, self._threads):
            threads.shutdown(wait=False, cancel_futures=True)


def make_backend(settings: Settings) -> SketchBackend:
    """Return the backend; `renderer.sketch.voices` chooses its voice pack, which `describe` opens."""
    library = VoiceLibrary(settings.voice_folder)
    return SketchBackend(open_pack=partial(library.chosen, settings.renderer.sketch.voices))


def sampled_profile(pack: VoicePack) -> ModelProfile:
    """Return the profile of the band with the voices of a pack, which are its weights."""
    return replace(
        SYNTHESISED,
        model=SAMPLED_MODEL,
        model_digest=pack.digest,
        engine_version=f"{ENGINE_VERSION}+{PLAYER_VERSION}",
        memory_bytes=MAX_BYTES,
        weights_license=pack.credits.license,
    )


def _warm_up(pack: VoicePack | None) -> None:
    metre = Metre(4, 4)
    spec = SectionSpec(
        "warm", Role.MOTIF, 1, frames=section_frames(1, metre, (TempoPoint(0, 240.0),), 48_000), sample_rate=48_000,
        metre=metre, tempo_points=(TempoPoint(0, 240.0),), key=Key("C", Mode.MAJOR), energy=(1.0,),
        layers=(Layer(LayerKind.RHYTHM), Layer(LayerKind.HARMONY), Layer(LayerKind.LEAD)),
        chords=(Chord("C", ChordQuality.MAJOR, 0, ticks_per_bar(metre)),),
        motif=Motif((MotifNote(0, 480, 0), MotifNote(480, 480, 2)), ticks_per_bar(metre)),
    )  # fmt: skip
    next(SketchBand(spec, 0, pack).blocks())


def _with_layer(request: RenderRequest) -> RenderRequest:
    """Return a request whose section has the layer to be added."""
    spec = request.spec
    if not request.layer_task or any(layer.kind == request.task_layer for layer in spec.layers):
        return request
    return replace(request, spec=replace(spec, layers=(*spec.layers, Layer(request.task_layer))))


def _pieces(block: tuple[int, dict[str, Stereo]], band: SketchBand, request: RenderRequest) -> Iterator[RenderedAudio]:
    first, sounds = block
    if request.layer_task:
        yield RenderedAudio(first, sounds[LAYER_NAMES[request.task_layer]])
        return
    mix = np.zeros_like(sounds[FX])
    # Always in the same order: the last bits of a float sum depend on it.
    for name in (*band.layers, FX):
        mix += sounds[name]
    yield RenderedAudio(first, mix)
    if request.stems:
        for name in (*band.layers, FX):
            yield RenderedAudio(first, sounds[name], name)


def _warnings(request: RenderRequest, band: SketchBand) -> tuple[Warning, ...]:
    found = []
    section = request.spec.section_id
    if band.unknown_instruments:
        names = ", ".join(band.unknown_instruments)
        found.append(
            Warning("instrument_replaced", f"the sketch band has no {names}; similar instruments play instead", section)
        )
    if request.spec.lyrics and not band.sings:
        found.append(Warning("lyrics_not_sung", "the section has no vocals layer, which would sing its words", section))
    if band.syllables_left_out:
        text = f"{band.syllables_left_out} syllables are not sung: their lines have no time for them"
        found.append(Warning("lyrics_crowded", text, section))
    if request.mix is not None:
        text = "the sketch band plays the layer by the plan, and does not listen to the mix"
        found.append(Warning("mix_not_used", text, section))
    if request.spec.negative_prompt:
        found.append(
            Warning(
                "negative_prompt_not_used", "the sketch band plays the plan; negative_prompt has no effect", section
            )
        )
    return tuple(found)
