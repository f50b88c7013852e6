"""The draft: sections in, mixed audio out. Neither clock nor arrival order nor chunk size changes the result.

Sections have planned places. A take may extend beyond its section. That tail overlaps the next section: with an
equal-power fade over a crossfade, in full over a hard join. The total length is exact to the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import LoudnessMeter
from segue_audio.pcm import mono_mean
from segue_mixer.audio_check import WrongAudio, WrongOrder, check_samples
from segue_mixer.mix.beats import ShiftRange
from segue_mixer.mix.checkpoint import MAX_SHIFT_S, MixCheckpoint, decode_checkpoint, encode_checkpoint
from segue_mixer.mix.fades import DECLICK_S
from segue_mixer.mix.join_score import WINDOW_S, JoinAudio, score_join
from segue_mixer.mix.layer import LayerMixer, SectionEntry
from segue_mixer.mix.piece_loudness import PieceLoudness
from segue_mixer.mix.placement import BeatsAtEnd, Placement, beats_at_end, place
from segue_mixer.mix.sections import MIX, DraftBlock, MixedJoin, MixedSection, MixSection, SectionInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from segue_audio.arrays import Float32
    from segue_audio.loudness import Loudness
    from segue_mixer.mix.sections import LateBeats

MAX_GAIN_DB: Final = 12.0
HOPS_PER_SECOND: Final = 100


class DraftMixer:
    """Makes one draft: `open_section`, `push` …, `close_section`, for each section in order."""

    def __init__(self, sections: Sequence[MixSection], sample_rate: int, channels: int, layers: Sequence[str]) -> None:
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._channels = channels
        self._layers = {name: LayerMixer(sample_rate, channels) for name in (MIX, *layers)}
        self._next = 0
        self._source: SectionInput | None = None
        self._target_before: float | None = None
        self._beats_before = BeatsAtEnd()
        self._placement = Placement(self._beats_before)
        self._entry = SectionEntry(1.0, 1.0, continuous=False, crossfade_frames=0)
        self._gain_db = 0.0
        self._warnings: list[tuple[str, str]] = []
        self._note = ""
        self._meter = LoudnessMeter(sample_rate, channels)
        self._levels = PieceLoudness()
        self._emitted: dict[str, int] = {}
        self._head: list[Float32] = []
        self._num_head = 0
        self._before = np.zeros(0, np.float32)
        self._recent = np.zeros(0, np.float32)
        """The last second of the mix, mono."""

    @property
    def section(self) -> MixSection:
        """The open section, or else the next one."""
        return self._sections[self._next]

    @property
    def is_open(self) -> bool:
        """Whether a section is open."""
        return self._source is not None

    @property
    def is_complete(self) -> bool:
        """Whether all sections have been closed."""
        return self._next == len(self._sections)

    @property
    def frames(self) -> int:
        """Length of the whole piece."""
        last = self._sections[-1]
        return last.first_frame + last.frames + last.tail_frames

    def resume(self, section_id: str, content: bytes) -> None:
        """Continue after a section, from the checkpoint at its end."""
        names = [section.section_id for section in self._sections]
        if section_id not in names:
            raise WrongOrder(f"there is no section {section_id!r} to resume after")
        loaded = decode_checkpoint(content)
        layout = (loaded.section_id, loaded.sample_rate, loaded.channels, set(loaded.ringing))
        if layout != (section_id, self._rate, self._channels, set(self._layers)):
            raise WrongOrder("the checkpoint belongs to another mix, or to another section of this one")
        self._next = names.index(section_id) + 1
        for name, layer in self._layers.items():
            layer.ringing, layer.beyond = loaded.ringing[name], loaded.beyond[name]
        self._entry = SectionEntry(loaded.gain, loaded.gain, continuous=False, crossfade_frames=0)
        self._target_before = loaded.target_lufs
        self._beats_before = loaded.beats
        self._levels = loaded.levels
        self._before = self._recent = loaded.recent

    def open_section(self, section_id: str, source: SectionInput) -> None:
        """Begin the next section."""
        if self.is_complete or section_id != self.section.section_id or self.is_open:
            expected = "the end of the stream" if self.is_complete else f"section {self.section.section_id!r}"
            if self.is_open:
                expected = f"the end of {expected}"
            raise WrongOrder(f"section {section_id!r} began, expected {expected}", section_id=section_id)
        self._source = source
        self._meter = LoudnessMeter(self._rate, self._channels)
        self._warnings = []
        self._emitted = dict.fromkeys(self._layers, 0)
        self._head = []
        self._num_head = 0
        self._before = self._recent
        gain = self._choose_gain(source)
        self._placement = place(self.section, source, self._beats_before, self._allowed_shift(source))
        continuous = self._placement.continuous and self._next > 0
        self._entry = SectionEntry(
            gain,
            self._entry.gain,
            continuous=continuous,
            crossfade_frames=self._choose_crossfade(continuous),
            sample_locked=source.sample_locked,
            shift=self._placement.shift,
        )
        for layer in self._layers.values():
            layer.begin_section(self.section, source, self._entry)

    def push(self, layer: str, first_frame: int, block: Float32) -> Iterator[DraftBlock]:
        """Add audio of the open section and yield the draft that is ready."""
        self._require_open()
        section = self.section
        mixer = self._layers.get(layer)
        if mixer is None:
            raise WrongOrder(f"layer {layer!r} was not announced", section_id=section.section_id, frame=first_frame)
        where = f"section {section.section_id}"
        if first_frame != mixer.frames_in:
            raise WrongOrder(
                f"{where}: frame {first_frame} arrived, expected frame {mixer.frames_in}",
                section_id=section.section_id,
                frame=first_frame,
            )
        check_samples(block, first_frame, where, section.section_id)
        # The last bar of the piece stays back until its ending is known.
        hold = section.bar_frames if self._next + 1 == len(self._sections) else 0
        yield from self._draft_blocks(layer, mixer.push(block, hold))

    def close_section(
        self, frames: int, tail_frames: int, *, ending: bool, late: LateBeats | None = None
    ) -> Iterator[DraftBlock | MixedSection]:
        """End the open section; `late` are the beats of a section that began without any."""
        source = self._require_open()
        section = self.section
        for name, layer in self._layers.items():
            if layer.frames_in != frames + tail_frames:
                raise WrongAudio(
                    f"section {section.section_id}: {layer.frames_in} frames of layer {name or 'mix'} arrived, "
                    f"its end says {frames} + {tail_frames}",
                    section_id=section.section_id,
                    frame=layer.frames_in,
                )
        for name, layer in self._layers.items():
            yield from self._draft_blocks(name, self._last_blocks(name, layer, ending=ending))
        join = self._join(source)
        loudness = self._meter.result()
        self._levels = self._levels.plus(self._meter.hop_powers(), loudness)
        self._next += 1
        self._source = None
        self._target_before = source.target_lufs
        placement = self._placement
        self._beats_before = placement.at_end if late is None else beats_at_end(section, placement, late)
        yield MixedSection(
            section.section_id,
            self._gain_db,
            loudness,
            join,
            tuple(self._warnings),
            self._checkpoint(section.section_id),
            placement.shift,
        )

    def loudness(self) -> Loudness:
        """Return the loudness of the whole draft so far."""
        return self._levels.loudness()

    def _require_open(self) -> SectionInput:
        if self._source is None:
            raise WrongOrder("no section is open")
        return self._source

    def _choose_gain(self, source: SectionInput) -> float:
        self._gain_db = 0.0
        if source.declared_lufs is not None and source.target_lufs is not None:
            wanted = source.target_lufs - source.declared_lufs
            self._gain_db = float(np.clip(wanted, -MAX_GAIN_DB, MAX_GAIN_DB))
            if self._gain_db != wanted:
                text = f"a gain of {wanted:+.1f} dB is needed; {self._gain_db:+.1f} dB is applied"
                self._warnings.append(("gain_limited", text))
        return float(10 ** (self._gain_db / 20))

    def _allowed_shift(self, source: SectionInput) -> ShiftRange:
        """Return how far the section can move before audio is missing."""
        section = self.section
        # Later: the audio before it continues for the shift and then fades, at least for the shortest fade.
        later = min(len(self._layers[MIX].beyond) - round(DECLICK_S * self._rate), section.frames // 2)
        needed = section.tail_frames if self._next + 1 == len(self._sections) else 0
        most = round(MAX_SHIFT_S * self._rate)
        return ShiftRange(min(later, most), min(source.tail_frames - needed, most))

    def _choose_crossfade(self, continuous: bool) -> int:  # noqa: FBT001 - one private caller
        """Return the length of the crossfade: as planned, or shorter where audio is missing."""
        section = self.section
        self._note = self._placement.note
        planned = 0 if section.hard or self._next == 0 else section.crossfade_frames
        if continuous:
            if planned:
                self._note = "hard join instead of a crossfade: the audio continues from the section before"
            return 0
        frames = min(planned, len(self._layers[MIX].beyond) - max(0, self._placement.shift))
        if frames < planned:
            shorter = f"crossfade of {frames / self._rate:.3f} s instead of {planned / self._rate:.3f} s"
            self._note += f"{'; ' if self._note else ''}{shorter}: the section before has no more audio beyond its end"
        return frames

    def _last_blocks(self, name: str, layer: LayerMixer, *, ending: bool) -> Iterator[Float32]:
        if self._next + 1 < len(self._sections):
            following = self._sections[self._next + 1]
            # A crossfade needs its own length of the tail, and the next section's shift; a hard join needs all of it.
            keep = round(DECLICK_S * self._rate + following.beat_frames) + max(0, self._placement.shift)
            hard = following.hard or not following.crossfade_frames
            yield from layer.end_section(None if hard else keep + following.crossfade_frames)
            return
        blocks, silent_frames = layer.end_piece(ending=ending)
        if name == MIX:
            if not ending:
                text = "the last section has no ending of its own; it is faded out within its last bar"
                self._warnings.append(("ending_faded", text))
            if silent_frames and not ending:
                text = f"there is no audio for the last {silent_frames} frames of the piece"
                self._warnings.append(("tail_missing", text))
        yield from blocks

    def _draft_blocks(self, layer: str, blocks: Iterable[Float32]) -> Iterator[DraftBlock]:
        """Yield the blocks as one: measuring and sending cost more than joining them."""
        joined = list(blocks)
        if not joined:
            return
        mixed = np.concatenate(joined)
        first_frame = self.section.first_frame + self._emitted[layer]
        self._emitted[layer] += len(mixed)
        if layer == MIX:
            self._meter.push(mixed)
            mono = mono_mean(mixed)
            window = round(WINDOW_S * self._rate)
            if self._num_head < window + self._entry.delay_frames:
                self._head.append(mono)
                self._num_head += len(mono)
            self._recent = np.concatenate((self._recent, mono))[-window:]
        yield DraftBlock(layer, first_frame, mixed)

    def _join(self, source: SectionInput) -> MixedJoin | None:
        if self._next == 0:
            return None
        section, entry = self.section, self._entry
        # The score compares the audio on both sides of the section's first own frame.
        window, delay = round(WINDOW_S * self._rate), entry.delay_frames
        head = np.concatenate(self._head)[: delay + window]
        continuation = head if entry.continuous else self._layers[MIX].overlay_mono(len(head))
        drift = self._placement.drift
        first_hop = round(delay * HOPS_PER_SECOND / self._rate)
        hops = self._meter.hop_powers()[first_hop : first_hop + HOPS_PER_SECOND]
        around = JoinAudio(
            np.concatenate((self._before, head[:delay]))[-window:],
            head[delay:],
            continuation[delay:],
            power_before=self._levels.last_second(),
            power_after=float(hops.mean()) if len(hops) else 0.0,
            planned_jump_lu=self._planned_jump(source),
            tempo_drift=drift,
        )
        return MixedJoin(
            self._sections[self._next - 1].section_id,
            section.section_id,
            section.first_frame,
            entry.crossfade_frames == 0,
            entry.crossfade_frames,
            score_join(around, self._rate),
            drift,
            self._note,
        )

    def _planned_jump(self, source: SectionInput) -> float:
        if self._target_before is None or source.target_lufs is None:
            return 0.0
        return source.target_lufs - self._target_before

    def _checkpoint(self, section_id: str) -> bytes:
        return encode_checkpoint(
            MixCheckpoint(
                section_id=section_id,
                sample_rate=self._rate,
                channels=self._channels,
                gain=self._entry.gain,
                target_lufs=self._target_before,
                beats=self._beats_before,
                ringing={name: layer.ringing for name, layer in self._layers.items()},
                beyond={name: layer.beyond for name, layer in self._layers.items()},
                levels=self._levels,
                recent=self._recent,
            )
        )
