"""Fits the sections to a length: a stated tempo is exact and whole bars fill from below; an unstated one is tuned."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_music.elements import Metre
from segue_music.plan import Kind, TailPolicy
from segue_planner.form.tempo_maps import SPED_UP, playable, tempo_maps
from segue_planner.limits import FASTEST, MAX_BARS, MAX_SECONDS, SLOWEST
from segue_planner.names import bpm_name, metre_name
from segue_runtime import errors
from segue_runtime.errors import FieldViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from segue_music.elements import TempoPoint
    from segue_planner.facts.decision_log import DecisionLog
    from segue_planner.facts.piece_facts import PieceFacts
    from segue_planner.form.outline import SectionOutline
    from segue_planner.prompt.prompt_facts import TempoChange

TUNING: Final = 0.03
"""How far an unstated tempo may leave its range to make whole bars fit, as a share."""
PREFERRED_TAIL_S: Final = 1.6
MAX_PIECE_BARS: Final = 32_000


@dataclass(frozen=True)
class TimedForm:
    """Sections with their tempo points and frames, and the tail in which the ending rings out."""

    quarters_per_minute: float
    metre: Metre
    sections: tuple[SectionOutline, ...]
    tempo_points: tuple[tuple[TempoPoint, ...], ...]
    frames: tuple[int, ...]
    tail_frames: int

    @property
    def total_frames(self) -> int:
        """The length of the piece."""
        return sum(self.frames) + self.tail_frames


class LengthFitter:
    """Finds tempo and bars for one piece."""

    def __init__(
        self,
        facts: PieceFacts,
        tail: TailPolicy,
        course: Container[str],
        log: DecisionLog,
        outline: Callable[[int], tuple[SectionOutline, ...]],
        num_requested: int,
        change: TempoChange | None = None,
        metres: Sequence[Metre] = (),
    ) -> None:
        """`outline` divides a number of bars into sections; `num_requested` is the number of sections in the brief."""
        self._facts, self._tail, self._course, self._log = facts, tail, course, log
        self._outline, self._num_requested, self._change = outline, num_requested, change
        self._metres = metres

    def fit(self) -> TimedForm:
        """Fit the piece, or raise LengthNotPossible with the nearest possible lengths."""
        facts = self._facts
        if facts.frames is None:
            return self._fit_bars(facts.bars or 1)
        if facts.tempo.is_stated:
            return self._fit_stated_tempo(facts.frames)
        return self._fit_open_tempo(facts.frames)

    def _fit_bars(self, bars: int) -> TimedForm:
        facts, tempo = self._facts, self._facts.tempo.preferred
        if not facts.tempo.is_stated:
            bpm = round(timing.bpm_from_quarters(tempo, facts.metre))
            tempo = playable(timing.quarters_from_bpm(float(bpm), facts.metre))
            self._log.revise("tempo", bpm_name(tempo, facts.metre))
        bar = _bar_frames(tempo, facts.metre, facts.sample_rate)
        self._check_form(bars, bar)
        longest_s = MAX_SECONDS - 1
        if bars * bar > longest_s * facts.sample_rate:
            raise errors.LengthNotPossible(
                f"{bars} bars take {bars * bar / facts.sample_rate:.0f} s at this tempo; the limit is {MAX_SECONDS} s",
                metadata={"shorter": f"{int(longest_s * facts.sample_rate / bar) * bar / facts.sample_rate:.6f}s"},
            )
        return self._timed(tempo, facts.metre, bars, frames=None)

    # A stated tempo.

    def _fit_stated_tempo(self, frames: int) -> TimedForm:
        facts, tempo = self._facts, self._facts.tempo.preferred
        metre = facts.metre if facts.metre_is_stated else self._short_metre(tempo, tempo, frames)
        bar = _bar_frames(tempo, metre, facts.sample_rate)
        if frames + 1 < bar:
            raise errors.LengthNotPossible(
                f"{frames / facts.sample_rate:g} s is shorter than one bar of {metre_name(metre)} at "
                f"{bpm_name(tempo, metre)}; request at least {bar / facts.sample_rate:.3f} s, or omit the tempo or the "
                "metre",
                metadata={"longer": f"{bar / facts.sample_rate:.6f}s"},
            )
        changed = [bar * timing.ticks_per_bar(each) / timing.ticks_per_bar(metre) for each in self._metres]
        shortest, longest = min([bar, *changed]), max([bar, *changed])
        bars = int((frames + 1) / shortest * self._fastest())
        while True:
            self._check_form(bars, bar)
            exact = self._frames_of(tempo, metre, bars)
            if exact <= frames + 1 or bars == 1:
                break
            bars = max(1, bars - max(1, int((exact - frames) / longest / self._fastest())))
        if abs(frames - exact) > 1:
            self._check_rest(frames, bar, bars, bpm_name(tempo, metre))
        return self._timed(tempo, metre, bars, frames)

    def _fastest(self) -> float:
        """Return the fastest tempo of the piece relative to its beginning."""
        changed = self._change.factor if self._change else 1.0
        return max(SPED_UP if "speeds_up" in self._course else 1.0, changed)

    def _check_rest(self, frames: int, bar: float, bars: int, tempo: str) -> None:
        """Refuse a rest that is not whole bars where no tail may play; warn about one in a loop."""
        rate = self._facts.sample_rate
        if self._tail == TailPolicy.FORBID:
            shorter, longer = (round(count * bar) / rate for count in (bars, bars + 1))
            raise errors.LengthNotPossible(
                f"{frames / rate:g} s is not a whole number of bars at this tempo, and a tail is forbidden; "
                f"request {shorter:.6f} s or {longer:.6f} s",
                metadata={"shorter": f"{shorter:.6f}s", "longer": f"{longer:.6f}s"},
            )
        if self._facts.kind == Kind.LOOP:
            nearest = " or ".join(f"{count * bar / rate:.3f} s" for count in (bars, bars + 1))
            self._log.warn(
                "loop_gap", f"the length is not a whole number of bars at {tempo}; {nearest} loops without a gap"
            )

    # An unstated tempo.

    def _fit_open_tempo(self, frames: int) -> TimedForm:
        facts = self._facts
        tail_s = 0.0 if facts.kind == Kind.LOOP or self._tail == TailPolicy.FORBID else PREFERRED_TAIL_S
        room = max(frames * 0.8, frames - tail_s * facts.sample_rate)
        low = max(SLOWEST, facts.tempo.slowest * (1 - TUNING))
        high = min(FASTEST, facts.tempo.fastest * (1 + TUNING))
        metre = facts.metre if facts.metre_is_stated else self._short_metre(facts.tempo.preferred, high, int(room))
        bars, tempo = self._best_bars(room, metre, low, high)
        if self._metres:
            # Bars of another metre are longer or shorter.
            usual = self._frames_of(tempo, metre, bars) / (bars * _bar_frames(tempo, metre, facts.sample_rate))
            bars, tempo = self._best_bars(room / usual, metre, low, high)
        self._check_form(bars, _bar_frames(tempo, metre, facts.sample_rate))
        tempo = playable(tempo * self._frames_of(tempo, metre, bars) / room)
        while bars > 1 and self._frames_of(tempo, metre, bars) > frames + 1:
            bars -= 1
        if abs(tempo - facts.tempo.preferred) > 0.005:
            self._log.revise("tempo", f"{bpm_name(tempo, metre)}, tuned so that {bars} bars fill the length")
        else:
            self._log.revise("tempo", bpm_name(tempo, metre))
        if not low <= tempo <= high:
            self._log.warn(
                "tempo_stretched",
                f"whole bars of {metre_name(metre)} fill the length only at {bpm_name(tempo, metre)}, "
                "outside the range of the genre or the prompt",
            )
        return self._timed(tempo, metre, bars, frames)

    def _best_bars(self, room: float, metre: Metre, low: float, high: float) -> tuple[int, float]:
        """Return the number of bars that fills `room` frames best, and its tempo."""
        facts = self._facts
        preferred = facts.tempo.preferred
        bar = _bar_frames(preferred, metre, facts.sample_rate)
        if facts.bars is not None:
            tempo = facts.bars * bar / room * preferred
            if SLOWEST <= tempo <= FASTEST:
                return facts.bars, tempo
            self._log.warn("bars_not_possible", f"no playable tempo fits {facts.bars} bars into this length")
        best: tuple[float, int, float] | None = None
        first = max(1, int(room / _bar_frames(low, metre, facts.sample_rate)))
        last = min(MAX_PIECE_BARS, int(room / _bar_frames(high, metre, facts.sample_rate)) + 1)
        for bars in range(first, max(first, last) + 1):
            tempo = preferred * bars * bar / room
            if not SLOWEST <= tempo <= FASTEST:
                continue
            outside = max(0.0, low / tempo - 1, tempo / high - 1)
            few = 1.0 if bars < self._num_requested else 0.0
            cost = outside * 100 + abs(tempo / preferred - 1) / 2 + self._phrase_cost(bars) + few
            if best is None or cost < best[0]:
                best = (cost, bars, tempo)
        if best is None:
            rate = facts.sample_rate
            raise errors.LengthNotPossible(
                f"{room / rate:g} s is shorter than one bar of {metre_name(metre)} at any tempo; request more time, "
                "or omit the metre",
                metadata={"longer": f"{_bar_frames(FASTEST, metre, rate) / rate:.6f}s"},
            )
        return best[1], best[2]

    def _phrase_cost(self, bars: int) -> float:
        """Return the cost of a number of bars that is not whole phrases."""
        phrase = self._facts.genre.phrase_bars
        odd = 0.0 if bars % phrase == 0 else 0.03 if bars % 4 == 0 else 0.08 if bars % 2 == 0 else 0.15
        return odd + 0.2 if phrase == 12 and bars % phrase else odd

    def _short_metre(self, tempo: float, fastest: float, frames: int) -> Metre:
        """For a clip shorter than a bar, return a metre with as many beats as fit, when none is stated."""
        metre = self._facts.metre
        if frames + 1 >= _bar_frames(fastest, metre, self._facts.sample_rate):
            return metre
        beats = max(1, int(frames / self._facts.sample_rate * tempo / 60 + 1e-9))
        if beats >= metre.beats:
            return metre
        found = Metre(beats, 4)
        self._log.warn("short_metre", f"the clip is shorter than a bar of 4/4; it has one bar of {metre_name(found)}")
        self._log.revise("metre", metre_name(found))
        return found

    # Both.

    def _check_form(self, bars: int, bar_frames: float) -> None:
        """Refuse requested sections that are too few or too many for a number of bars."""
        num_sections, rate = self._num_requested, self._facts.sample_rate
        if num_sections and bars > MAX_BARS * num_sections:
            least = -(-bars // MAX_BARS)
            raise errors.LengthNotPossible(
                f"brief.form: {bars} bars need at least {least} sections; a section has at most {MAX_BARS} bars",
                violations=[FieldViolation("brief.form", f"needs at least {least} sections", str(least))],
                metadata={"shorter": f"{MAX_BARS * num_sections * bar_frames / rate:.6f}s"},
            )
        if num_sections > bars:
            seconds = num_sections * bar_frames / rate
            raise errors.LengthNotPossible(
                f"brief.form: {num_sections} sections need at least {num_sections} bars, but only {bars} fit; "
                f"request at least {seconds:.3f} s, or fewer sections",
                violations=[FieldViolation("brief.form", f"at most {bars} sections fit", str(bars))],
                metadata={"longer": f"{seconds:.6f}s"},
            )

    def _frames_of(self, tempo: float, metre: Metre, bars: int) -> float:
        """Return the number of frames that a number of bars takes."""
        sections = self._outline(bars)
        maps = tempo_maps(tempo, metre, sections, self._course, self._change)
        seconds = (
            _seconds(points, section.bars, section.metre or metre)
            for points, section in zip(maps, sections, strict=True)
        )
        return math.fsum(seconds) * self._facts.sample_rate

    def _timed(self, tempo: float, metre: Metre, bars: int, frames: int | None) -> TimedForm:
        facts = self._facts
        sections = self._outline(bars)
        maps = tempo_maps(tempo, metre, sections, self._course, self._change)
        lengths = [
            timing.section_frames(section.bars, section.metre or metre, points, facts.sample_rate)
            for section, points in zip(sections, maps, strict=True)
        ]
        tail = 0 if frames is None else frames - sum(lengths)
        # Each section is rounded on its own. The later ones compensate the sum of the rounding, one frame each.
        for index in range(len(lengths) - 1, len(lengths) - 1 + min(tail, 0), -1):
            lengths[index] -= 1
        if 0 < tail <= len(lengths) // 2 + 1:
            for index in range(tail):
                lengths[-1 - index] += 1
            tail = 0
        timed = TimedForm(tempo, metre, sections, maps, tuple(lengths), max(0, tail))
        return timed if frames is None else dataclasses.replace(timed, tail_frames=frames - sum(lengths))


def _seconds(points: tuple[TempoPoint, ...], bars: int, metre: Metre) -> float:
    return timing.TempoMap.of(points).seconds(bars * timing.ticks_per_bar(metre))


def _bar_frames(tempo: float, metre: Metre, sample_rate: int) -> float:
    return metre.beats * 4 / metre.unit * 60 / tempo * sample_rate
