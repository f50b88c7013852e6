"""Makes sections fill a length: a stated tempo is exact and whole bars fill from below; an unstated one is tuned."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import Metre, TempoPoint
from segue_music.plan import Kind, TailPolicy
from segue_planner.facts.resolver import bpm_name, metre_name
from segue_planner.limits import FASTEST, MAX_BARS, MAX_SECONDS, SLOWEST
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from segue_planner.facts.decision_log import Ledger
    from segue_planner.facts.resolver import Facts
    from segue_planner.form.outline import Shape

TUNING: Final = 0.03
"""How far an unstated tempo may leave its range so that the bars fit."""
WISHED_TAIL_S: Final = 1.6
MAX_PIECE_BARS: Final = 32_000
SPED_UP: Final = 1.16
"""The tempo at the end of a piece that speeds up, against its beginning."""
RITARDANDO: Final = ((0.5, 0.94), (0.75, 0.86))
"""Where in the last bars a ritardando goes on, and how slow it is there."""
RITARDANDO_BARS: Final = 4


@dataclass(frozen=True)
class Timed:
    """Sections with their tempo maps and frames, and what is left for the ending to ring out."""

    quarters_per_minute: float
    metre: Metre
    shapes: tuple[Shape, ...]
    points: tuple[tuple[TempoPoint, ...], ...]
    frames: tuple[int, ...]
    tail_frames: int

    @property
    def total_frames(self) -> int:
        """The piece's length."""
        return sum(self.frames) + self.tail_frames


class Fitter:
    """Finds tempo and bars for one piece."""

    def __init__(
        self,
        facts: Facts,
        tail: TailPolicy,
        course: Container[str],
        ledger: Ledger,
        build: Callable[[int], tuple[Shape, ...]],
        num_form: int,
    ) -> None:
        self._facts, self._tail, self._course, self._ledger = facts, tail, course, ledger
        self._build, self._num_form = build, num_form

    def fit(self) -> Timed:
        """Fit the piece; LengthNotPossible names the nearest lengths that are."""
        facts = self._facts
        if facts.frames is None:
            return self._of_bars(facts.bars or 1)
        if facts.tempo.is_stated:
            return self._stated(facts.frames)
        return self._tuned(facts.frames)

    def _of_bars(self, bars: int) -> Timed:
        facts, tempo = self._facts, self._facts.tempo.wish
        if not facts.tempo.is_stated:
            bpm = round(timing.bpm_from_quarters(tempo, facts.metre))
            tempo = _playable(timing.quarters_from_bpm(float(bpm), facts.metre))
            self._ledger.revise("tempo", bpm_name(tempo, facts.metre))
        bar = _bar_frames(tempo, facts.metre, facts.sample_rate)
        self._check_form(bars, bar)
        longest_s = MAX_SECONDS - 1
        if bars * bar > longest_s * facts.sample_rate:
            raise errors.LengthNotPossible(
                f"{bars} bars have {bars * bar / facts.sample_rate:.0f} s at this tempo; {MAX_SECONDS} s is the most",
                metadata={"shorter": f"{int(longest_s * facts.sample_rate / bar) * bar / facts.sample_rate:.6f}s"},
            )
        return self._timed(tempo, facts.metre, bars, frames=None)

    # A stated tempo.

    def _stated(self, frames: int) -> Timed:
        facts, tempo = self._facts, self._facts.tempo.wish
        metre = facts.metre if facts.metre_is_stated else self._short_metre(tempo, tempo, frames)
        bar = _bar_frames(tempo, metre, facts.sample_rate)
        if frames + 1 < bar:
            raise errors.LengthNotPossible(
                f"{frames / facts.sample_rate:g} s is shorter than one bar of {metre_name(metre)} at "
                f"{bpm_name(tempo, metre)}; take at least {bar / facts.sample_rate:.3f} s, or leave the tempo or the "
                "metre open",
                metadata={"longer": f"{bar / facts.sample_rate:.6f}s"},
            )
        bars = int((frames + 1) / bar * (SPED_UP if "speeds_up" in self._course else 1.0))
        while True:
            self._check_form(bars, bar)
            exact = self._taken(tempo, metre, bars)
            if exact <= frames + 1 or bars == 1:
                break
            bars = max(1, bars - max(1, int((exact - frames) / bar / SPED_UP)))
        rest = frames - exact
        if abs(rest) > 1 and self._tail == TailPolicy.FORBID:
            self._refuse_tail(frames, bar, bars)
        if abs(rest) > 1 and facts.kind == Kind.LOOP:
            nearest = " or ".join(f"{count * bar / facts.sample_rate:.3f} s" for count in (bars, bars + 1))
            self._ledger.warn(
                "loop_gap", f"the length is not whole bars at {bpm_name(tempo, metre)}: {nearest} would loop exactly"
            )
        return self._timed(tempo, metre, bars, frames)

    def _refuse_tail(self, frames: int, bar: float, bars: int) -> None:
        rate = self._facts.sample_rate
        shorter, longer = (round(count * bar) / rate for count in (bars, bars + 1))
        raise errors.LengthNotPossible(
            f"{frames / rate:g} s are not whole bars at this tempo, and a tail is forbidden; "
            f"{shorter:.6f} s or {longer:.6f} s would be",
            metadata={"shorter": f"{shorter:.6f}s", "longer": f"{longer:.6f}s"},
        )

    # An unstated tempo.

    def _tuned(self, frames: int) -> Timed:
        facts = self._facts
        wished = 0.0 if facts.kind == Kind.LOOP or self._tail == TailPolicy.FORBID else WISHED_TAIL_S
        room = max(frames * 0.8, frames - wished * facts.sample_rate)
        low = max(SLOWEST, facts.tempo.slowest * (1 - TUNING))
        high = min(FASTEST, facts.tempo.fastest * (1 + TUNING))
        metre = facts.metre if facts.metre_is_stated else self._short_metre(facts.tempo.wish, high, int(room))
        bars, tempo = self._best_bars(room, metre, low, high)
        self._check_form(bars, _bar_frames(tempo, metre, facts.sample_rate))
        taken = self._taken(tempo, metre, bars)
        tempo = _playable(tempo * taken / room)
        while bars > 1 and self._taken(tempo, metre, bars) > frames + 1:
            bars -= 1
        if abs(tempo - facts.tempo.wish) > 0.005:
            self._ledger.revise("tempo", f"{bpm_name(tempo, metre)}, tuned so that {bars} bars fill the length")
        else:
            self._ledger.revise("tempo", bpm_name(tempo, metre))
        if not low <= tempo <= high:
            self._ledger.warn(
                "tempo_stretched",
                f"only {bpm_name(tempo, metre)} makes whole bars of {metre_name(metre)} fill the length",
            )
        return self._timed(tempo, metre, bars, frames)

    def _best_bars(self, room: float, metre: Metre, low: float, high: float) -> tuple[int, float]:
        facts = self._facts
        wish = facts.tempo.wish
        bar = _bar_frames(wish, metre, facts.sample_rate)
        phrase = facts.genre.phrase_bars
        if facts.bars is not None:
            wished = facts.bars * bar / room * wish
            if SLOWEST <= wished <= FASTEST:
                return facts.bars, wished
            self._ledger.warn("bars_not_possible", f"{facts.bars} bars in this length have no playable tempo")
        best: tuple[float, int, float] | None = None
        first = max(1, int(room / _bar_frames(low, metre, facts.sample_rate)))
        last = min(MAX_PIECE_BARS, int(room / _bar_frames(high, metre, facts.sample_rate)) + 1)
        for bars in range(first, max(first, last) + 1):
            tempo = wish * bars * bar / room
            if not SLOWEST <= tempo <= FASTEST:
                continue
            outside = max(0.0, low / tempo - 1, tempo / high - 1)
            odd = 0.0 if bars % phrase == 0 else 0.03 if bars % 4 == 0 else 0.08 if bars % 2 == 0 else 0.15
            if phrase == 12 and bars % phrase:
                odd += 0.2
            few = 1.0 if bars < self._num_form else 0.0
            cost = outside * 100 + abs(tempo / wish - 1) / 2 + odd + few
            if best is None or cost < best[0]:
                best = (cost, bars, tempo)
        if best is None:
            rate = facts.sample_rate
            raise errors.LengthNotPossible(
                f"{room / rate:g} s is shorter than one bar of {metre_name(metre)} at any tempo; give it more time, "
                "or leave the metre open",
                metadata={"longer": f"{_bar_frames(FASTEST, metre, rate) / rate:.6f}s"},
            )
        return best[1], best[2]

    def _short_metre(self, tempo: float, fastest: float, frames: int) -> Metre:
        """For a clip shorter than a bar: a bar of as many beats as fit, when nobody asked for a metre."""
        metre = self._facts.metre
        if frames + 1 >= _bar_frames(fastest, metre, self._facts.sample_rate):
            return metre
        beats = max(1, int(frames / self._facts.sample_rate * tempo / 60 + 1e-9))
        if beats >= metre.beats:
            return metre
        found = Metre(beats, 4)
        self._ledger.warn("short_metre", f"the clip is shorter than a bar of 4/4: it has one of {metre_name(found)}")
        self._ledger.revise("metre", metre_name(found))
        return found

    # Both.

    def _check_form(self, bars: int, bar_frames: float) -> None:
        if self._num_form and bars > MAX_BARS * self._num_form:
            least = -(-bars // MAX_BARS)
            raise errors.LengthNotPossible(
                f"brief.form: {bars} bars need at least {least} sections; one has at most {MAX_BARS} bars",
                violations=[FieldViolation("brief.form", f"at least {least} sections are needed", str(least))],
                metadata={"shorter": f"{MAX_BARS * self._num_form * bar_frames / self._facts.sample_rate:.6f}s"},
            )
        if self._num_form > bars:
            seconds = self._num_form * bar_frames / self._facts.sample_rate
            raise errors.LengthNotPossible(
                f"brief.form: {self._num_form} sections need at least {self._num_form} bars, and {bars} fit; "
                f"take at least {seconds:.3f} s, or fewer sections",
                violations=[FieldViolation("brief.form", f"at most {bars} sections fit", str(bars))],
                metadata={"longer": f"{seconds:.6f}s"},
            )

    def _taken(self, tempo: float, metre: Metre, bars: int) -> float:
        """Return how many frames a number of bars takes."""
        points = self._points(tempo, metre, self._build(bars))
        return math.fsum(_seconds(own, shape.bars, metre) for own, shape in points) * self._facts.sample_rate

    def _points(
        self, tempo: float, metre: Metre, shapes: Sequence[Shape]
    ) -> list[tuple[tuple[TempoPoint, ...], Shape]]:
        """Return each section's tempo map: steady, sped up section by section, or held back at the very end."""
        found = []
        for index, shape in enumerate(shapes):
            own = tempo
            if "speeds_up" in self._course and len(shapes) > 1:
                own = tempo * (1 + (SPED_UP - 1) * index / (len(shapes) - 1))
            points = [TempoPoint(0, _playable(own))]
            if "slows_down" in self._course and index + 1 == len(shapes) and shape.bars > 1:
                bar = timing.ticks_per_bar(metre)
                held = min(RITARDANDO_BARS, shape.bars)
                for place, factor in RITARDANDO:
                    tick = (shape.bars - held) * bar + int(place * held * bar)
                    points.append(TempoPoint(tick, _playable(own * factor)))
            found.append((tuple(points), shape))
        return found

    def _timed(self, tempo: float, metre: Metre, bars: int, frames: int | None) -> Timed:
        facts = self._facts
        shapes = self._build(bars)
        points = tuple(point_list for point_list, _ in self._points(tempo, metre, shapes))
        lengths = [
            timing.section_frames(shape.bars, metre, own, facts.sample_rate)
            for shape, own in zip(shapes, points, strict=True)
        ]
        tail = 0 if frames is None else frames - sum(lengths)
        # Sections are rounded one by one; the later ones give back, or take, what that made, a frame each.
        for index in range(len(lengths) - 1, len(lengths) - 1 + min(tail, 0), -1):
            lengths[index] -= 1
        if 0 < tail <= len(lengths) // 2 + 1:
            for index in range(tail):
                lengths[-1 - index] += 1
            tail = 0
        timed = Timed(tempo, metre, shapes, points, tuple(lengths), max(0, tail))
        return timed if frames is None else dataclasses.replace(timed, tail_frames=frames - sum(lengths))


def _playable(tempo: float) -> float:
    return min(FASTEST, max(SLOWEST, tempo))


def _seconds(points: tuple[TempoPoint, ...], bars: int, metre: Metre) -> float:
    return timing.TempoMap.of(points).seconds(bars * timing.ticks_per_bar(metre))


def _bar_frames(tempo: float, metre: Metre, sample_rate: int) -> float:
    return metre.beats * 4 / metre.unit * 60 / tempo * sample_rate
