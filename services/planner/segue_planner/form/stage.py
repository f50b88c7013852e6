"""Where the places that a prompt names are in a timed form."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Final

from segue_planner.form.roles import STAND_INS
from segue_planner.prompt.places.places import ALL, LAST, Point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue_music.elements import Metre
    from segue_music.plan import Role
    from segue_planner.form.lengths import TimedForm
    from segue_planner.form.outline import SectionOutline
    from segue_planner.prompt.places.places import Place
    from segue_planner.prompt.prompt_facts import Direction

NEAR: Final = 0.75
"""The bars within which a time belongs to the border of two sections."""
LEAST_PART: Final = 1
"""A section is divided only where both parts have this many bars."""


class Stage:
    """Where the directions of a prompt hold in a timed form."""

    def __init__(self, timed: TimedForm, directions: Sequence[Direction], sample_rate: int) -> None:
        self._timed, self._directions, self._sample_rate = timed, directions, sample_rate
        self._starts = [0, *accumulate(section.bars for section in timed.sections)]
        self._frames = [0, *accumulate(timed.frames)]

    @property
    def bars(self) -> int:
        """The bars of the piece."""
        return self._starts[-1]

    @property
    def metre(self) -> Metre:
        """The metre of the piece."""
        return self._timed.metre

    @property
    def sections(self) -> Sequence[SectionOutline]:
        """The sections of the piece."""
        return self._timed.sections

    @property
    def total_seconds(self) -> float:
        """The length of the piece with its ring-out."""
        return self._timed.total_frames / self._sample_rate

    def seconds(self, bar: int) -> float:
        """Return when a bar begins."""
        for index, section in enumerate(self._timed.sections):
            if bar < self._starts[index + 1]:
                length = self._frames[index + 1] - self._frames[index]
                frame = self._frames[index] + length * (bar - self._starts[index]) / section.bars
                return frame / self._sample_rate
        return self._frames[-1] / self._sample_rate

    def cuts(self) -> tuple[int, ...]:
        """Return the bars at which sections must be divided so that each place is whole sections."""
        found: set[int] = set()
        for direction in self._directions:
            for low, high in self.ranges(direction.place):
                found |= {low, high}
        borders = set(self._starts)
        return tuple(sorted(bar for bar in found if all(abs(bar - border) >= LEAST_PART for border in borders)))

    def ranges(self, place: Place) -> list[tuple[int, int]]:
        """Return the bars of a place, as ranges whose end is excluded; empty when the piece lacks it."""
        if place.role is not None:
            groups = self._groups(place.role)
            if place.number == ALL:
                return groups
            return groups[-1:] if place.number == LAST else groups[place.number - 1 : place.number]
        low = 0 if place.start is None else self._bar(place.start)
        high = self.bars if place.end is None else self._bar(place.end)
        if low is None or high is None or low >= high:
            return []
        return [(low, high)]

    def _groups(self, role: Role) -> list[tuple[int, int]]:
        """Return the bars of each section of a role; parts of one that was divided belong together."""
        present = {section.role for section in self._timed.sections}
        role = next((each for each in (role, *STAND_INS.get(role, ())) if each in present), role)
        found: list[tuple[int, int]] = []
        before = None
        for index, section in enumerate(self._timed.sections):
            if section.role == role:
                bars = (self._starts[index], self._starts[index + 1])
                if before == section.place and found:
                    found[-1] = (found[-1][0], bars[1])
                else:
                    found.append(bars)
            before = section.place
        return found

    def _bar(self, point: Point) -> int | None:
        if point.role is not None:
            groups = self._groups(point.role)
            if not groups or (point.number > 0 and point.number > len(groups)):
                return None
            group = groups[-1] if point.number == LAST else groups[point.number - 1]
            bar = (group[1] if point.after else group[0]) + point.offset_bars
            return min(self.bars, max(0, bar))
        if point.bars is not None:
            return max(0, self.bars + point.bars) if point.bars < 0 else min(self.bars, point.bars)
        if point.share is not None:
            share = point.share
            if share < 0:
                return self._last_section(share)
            return self._at_frame(share * self._frames[-1])
        seconds = point.seconds or 0.0
        total = self._timed.total_frames
        frame = seconds * self._sample_rate if seconds >= 0 else total + seconds * self._sample_rate
        return self._at_frame(frame)

    def _last_section(self, share: float) -> int:
        """Return the first bar of the last section, or of the last part of a piece with one section."""
        if len(self._timed.sections) > 1:
            return self._starts[-2]
        return max(1, round(self.bars * (1 + share)))

    def _at_frame(self, frame: float) -> int:
        """Return the bar that begins nearest to a frame; a border of sections wins within a bar."""
        for index, section in enumerate(self._timed.sections):
            first, last = self._frames[index], self._frames[index + 1]
            if frame < last or index + 1 == len(self._timed.sections):
                exact = self._starts[index] + (frame - first) / max(1, last - first) * section.bars
                return self._snapped(min(self.bars, max(0.0, exact)))
        return self.bars

    def _snapped(self, exact: float) -> int:
        near = min(self._starts, key=lambda start: abs(start - exact))
        return near if abs(near - exact) < NEAR else round(exact)

    def inside(self, index: int, place: Place) -> bool:
        """Return whether a section is in a place."""
        middle = (self._starts[index] + self._starts[index + 1]) / 2
        return any(low <= middle < high for low, high in self.ranges(place))

    def exists(self, place: Place) -> bool:
        """Return whether the piece has a place."""
        return bool(self.ranges(place))

    def here(self, index: int) -> list[Direction]:
        """Return the directions that hold in a section. What happens at a moment changes the energy once."""
        found = []
        for direction in self._directions:
            is_inside = self.inside(index, direction.place)
            is_once = direction.place.is_moment and (
                direction.stops or (direction.energy and not direction.place.lasts)
            )
            again = index and is_once and self.inside(index - 1, direction.place)
            if is_inside and not again:
                found.append(direction)
        return found

    def elsewhere(self, index: int) -> list[Direction]:
        """Return the directions that hold in other sections only."""
        return [each for each in self._directions if self.exists(each.place) and not self.inside(index, each.place)]

    def stops_before(self, index: int) -> bool:
        """Return whether the band stops for a moment before a section."""
        return any(each.stops for each in self.here(index))

    @property
    def missing(self) -> list[Direction]:
        """The directions whose place the piece lacks."""
        return [each for each in self._directions if not self.exists(each.place)]

    @property
    def found(self) -> list[Direction]:
        """The directions whose place the piece has."""
        return [each for each in self._directions if self.exists(each.place)]
