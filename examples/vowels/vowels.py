"""A renderer backend outside this repository's packages: a voice that sings the lead of a section on vowels.

`PYTHONPATH=examples/vowels segued serve --role renderer --renderer vowels:make_backend`
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from segue_music.elements import LayerKind, Note
from segue_music.plan import Continuity, Determinism, Honours, ModelProfile, Warning  # noqa: A004 - the contract's word
from segue_music.theory import pitch_class
from segue_music.timing import TempoMap
from segue_renderer.backend import (
    BackendStatus,
    RenderAccepted,
    RenderedAudio,
    RenderedNotes,
    RenderFinished,
    RenderProgress,
)
from segue_renderer.registry import band_melody
from segue_renderer.wait_queue import WaitQueue
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from numpy.typing import NDArray

    from segue_music.plan import SectionSpec
    from segue_renderer.backend import RenderEvent, RenderRequest, Samples
    from segue_runtime.settings import Settings

VOICE = LayerKind.VOCALS
PROFILE = ModelProfile(
    model="vowels",
    backend="vowels",
    engine_version="1",  # changes with every change of the bytes, so that no take of an older release is used
    channels=2,  # and, since it gives no sample rate, at the rate of the timeline
    layers=(VOICE,),
    continuities=(Continuity.NONE, Continuity.MOTIF),
    determinism=Determinism.SEEDED,  # the last bits of numpy's sines differ between processors
    gives_notes=True,
    honours_tempo=Honours.EXACT,
    honours_key=Honours.EXACT,
    honours_metre=Honours.EXACT,
)
BLOCK_S, RELEASE_S, HIGHEST_HZ = 0.5, 0.2, 6_000.0
VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (500, 860, 2410), (330, 780, 2240))
"""Formants of a, e, o and u in Hz."""


class VowelBackend:
    """Sings two sections at a time; others wait in its queue and receive their positions."""

    profiles = (PROFILE,)

    def __init__(self) -> None:
        self._queue = WaitQueue(slots=2)

    async def describe(self) -> None:
        """The profile is known."""

    async def load(self) -> None:
        """There are no weights."""

    async def close(self) -> None:
        """There is nothing to free."""

    def status(self) -> BackendStatus:
        return BackendStatus(slots=self._queue.slots, busy_slots=self._queue.busy, queued=self._queue.queued)

    async def render(self, request: RenderRequest) -> AsyncGenerator[RenderEvent, None]:
        """Sing one section in threads, block by block."""
        spec = request.spec
        if spec.continuity not in {Continuity.UNSPECIFIED, *PROFILE.continuities}:
            raise errors.OptionNotSupported("vowels: NONE and MOTIF are possible", metadata={"option": "continuity"})
        with self._queue.enter(request.owner) as position:
            notes = await asyncio.to_thread(sung_notes, spec, request.seed)  # refuses an incomplete section
            yield RenderAccepted(PROFILE, spec.sample_rate, 2, sample_locked=True, queue_position=position.current)
            async for place in position.updates():
                yield RenderProgress(0, spec.frames, place)
            if request.notes:
                yield RenderedNotes(notes)
            done, blocks = 0, sing(spec, notes, request.seed)
            while (block := await asyncio.to_thread(next, blocks, None)) is not None:
                for layer in ("", "vocals") if request.stems else ("",):
                    yield RenderedAudio(done, block, layer)
                done += len(block)
            yield RenderFinished(spec.frames, done - spec.frames, window_frames_used=done, warnings=unused(spec))


def make_backend(_settings: Settings) -> VowelBackend:
    """Return the backend; it has no settings."""
    return VowelBackend()


def sung_notes(spec: SectionSpec, seed: int) -> tuple[Note, ...]:
    """Return the band's lead in this section; where the lead is silent, the voice hums the roots of the chords."""
    lead = [(note.start_tick, note.ticks, note.pitch, note.velocity) for note in band_melody(spec, seed)]
    roots = [(chord.start_tick, chord.ticks, 48 + pitch_class(chord.root), 70) for chord in spec.chords]
    return tuple(Note(VOICE, *place, "voice") for place in lead or roots)


def sing(spec: SectionSpec, notes: tuple[Note, ...], seed: int) -> Iterator[Samples]:
    """Yield the section block by block: for each note, harmonics weighted by the formants of a vowel."""
    rate, tempo = spec.sample_rate, TempoMap.of(spec.tempo_points)
    frames, size = spec.frames + round(RELEASE_S * rate), round(BLOCK_S * rate)
    times = [(tempo.seconds(note.start_tick), tempo.seconds(note.start_tick + note.ticks)) for note in notes]
    vowels = np.random.default_rng(seed).integers(len(VOWELS), size=len(notes))
    for first in range(0, frames, size):
        sound = np.zeros(min(size, frames - first))
        for note, vowel, (start, stop) in zip(notes, vowels, times, strict=True):
            low, high = max(first, round(start * rate)), min(first + len(sound), round((stop + RELEASE_S) * rate))
            if low < high:
                time = np.arange(low, high) / rate - start
                swell = np.clip(np.minimum(time / 0.05, (stop - start - time) / RELEASE_S + 1), 0, 1)
                sound[low - first : high - first] += note.velocity / 127 * swell * tone(note.pitch, vowel, time, rate)
        yield np.repeat(sound[:, None], 2, axis=1).astype(np.float32)


def tone(pitch: int, vowel: int, time: NDArray[np.float64], rate: int) -> NDArray[np.float64]:
    """Return a vowel at a pitch, with vibrato. It depends on `time` alone, so blocks need no state."""
    hz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    harmonics = hz * np.arange(1, max(2, min(HIGHEST_HZ, 0.45 * rate) / hz))
    weights = sum(1 / (1 + ((harmonics - formant) / 120) ** 2) for formant in VOWELS[vowel]) + 0.02
    turn = np.exp(2j * np.pi * hz * (time + 0.0003 * np.sin(2 * np.pi * 5.5 * time)))
    sound: NDArray[np.float64] = np.polyval([*weights[::-1], 0], turn).imag
    sound *= 0.25 / np.sqrt(np.sum(weights**2))
    return sound


def unused(spec: SectionSpec) -> tuple[Warning, ...]:
    """Name what the section asks for and the voice does not do."""
    given = {
        "layers": any(layer.kind != VOICE for layer in spec.layers),
        "negative_prompt": bool(spec.negative_prompt),
    }
    why = "the model vowels sings the lead and does nothing else"
    return tuple(Warning(f"{name}_not_used", f"{name}: {why}", spec.section_id) for name in given if given[name])
