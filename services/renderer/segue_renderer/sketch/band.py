"""Plays a section: notes become stems, in blocks of any length and in bounded memory."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_music.dynamics import loudness_lufs
from segue_music.elements import LayerKind
from segue_music.plan import Transition
from segue_music.programs import keeps_pedal
from segue_music.timing import tempo_map
from segue_renderer.sketch.expression import glide, strokes
from segue_renderer.sketch.palette import Palette
from segue_renderer.sketch.sampled.notes import SampledBand, with_ends
from segue_renderer.sketch.score.melody.notes import chord_at
from segue_renderer.sketch.score.writer import ScoreWriter
from segue_renderer.sketch.sound import drums
from segue_renderer.sketch.sound.background import BackgroundNoise
from segue_renderer.sketch.sound.effects import Echo, Reverb, saturate
from segue_renderer.sketch.sound.fader import Fader
from segue_renderer.sketch.sound.levels import from_decibels
from segue_renderer.sketch.sound.sounding_notes import DrumHit, SoundingNote, TransitionSound, sung, voiced
from segue_renderer.sketch.sound.transitions import reversed_cymbal, riser
from segue_renderer.sketch.sound.waves import smooth_step
from segue_renderer.sketch.tables import kits
from segue_renderer.sketch.tables.instruments import BACKGROUNDS, VOICES, is_substituted
from segue_renderer.sketch.tables.voices import StruckVoice
from segue_renderer.sketch.tables.vowels import SUNG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segue_audio.arrays import Stereo
    from segue_music.elements import Note
    from segue_music.plan import SectionSpec
    from segue_renderer.sketch.sampled.pack import VoicePack
    from segue_renderer.sketch.sound.sounding_notes import Stroke

FX: Final = "fx"
LAYER_NAMES: Final[Mapping[LayerKind, str]] = {
    kind: kind.name.lower() for kind in LayerKind if kind != LayerKind.UNSPECIFIED
}
# K-weighted level of one note at velocity 100; a chord has several notes.
LEVELS_DB: Final[Mapping[LayerKind, float]] = {
    LayerKind.RHYTHM: -13.0,
    LayerKind.BASS: -22.0,
    LayerKind.HARMONY: -24.0,
    LayerKind.LEAD: -20.5,
    LayerKind.TEXTURES: -30.0,
    LayerKind.VOCALS: -28.0,
}
SENDS: Final[Mapping[LayerKind, float]] = {
    LayerKind.RHYTHM: 0.05,
    LayerKind.BASS: 0.015,
    LayerKind.HARMONY: 0.13,
    LayerKind.LEAD: 0.2,
    LayerKind.TEXTURES: 0.22,
    LayerKind.VOCALS: 0.26,
}
REVERB_POWER: Final = (6.0, 2.5)
"""Power that the reverb returns for each unit of power: a constant, and a part for each second of reverberation."""
HEADROOM_DB: Final = -4.5
"""Loudness of the band against that of the draft, so that no peak clips before the mixer."""
FIRST_BLOCKS_S: Final = (0.06, 0.12, 0.25)
BLOCK_S: Final = 0.5
TAIL_S: Final = 3.0
LOOP_END_S: Final = 6.0
BACKGROUND_AMOUNT: Final = 0.7
PEDAL_LIFT_TICKS: Final = 60
DUCK_S: Final = 0.2
DUCKED_POWER: Final = 0.4
"""Share of a layer's power that full ducking removes at four kicks a bar; measured."""
UNDUCKED: Final = frozenset({LayerKind.RHYTHM, LayerKind.LEAD})
SUNG_DB: Final = 9.0
"""Gain of a voice that sings words over one voice of a choir."""
STRUCK_DB: Final = {LayerKind.TEXTURES: 8.0, LayerKind.LEAD: 4.5}
"""Gain of struck voices: their notes fade, and an arpeggio has one note where a pad has three."""


class SketchBand:
    """One section of the sketch band: its notes and its audio."""

    def __init__(self, spec: SectionSpec, seed: int, pack: VoicePack | None = None) -> None:
        self.spec = spec
        self._sampled = SampledBand(pack, spec.genre)
        self.rate = spec.sample_rate
        self._seed = seed
        self._score = ScoreWriter(spec, seed)
        self._clock = tempo_map(spec)
        self._style = self._score.style
        self._palette = Palette(spec, self._style)
        self.notes: tuple[Note, ...] = self._score.notes()
        self.layers = tuple(LAYER_NAMES[layer.kind] for layer in spec.layers)
        self._gains = {
            layer.kind: sqrt(from_decibels(LEVELS_DB[layer.kind] + self._style.gains_db.get(layer.kind, 0.0)))
            * (layer.level if layer.level is not None else 0.7)
            / 0.7
            for layer in spec.layers
        }
        self._kicks: list[int] = []
        self._unducked = UNDUCKED | ({LayerKind.VOCALS} if self._score.song.tones else set())
        self._scheduled = self._placed_notes()
        bar = self._score.grid.bar
        edges = [min(spec.frames, self._clock.frame(number * bar, self.rate)) for number in range(spec.bars)]
        wanted = [loudness_lufs(spec.genre, energy) + HEADROOM_DB for energy in spec.energy]
        self._fader = Fader(self.rate, [*edges, spec.frames], wanted)
        heard = [(note, self._factor(kind)) for kind, note in self._scheduled]
        self._fader.predict(heard, closes=self._score.ends, loops=spec.loop)
        self.unknown_instruments = sorted(
            {
                name
                for layer in spec.layers
                if layer.kind != LayerKind.RHYTHM
                for name in layer.instruments
                if is_substituted(name) and name not in BACKGROUNDS
            }
        )
        self._effects = self._transition()
        self._background = {"vinyl crackle": self._style.crackle} if self._style.crackle else {}
        for layer in spec.layers:
            self._background.update({name: BACKGROUND_AMOUNT for name in layer.instruments if name in BACKGROUNDS})
        self._restart()

    @property
    def tail_frames(self) -> int:
        """Frames of sound after the section; a loop has only the requested tail."""
        if self.spec.loop:
            return self.spec.tail_frames
        return max(self.spec.tail_frames, round(TAIL_S * self.rate))

    @property
    def sings(self) -> bool:
        """Whether a voice sings the lyrics."""
        return bool(self._score.song.tones)

    @property
    def syllables_left_out(self) -> int:
        """The number of syllables for which their lines have no time."""
        return self._score.song.left_out

    def declared_lufs(self) -> float:
        """Return the predicted loudness of the section."""
        return self._fader.declared_lufs()

    def blocks(self, block_s: float = 0.0) -> Iterator[tuple[int, dict[str, Stereo]]]:
        """Return blocks: the first frame and the samples of each stem. The first blocks are short for a quick start."""
        self._restart()
        if self.spec.loop:
            self._play_end()
        position, number, end = 0, 0, self.spec.frames + self.tail_frames
        while position < end:
            seconds = block_s or (FIRST_BLOCKS_S[number] if number < len(FIRST_BLOCKS_S) else BLOCK_S)
            frames = min(end - position, max(1, round(seconds * self.rate)))
            yield position, self._faded(position, self._block(position, frames))
            position += frames
            number += 1

    # Preparation.

    def _placed_notes(self) -> list[tuple[LayerKind, SoundingNote]]:
        """Give notes a position in frames and a gain, in time order."""
        found: list[tuple[LayerKind, SoundingNote]] = []
        hits = 0
        before: dict[str, Note] = {}
        played = strokes(self.notes, self._seed, self.rate, self._style.loose_ms)
        for note, stroke in zip(self.notes, played, strict=True):
            start = min(self.spec.frames - 1, self._clock.frame(note.start_tick, self.rate) + stroke.late)
            touch = note.velocity / 100.0
            gain = self._gains[note.layer] * touch * sqrt(touch) * stroke.gain
            if note.layer == LayerKind.RHYTHM:
                hits += 1
                found.append((note.layer, self._hit(note, hits % drums.NUM_VARIANTS, gain, start, stroke)))
                if note.pitch == kits.KICK:
                    self._kicks.append(start)
                continue
            found.append((note.layer, self._pitched(note, before.get(note.instrument), gain, start, stroke)))
            if note.layer == LayerKind.LEAD:
                before[note.instrument] = note
        return with_ends(sorted(found, key=lambda item: item[1].start))

    def _hit(self, note: Note, variant: int, gain: float, start: int, stroke: Stroke) -> SoundingNote:
        kit = self._style.kit
        sampled = self._sampled.hit(kit, note.pitch, variant, note.velocity, gain, self.rate, start)
        return sampled or DrumHit(
            kit, note.pitch, variant, gain, self.rate, start, self._score.tonic, stroke, self._palette.ring
        )

    def _pitched(self, note: Note, before: Note | None, gain: float, start: int, stroke: Stroke) -> SoundingNote:
        """Return the sound of a note with a pitch; `before` is the note before it of the same soloist."""
        held = max(1, self._clock.frame(note.start_tick + note.ticks, self.rate) - start)
        if self._score.ends and note.start_tick + note.ticks >= self._score.grid.end - 12:
            held += round(0.6 * self.spec.tail_frames)
        if keeps_pedal(self.spec.genre, note.layer, note.instrument):
            held = max(held, self._pedal_end(note.start_tick) - start)
        vowel = self._score.vowels.get(note.start_tick) if note.layer == LayerKind.VOCALS else None
        if vowel:
            gain *= sqrt(from_decibels(SUNG_DB))
            own = glide(SUNG[vowel], self.spec.genre, note, None, held, self.rate)
            return sung(vowel, note.pitch, note.velocity, gain, self.rate, start, held, stroke=stroke, glide=own)
        name = self._score.voice(note.layer, note.instrument)
        if isinstance(VOICES[name], StruckVoice):
            gain *= sqrt(from_decibels(STRUCK_DB.get(note.layer, 0.0)))
        performance = (note.pitch, note.velocity, gain, self.rate, start, held)
        sampled = self._sampled.note(name, note.instrument, *performance)
        if sampled:
            return sampled
        voice = self._palette.voice(note.layer, name)
        own = glide(voice, self.spec.genre, note, before, held, self.rate)
        return voiced(voice, *performance, stroke=stroke, glide=own)

    def _pedal_end(self, tick: int) -> int:
        """Return the frame at which the pedal is lifted: just before the next chord."""
        chord = chord_at(self.spec.chords, tick)
        return min(self.spec.frames, self._clock.frame(chord.start_tick + chord.ticks - PEDAL_LIFT_TICKS, self.rate))

    def _factor(self, kind: LayerKind) -> float:
        """Return a layer's factor of power with its reverb and its ducking."""
        returned = REVERB_POWER[0] + REVERB_POWER[1] * self._palette.room_s
        send = SENDS[kind] * self._palette.send(kind)
        reverb = 1.0 + send * send * returned
        ducked = self._kicks and kind not in self._unducked
        return reverb * (1.0 - DUCKED_POWER * self._style.duck if ducked else 1.0)

    def _transition(self) -> list[SoundingNote]:
        """Return the sound that leads to the first beat of the next section."""
        if self.spec.transition == Transition.RISER:
            beat_s = self._clock.seconds(self._score.grid.beat)
            sound = riser(min(self.spec.frames, round(min(4.0, 4 * beat_s) * self.rate)), self.rate)
        elif self.spec.transition == Transition.REVERSE_CYMBAL:
            sound = reversed_cymbal(self._style.kit, min(self.spec.frames, round(1.6 * self.rate)), self.rate)
        else:
            return []
        energy = self.spec.next.energy if self.spec.next else 0.5
        return [TransitionSound(sound, 0.05 + 0.07 * energy, self.spec.frames - len(sound))]

    # Playback.

    def _restart(self) -> None:
        self._next = 0
        self._sounding: dict[LayerKind, list[SoundingNote]] = {layer.kind: [] for layer in self.spec.layers}
        self._reverb = Reverb(self.rate, self._palette.room_s, self._palette.damping)
        quarter = 60.0 / self.spec.tempo_points[0].quarters_per_minute
        self._echo = Echo(round(min(0.75, 0.75 * quarter) * self.rate)) if self._style.echo else None
        self._noises = [
            BackgroundNoise(kind, self._seed, amount, self.rate) for kind, amount in self._background.items()
        ]
        self._queue = self._scheduled

    def _play_end(self) -> None:
        """Play the last seconds of a loop and discard them: what rings over from the end sounds at the start."""
        frames = min(self.spec.frames, round(LOOP_END_S * self.rate))
        shift = self.spec.frames
        before = [
            (kind, replace(note, start=note.start - shift))  # type: ignore[type-var]  # all sounding notes are dataclasses
            for kind, note in self._scheduled
            if note.start >= shift - frames
        ]
        self._queue = before + self._scheduled
        kicks = list(self._kicks)
        self._kicks = [kick - shift for kick in kicks if kick >= shift - frames] + kicks
        step = round(BLOCK_S * self.rate)
        for position in range(-frames, 0, step):
            self._block(position, min(step, -position))
        self._kicks = kicks

    def _block(self, first: int, frames: int) -> dict[str, Stereo]:
        end = first + frames
        while self._next < len(self._queue) and self._queue[self._next][1].start < end:
            kind, note = self._queue[self._next]
            self._sounding[kind].append(note)
            self._next += 1
        fader = (
            self._fader.gains(max(0, first), frames)
            if first >= 0
            else self._fader.gains(self.spec.frames + first, frames)
        )
        duck = self._duck(first, frames)
        send = np.zeros((frames, 2), dtype=np.float32)
        out: dict[str, Stereo] = {}
        for layer in self.spec.layers:
            sound = np.zeros((frames, 2), dtype=np.float32)
            for note in self._sounding[layer.kind]:
                note.add_to(sound, first)
            self._sounding[layer.kind] = [note for note in self._sounding[layer.kind] if note.stop > end]
            sound *= fader
            if layer.kind == LayerKind.RHYTHM and self._style.drive:
                saturate(sound, self._style.drive)
            if duck is not None and layer.kind not in self._unducked:
                sound *= duck
            out[LAYER_NAMES[layer.kind]] = sound
            send += sound * np.float32(SENDS[layer.kind] * self._palette.send(layer.kind))
        out[FX] = self._returns(first, frames, send, out, fader)
        return out

    def _returns(
        self, first: int, frames: int, send: Stereo, dry: Mapping[str, Stereo], fader: Stereo | np.float32
    ) -> Stereo:
        """Return the sound of reverb, echo, background noise and transition."""
        lead = dry.get(LAYER_NAMES[LayerKind.LEAD])
        repeats = None
        if self._echo is not None:
            repeats = self._echo.process((send * 0 if lead is None else lead) * np.float32(self._style.echo))
            send += repeats * np.float32(0.3)
        found = self._reverb.process(send)
        if repeats is not None:
            found += repeats
        for effect in self._effects:
            effect.add_to(found, first)
        for noise in self._noises:
            found += noise.process(frames) * fader
        return found

    def _duck(self, first: int, frames: int) -> Stereo | None:
        """Return the gain that lowers other layers at each kick, for both sides, or None without ducking."""
        if not self._style.duck or not self._kicks:
            return None
        length = round(DUCK_S * self.rate)
        gain = np.ones(frames, dtype=np.float32)
        shape = np.float32(1.0 - self._style.duck) + np.float32(self._style.duck) * smooth_step(length)
        dip = round(0.004 * self.rate)
        shape[:dip] = np.float32(1.0) - np.float32(self._style.duck) * smooth_step(dip)
        for kick in self._kicks:
            at = kick - first
            if -length < at < frames:
                low, high = max(0, at), min(frames, at + length)
                gain[low:high] = np.minimum(gain[low:high], shape[low - at : high - at])
        return np.repeat(gain, 2).reshape(-1, 2)

    def _faded(self, first: int, block: dict[str, Stereo]) -> dict[str, Stereo]:
        """Fade the last second of the tail to silence."""
        end = self.spec.frames + self.tail_frames
        length = min(self.tail_frames, self.rate)
        frames = len(block[FX])
        begin = end - length - first
        if self.spec.loop or begin >= frames or not length:
            return block
        shape = np.ones(frames, dtype=np.float32)
        at = max(0, begin)
        shape[at:] = smooth_step(length)[::-1][at - begin : frames - begin]
        return {name: sound * shape[:, None] for name, sound in block.items()}
