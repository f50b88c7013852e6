"""The mix as a fold: sections in, draft out. No clock, no arrival order, no chunk size reaches the result.

Sections stand at planned places. A take may go on beyond its section: that tail is laid over the next one, faded at
equal power over a crossfade, or left to ring over a hard join. The total is exact to the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import LoudnessMeter
from segue_mixer.mix.beats import Room
from segue_mixer.mix.checkpoint import MAX_SHIFT_S, MixState, PieceLevels, decode_state, encode_state
from segue_mixer.mix.fades import DECLICK_S
from segue_mixer.mix.join_score import WINDOW_S, Seam, score_join
from segue_mixer.mix.layer import Entry, LayerMix
from segue_mixer.mix.placement import Behind, Placed, measured_late, place
from segue_mixer.mix.sections import (
    MIX,
    Incoming,
    Join,
    Mixed,
    Piece,
    Section,
    WrongOrder,
    WrongSound,
    check_sound,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_audio.arrays import Float32
    from segue_audio.loudness import Loudness
    from segue_mixer.mix.sections import LateBeats

MAX_GAIN_DB: Final = 12.0
HOPS_A_SECOND: Final = 100


class Mix:
    """One mix. `open_section`, `push` …, `close_section`, for each section in order."""

    def __init__(self, sections: Sequence[Section], sample_rate: int, channels: int, layers: Sequence[str]) -> None:
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._channels = channels
        self._layers = {name: LayerMix(sample_rate, channels) for name in (MIX, *layers)}
        self._next = 0
        self._incoming: Incoming | None = None
        self._target_before: float | None = None
        self._behind = Behind()
        self._placed = Placed(self._behind)
        self._entry = Entry(1.0, 1.0, continuous=False, crossfade_frames=0)
        self._gain_db = 0.0
        self._warnings: list[tuple[str, str]] = []
        self._note = ""
        self._meter = LoudnessMeter(sample_rate, channels)
        self._levels = PieceLevels()
        self._emitted: dict[str, int] = {}
        self._head: list[Float32] = []
        self._num_head = 0
        self._before = np.zeros(0, np.float32)
        self._recent = np.zeros(0, np.float32)
        """The last second of the mix, mono."""

    @property
    def section(self) -> Section:
        """The section that is open or comes next."""
        return self._sections[self._next]

    @property
    def is_open(self) -> bool:
        """Whether a section is open."""
        return self._incoming is not None

    @property
    def is_complete(self) -> bool:
        """Whether all sections have been closed."""
        return self._next == len(self._sections)

    @property
    def frames(self) -> int:
        """Length of the whole piece."""
        last = self._sections[-1]
        return last.first_frame + last.frames + last.tail_frames

    def resume(self, section_id: str, state: bytes) -> None:
        """Go on after a section, from the state that it left."""
        names = [section.section_id for section in self._sections]
        if section_id not in names:
            raise WrongOrder(f"there is no section {section_id!r} to go on after")
        loaded = decode_state(state)
        layout = (loaded.section_id, loaded.sample_rate, loaded.channels, set(loaded.ringing))
        if layout != (section_id, self._rate, self._channels, set(self._layers)):
            raise WrongOrder("the checkpoint belongs to another mix, or to another section of this one")
        self._next = names.index(section_id) + 1
        for name, layer in self._layers.items():
            layer.ringing, layer.beyond = loaded.ringing[name], loaded.beyond[name]
        self._entry = Entry(loaded.gain, loaded.gain, continuous=False, crossfade_frames=0)
        self._target_before = loaded.target_lufs
        self._behind = loaded.behind
        self._levels = loaded.levels
        self._before = self._recent = loaded.recent

    def open_section(self, section_id: str, incoming: Incoming) -> None:
        """Begin the next section."""
        if self.is_complete or section_id != self.section.section_id or self.is_open:
            due = "the end" if self.is_complete else repr(self.section.section_id)
            raise WrongOrder(
                f"section {section_id!r} came where {due} was due{' to end' if self.is_open else ''}",
                section_id=section_id,
            )
        self._incoming = incoming
        self._meter = LoudnessMeter(self._rate, self._channels)
        self._warnings = []
        self._emitted = dict.fromkeys(self._layers, 0)
        self._head = []
        self._num_head = 0
        self._before = self._recent
        gain = self._choose_gain(incoming)
        self._placed = place(self.section, incoming, self._behind, self._room(incoming))
        continuous = self._placed.continuous and self._next > 0
        self._entry = Entry(
            gain,
            self._entry.gain,
            continuous=continuous,
            crossfade_frames=self._crossfade(continuous),
            sample_locked=incoming.sample_locked,
            shift=self._placed.shift,
        )
        for layer in self._layers.values():
            layer.enter(self.section, incoming, self._entry)

    def push(self, layer: str, first_frame: int, block: Float32) -> Iterator[Piece]:
        """Take sound of the open section and give the draft that is ready."""
        self._open()
        section = self.section
        state = self._layers.get(layer)
        if state is None:
            raise WrongOrder(f"layer {layer!r} was not announced", section_id=section.section_id, frame=first_frame)
        where = f"section {section.section_id}"
        if first_frame != state.frames_in:
            raise WrongOrder(
                f"{where}: frame {first_frame} came where {state.frames_in} was due",
                section_id=section.section_id,
                frame=first_frame,
            )
        check_sound(block, first_frame, where, section.section_id)
        # The piece's last bar is held back until its ending is known.
        hold = section.bar_frames if self._next + 1 == len(self._sections) else 0
        for sound in state.push(block, hold):
            yield self._piece(layer, sound)

    def close_section(
        self, frames: int, tail_frames: int, *, ending: bool, late: LateBeats | None = None
    ) -> Iterator[Piece | Mixed]:
        """End the open section; `late` are the beats of one that had none when it began."""
        incoming = self._open()
        section = self.section
        for name, layer in self._layers.items():
            if layer.frames_in != frames + tail_frames:
                raise WrongSound(
                    f"section {section.section_id}: it ends with {frames} + {tail_frames} frames, "
                    f"{layer.frames_in} came of layer {name or 'mix'}",
                    section_id=section.section_id,
                    frame=layer.frames_in,
                )
        for name, layer in self._layers.items():
            for sound in self._last_blocks(name, layer, ending=ending):
                yield self._piece(name, sound)
        join = self._join(incoming)
        loudness = self._meter.result()
        self._levels = self._levels.plus(self._meter.hop_powers(), loudness)
        self._next += 1
        self._incoming = None
        self._target_before = incoming.target_lufs
        self._behind = self._placed.behind if late is None else measured_late(section, self._placed, late)
        state = self._state(section.section_id)
        yield Mixed(section.section_id, self._gain_db, loudness, join, tuple(self._warnings), state, self._placed.shift)

    def loudness(self) -> Loudness:
        """Return what all that was mixed measures."""
        return self._levels.loudness()

    def _open(self) -> Incoming:
        if self._incoming is None:
            raise WrongOrder("no section is open")
        return self._incoming

    def _choose_gain(self, incoming: Incoming) -> float:
        self._gain_db = 0.0
        if incoming.declared_lufs is not None and incoming.target_lufs is not None:
            wanted = incoming.target_lufs - incoming.declared_lufs
            self._gain_db = float(np.clip(wanted, -MAX_GAIN_DB, MAX_GAIN_DB))
            if self._gain_db != wanted:
                text = f"{wanted:+.1f} dB would be needed; {self._gain_db:+.1f} dB given"
                self._warnings.append(("gain_limited", text))
        return float(10 ** (self._gain_db / 20))

    def _room(self, incoming: Incoming) -> Room:
        """How far there is sound to move the section that begins."""
        section = self.section
        # Later: what sounds before goes on for so long and is then faded, be it in the shortest time.
        later = min(len(self._layers[MIX].beyond) - round(DECLICK_S * self._rate), section.frames // 2)
        needed = section.tail_frames if self._next + 1 == len(self._sections) else 0
        most = round(MAX_SHIFT_S * self._rate)
        return Room(min(later, most), min(incoming.tail_frames - needed, most))

    def _crossfade(self, continuous: bool) -> int:  # noqa: FBT001 - one private caller
        """The crossfade's length: as planned, or as much as there is sound for."""
        section = self.section
        self._note = self._placed.note
        planned = 0 if section.hard or self._next == 0 else section.crossfade_frames
        if continuous:
            if planned:
                self._note = "joined hard: the sound goes on from the section before"
            return 0
        frames = min(planned, len(self._layers[MIX].beyond) - max(0, self._placed.shift))
        if frames < planned:
            shorter = f"crossfade of {frames / self._rate:.3f} s instead of {planned / self._rate:.3f} s"
            self._note += f"{'; ' if self._note else ''}{shorter}: the section before gave no more sound beyond its end"
        return frames

    def _last_blocks(self, name: str, layer: LayerMix, *, ending: bool) -> Iterator[Float32]:
        if self._next + 1 < len(self._sections):
            following = self._sections[self._next + 1]
            # A crossfade needs no more of the tail than its own length, and what the next section may be moved by; over
            # a hard join all of it rings.
            keep = round(DECLICK_S * self._rate + following.beat_frames) + max(0, self._placed.shift)
            hard = following.hard or not following.crossfade_frames
            yield from layer.leave(None if hard else keep + following.crossfade_frames)
            return
        blocks, silent_frames = layer.end(ending=ending)
        if name == MIX:
            if not ending:
                text = "the last section has no ending of its own; it is faded within its last bar"
                self._warnings.append(("ending_faded", text))
            if silent_frames and not ending:
                text = f"no sound came for the piece's last {silent_frames} frames"
                self._warnings.append(("tail_missing", text))
        yield from blocks

    def _piece(self, layer: str, sound: Float32) -> Piece:
        first_frame = self.section.first_frame + self._emitted[layer]
        self._emitted[layer] += len(sound)
        if layer == MIX:
            self._meter.push(sound)
            mono = sound.mean(axis=1, dtype=np.float32)
            window = round(WINDOW_S * self._rate)
            if self._num_head < window + self._late:
                self._head.append(mono)
                self._num_head += len(mono)
            self._recent = np.concatenate((self._recent, mono))[-window:]
        return Piece(layer, first_frame, sound)

    def _join(self, incoming: Incoming) -> Join | None:
        if self._next == 0:
            return None
        section = self.section
        # The seam is where its own sound begins.
        window, late = round(WINDOW_S * self._rate), self._late
        head = np.concatenate(self._head)[: late + window]
        goes_on = head if self._entry.continuous else self._layers[MIX].goes_on(len(head))
        drift = self._placed.drift
        first_hop = round(late * HOPS_A_SECOND / self._rate)
        hops = self._meter.hop_powers()[first_hop : first_hop + HOPS_A_SECOND]
        seam = Seam(
            np.concatenate((self._before, head[:late]))[-window:],
            head[late:],
            goes_on[late:],
            power_before=self._levels.last_second(),
            power_after=float(hops.mean()) if len(hops) else 0.0,
            planned_jump_lu=self._planned_jump(incoming),
            tempo_drift=drift,
        )
        return Join(
            self._sections[self._next - 1].section_id,
            section.section_id,
            section.first_frame,
            self._entry.crossfade_frames == 0,
            self._entry.crossfade_frames,
            score_join(seam, self._rate),
            drift,
            self._note,
        )

    @property
    def _late(self) -> int:
        """After how many frames of the open section its own sound begins."""
        return max(0, self._placed.shift)

    def _planned_jump(self, incoming: Incoming) -> float:
        if self._target_before is None or incoming.target_lufs is None:
            return 0.0
        return incoming.target_lufs - self._target_before

    def _state(self, section_id: str) -> bytes:
        return encode_state(
            MixState(
                section_id=section_id,
                sample_rate=self._rate,
                channels=self._channels,
                gain=self._entry.gain,
                target_lufs=self._target_before,
                behind=self._behind,
                ringing={name: layer.ringing for name, layer in self._layers.items()},
                beyond={name: layer.beyond for name, layer in self._layers.items()},
                levels=self._levels,
                recent=self._recent,
            )
        )
