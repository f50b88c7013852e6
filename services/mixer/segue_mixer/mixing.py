"""The mix as a fold: sections in, draft out. No clock, no arrival order, no chunk size reaches the result.

Sections stand at planned places. A take may go on beyond its section: that tail is laid over the next one, faded at
equal power over a crossfade, or left to ring over a hard join. The total is exact to the frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_audio.loudness import Loudness, LoudnessMeter, integrated
from segue_audio.resample import StreamResampler
from segue_mixer.joins import WINDOW_S, JoinScore, score_join
from segue_mixer.state import MixState, decode_state, encode_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Float32 = NDArray[np.float32]

MIX: Final = ""
MAX_GAIN_DB: Final = 12.0
MAX_TAIL_S: Final = 30.0
ENDING_FADE_S: Final = 0.25
"""How long what still rings is faded at the piece's very end."""
BLOCK_FRAMES: Final = 4_800
"""Input is re-blocked to this, counted from the section's start."""


@dataclass(frozen=True)
class Section:
    """A section's place on the timeline."""

    section_id: str
    first_frame: int
    frames: int
    tail_frames: int
    hard: bool
    crossfade_frames: int
    bar_frames: int


@dataclass(frozen=True)
class Incoming:
    """How a section's sound comes in."""

    sample_rate: int
    channels: int
    continuous: bool = False
    declared_lufs: float | None = None
    target_lufs: float | None = None


@dataclass(frozen=True)
class Piece:
    """Draft sound of one layer."""

    layer: str
    first_frame: int
    samples: Float32


@dataclass(frozen=True)
class Join:
    """A join and its score."""

    from_section_id: str
    to_section_id: str
    frame: int
    hard: bool
    frames: int
    score: JoinScore
    note: str = ""


@dataclass(frozen=True)
class Mixed:
    """A section that is in the draft."""

    section_id: str
    gain_db: float
    loudness: Loudness
    join: Join | None
    warnings: tuple[tuple[str, str], ...]
    state: bytes


class MixError(ValueError):
    """Input that cannot be mixed; says the section and the frame."""


@dataclass
class _Layer:
    """One layer of the open section."""

    resampler: StreamResampler
    waiting: list[Float32] = field(default_factory=list)
    frames_in: int = 0
    frames_out: int = 0
    tail: list[Float32] = field(default_factory=list)


class Mix:
    """One mix. `open_section`, `push` …, `close_section`, for each section in order; then `finish`."""

    def __init__(self, sections: Sequence[Section], sample_rate: int, channels: int, layers: Sequence[str]) -> None:
        self._sections = tuple(sections)
        self._rate = sample_rate
        self._channels = channels
        self._names = (MIX, *layers)
        self._next = 0
        self._tails: dict[str, Float32] = {}
        self._hops: list[NDArray[np.float64]] = []
        self._before = np.zeros(0, np.float32)
        self._incoming: Incoming | None = None
        self._layers: dict[str, _Layer] = {}
        self._meter = LoudnessMeter(sample_rate, channels)
        self._gain = 1.0
        self._gain_db = 0.0
        self._warnings: list[tuple[str, str]] = []
        self._head: list[Float32] = []

    @property
    def section(self) -> Section:
        """The section that is open or comes next."""
        return self._sections[self._next]

    @property
    def is_complete(self) -> bool:
        """Whether all sections have been closed."""
        return self._next == len(self._sections)

    def resume(self, section_id: str, state: bytes) -> None:
        """Go on after a section, from the state that it left."""
        names = [section.section_id for section in self._sections]
        if section_id not in names:
            message = f"there is no section {section_id!r} to go on after"
            raise MixError(message)
        loaded = decode_state(state)
        if set(loaded.tails) - set(self._names) or loaded.channels != self._channels:
            message = "the state belongs to another mix"
            raise MixError(message)
        self._next = names.index(section_id) + 1
        self._tails = dict(loaded.tails)
        self._hops = [loaded.hops]
        self._before = loaded.before

    def open_section(self, section_id: str, incoming: Incoming) -> None:
        """Begin the next section."""
        if self.is_complete or section_id != self.section.section_id or self._incoming is not None:
            message = f"section {section_id!r} is not the next one"
            raise MixError(message)
        self._incoming = incoming
        self._layers = {
            name: _Layer(StreamResampler(incoming.sample_rate, self._rate, self._channels)) for name in self._names
        }
        self._meter = LoudnessMeter(self._rate, self._channels)
        self._warnings = []
        self._head = []
        self._gain_db = 0.0
        if incoming.declared_lufs is not None and incoming.target_lufs is not None:
            wanted = incoming.target_lufs - incoming.declared_lufs
            self._gain_db = float(np.clip(wanted, -MAX_GAIN_DB, MAX_GAIN_DB))
            if self._gain_db != wanted:
                self._warnings.append(("gain_limited", f"{wanted:+.1f} dB would be needed; {self._gain_db:+.1f} dB given"))
        self._gain = float(10 ** (self._gain_db / 20))

    def push(self, layer: str, first_frame: int, block: Float32) -> Iterator[Piece]:
        """Take sound of the open section and give the draft that is ready."""
        incoming = self._open()
        state = self._layers.get(layer)
        if state is None:
            message = f"layer {layer!r} was not announced"
            raise MixError(message)
        section = self.section
        if first_frame != state.frames_in:
            message = f"section {section.section_id}: frame {first_frame} came where {state.frames_in} was due"
            raise MixError(message)
        if not np.isfinite(block).all():
            bad = int(np.argwhere(~np.isfinite(block))[0][0])
            message = f"section {section.section_id}: frame {first_frame + bad} is not finite"
            raise MixError(message)
        most = section.frames + MAX_TAIL_S * self._rate
        state.frames_in += len(block)
        if state.frames_in > most * incoming.sample_rate / self._rate + incoming.sample_rate:
            message = f"section {section.section_id}: more than {MAX_TAIL_S:g} s beyond its end"
            raise MixError(message)
        yield from self._advance(layer, state.resampler.push(self._to_channels(block)))

    def close_section(self, frames: int, tail_frames: int, *, ending: bool) -> Iterator[Piece | Mixed]:
        """End the open section."""
        incoming = self._open()
        section = self.section
        for name, state in self._layers.items():
            if state.frames_in != frames + tail_frames:
                message = (
                    f"section {section.section_id}: it ends with {frames} + {tail_frames} frames, "
                    f"{state.frames_in} came of layer {name or 'mix'}"
                )
                raise MixError(message)
            yield from self._advance(name, state.resampler.finish())
        last = self._next + 1 == len(self._sections)
        for name, state in self._layers.items():
            if state.frames_out + sum(len(part) for part in state.waiting) < section.frames:
                missing = section.frames - state.frames_out - sum(len(part) for part in state.waiting)
                if missing > 2 * self._rate // 1000 or not state.waiting:
                    message = f"section {section.section_id}: {missing} frames are missing at its end"
                    raise MixError(message)
                # A rate that does not divide the timeline leaves the last frame open: hold it.
                state.waiting.append(np.repeat(state.waiting[-1][-1:], missing, axis=0))
        yield from self._finish_layers(section, last=last, ending=ending)
        join = self._join(incoming)
        loudness = self._meter.result()
        self._hops.append(self._meter.hop_powers())
        self._next += 1
        self._incoming = None
        yield Mixed(section.section_id, self._gain_db, loudness, join, tuple(self._warnings), self._state())

    def loudness(self) -> float | None:
        """Return the integrated loudness of all that was mixed."""
        return integrated(np.concatenate(self._hops)) if self._hops else None

    def _open(self) -> Incoming:
        if self._incoming is None:
            message = "no section is open"
            raise MixError(message)
        return self._incoming

    def _to_channels(self, block: Float32) -> Float32:
        if block.shape[1] == self._channels:
            return block
        if block.shape[1] == 1:
            return np.repeat(block, self._channels, axis=1)
        if self._channels == 1:
            return np.asarray(block.mean(axis=1, keepdims=True, dtype=np.float64), np.float32)
        message = f"{block.shape[1]} channels cannot be brought to {self._channels}"
        raise MixError(message)

    def _advance(self, layer: str, ready: Float32) -> Iterator[Piece]:
        """Give whole blocks; the last bar of the piece is held back until its ending is known."""
        state = self._layers[layer]
        if len(ready):
            state.waiting.append(ready)
        section = self.section
        hold = section.bar_frames if self._next + 1 == len(self._sections) else 0
        available = sum(len(part) for part in state.waiting)
        while available >= BLOCK_FRAMES and state.frames_out + BLOCK_FRAMES <= section.frames - hold:
            block, state.waiting = _take(state.waiting, BLOCK_FRAMES)
            available -= BLOCK_FRAMES
            yield self._emit(layer, block)

    def _emit(self, layer: str, block: Float32) -> Piece:
        """Put a block of the open section into the draft, under the tails of those before it."""
        state, section = self._layers[layer], self.section
        start = state.frames_out
        sound = block * np.float32(self._gain)
        sound = self._fade_in(sound, start)
        tail = self._tails.get(layer)
        if tail is not None and start < len(tail):
            over = tail[start : start + len(sound)]
            sound[: len(over)] += over
        state.frames_out += len(block)
        if layer == MIX:
            self._meter.push(sound)
            if start < WINDOW_S * self._rate:
                self._head.append(sound.mean(axis=1, dtype=np.float32))
            joined = np.concatenate((self._last(), sound.mean(axis=1, dtype=np.float32)))
            self._recent = joined[-round(WINDOW_S * self._rate) :]
        return Piece(layer, section.first_frame + start, sound)

    def _last(self) -> Float32:
        return getattr(self, "_recent", np.zeros(0, np.float32))

    def _fade_in(self, sound: Float32, start: int) -> Float32:
        section = self.section
        if self._next == 0 or self._is_hard(section) or start >= section.crossfade_frames:
            return sound
        place = (np.arange(start, start + len(sound)) + 0.5) / section.crossfade_frames
        gain = np.sin(np.minimum(1.0, place) * (np.pi / 2))
        return np.asarray(sound * gain[:, None], np.float32)

    def _is_hard(self, section: Section) -> bool:
        return section.hard or section.crossfade_frames == 0 or (self._incoming is not None and self._incoming.continuous)

    def _finish_layers(self, section: Section, *, last: bool, ending: bool) -> Iterator[Piece]:
        for name, state in self._layers.items():
            rest = np.concatenate(state.waiting) if state.waiting else np.zeros((0, self._channels), np.float32)
            state.waiting = []
            body, beyond = rest[: section.frames - state.frames_out], rest[section.frames - state.frames_out :]
            if last:
                yield from self._end_piece(name, body, beyond, ending=ending)
                continue
            while len(body):
                yield self._emit(name, body[:BLOCK_FRAMES])
                body = body[BLOCK_FRAMES:]
            self._tails[name] = self._next_tail(name, beyond * np.float32(self._gain))

    def _next_tail(self, name: str, beyond: Float32) -> Float32:
        """What goes on after this section: its own tail, shaped for the next join, and longer ones from before."""
        following = self._sections[self._next + 1]
        if not following.hard and following.crossfade_frames:
            beyond = beyond[: following.crossfade_frames].copy()
            place = (np.arange(len(beyond)) + 0.5) / following.crossfade_frames
            beyond *= np.cos(place * (np.pi / 2))[:, None].astype(np.float32)
        older = self._tails.get(name, np.zeros((0, self._channels), np.float32))[self.section.frames :]
        if len(older) > len(beyond):
            older, beyond = beyond, older
        total = beyond.copy()
        total[: len(older)] += older
        return total

    def _end_piece(self, name: str, body: Float32, beyond: Float32, *, ending: bool) -> Iterator[Piece]:
        """The last bar and the ring-out: exactly to the piece's last frame, faded where it would be cut."""
        section, state = self.section, self._layers[name]
        room = section.frames + section.tail_frames - state.frames_out
        whole = np.concatenate((body, beyond))[:room]
        cut = len(body) + len(beyond) > room
        if len(whole) < room:
            # The take rings out before the piece's end: what follows is the silence of its own release.
            whole = np.concatenate((whole, np.zeros((room - len(whole), self._channels), np.float32)))
        if not ending:
            fade = min(len(whole), section.bar_frames)
            if name == MIX:
                self._warnings.append(("ending_faded", "the last section has no ending; it is faded within its last bar"))
        else:
            fade = min(len(whole), round(ENDING_FADE_S * self._rate)) if cut else 0
        if fade:
            fall = np.cos((np.arange(fade) + 1) / fade * (np.pi / 2))
            whole = whole.copy()
            whole[-fade:] *= fall[:, None].astype(np.float32)
        while len(whole):
            yield self._emit(name, whole[:BLOCK_FRAMES])
            whole = whole[BLOCK_FRAMES:]

    def _join(self, incoming: Incoming) -> Join | None:
        before, self._before = self._before, self._last()
        if self._next == 0:
            return None
        section = self.section
        hard = self._is_hard(section)
        after = np.concatenate(self._head)[: round(WINDOW_S * self._rate)] if self._head else np.zeros(0, np.float32)
        note = ""
        if incoming.continuous and not section.hard:
            note = "joined hard: the sound goes on from the section before"
        return Join(
            self._sections[self._next - 1].section_id,
            section.section_id,
            section.first_frame,
            hard,
            0 if hard else section.crossfade_frames,
            score_join(before, after, self._rate),
            note,
        )

    def _state(self) -> bytes:
        return encode_state(
            MixState(
                channels=self._channels,
                tails=self._tails,
                hops=np.concatenate(self._hops),
                before=self._before,
            )
        )


def _take(parts: list[Float32], frames: int) -> tuple[Float32, list[Float32]]:
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined[:frames], [joined[frames:]] if len(joined) > frames else []
