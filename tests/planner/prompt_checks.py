"""Checks of the facts that a row of a table of written prompts states, on the plan of its prompt."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.planner.planner_client import mean, specs

from segue_music import timing
from segue_music.plan import Kind, Role
from segue_music.theory import MINOR_MODES, key_name, pitch_class
from segue_planner.names import metre_name, role_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from segue_music.elements import Key
    from segue_music.plan import Plan, SectionSpec

TABLES: Final[dict[str, list[dict[str, Any]]]] = {
    name: tomllib.loads((Path(__file__).parent / f"{name}_prompts.toml").read_text(encoding="utf-8"))["rows"]
    for name in ("written", "tuned", "held_out", "blind")
}
ROWS: Final = [row for rows in TABLES.values() for row in rows]
QUIET: Final = 0.5


@dataclass(frozen=True)
class Heard:
    """A plan with what its facts are about."""

    plan: Plan

    @property
    def sections(self) -> list[SectionSpec]:
        return specs(self.plan)

    def players(self, sections: Iterable[SectionSpec] | None = None) -> set[str]:
        chosen = self.sections if sections is None else sections
        return {name for spec in chosen for layer in spec.layers for name in layer.instruments}

    def kinds(self, sections: Iterable[SectionSpec] | None = None) -> set[str]:
        chosen = self.sections if sections is None else sections
        return {layer.kind.name for spec in chosen for layer in spec.layers}

    def both(self, sections: Iterable[SectionSpec] | None = None) -> set[str]:
        chosen = self.sections if sections is None else list(sections)
        return self.players(chosen) | self.kinds(chosen)

    def of(self, name: str) -> list[SectionSpec]:
        """Return the sections of a role, or one of them: "verse", "chorus-2"."""
        role, _, number = name.partition("-")
        found = [spec for spec in self.sections if spec.role == Role[role.upper()]]
        return found[int(number) - 1 : int(number)] if number else found

    def starts_s(self) -> list[float]:
        return [item.first_frame / self.plan.sample_rate for item in self.plan.sections]

    def reading_words(self, field: str) -> dict[str, str]:
        return {each.words: each.value for each in self.plan.readings if each.field == field}

    def bpm(self, quarters: float) -> float:
        return timing.bpm_from_quarters(quarters, self.plan.metre)

    def course(self) -> set[str]:
        return {each.value.replace(" ", "_") for each in self.plan.readings if each.field == "course"}


def failures(row: dict[str, Any], plan: Plan) -> list[str]:
    """Return the facts of a row that do not hold, as "name: wanted"."""
    heard = Heard(plan)
    return [f"{name}: {wanted}" for name, wanted in row.items() if name != "text" and not CHECKS[name](heard, wanted)]


def _is_in(value: float, wanted: float | list[float]) -> bool:
    low, high = wanted if isinstance(wanted, list) else (wanted - 0.5, wanted + 0.5)
    return low <= value <= high


def _enters(heard: Heard, wanted: dict[str, float]) -> bool:
    bar_s = timing.ticks_per_bar(heard.plan.metre) / 960 * 60 / heard.plan.quarters_per_minute
    for name, second in wanted.items():
        playing = [name in heard.both([spec]) for spec in heard.sections]
        if True not in playing or abs(heard.starts_s()[playing.index(True)] - second) > bar_s:
            return False
    return True


def _leaves(heard: Heard, wanted: dict[str, float]) -> bool:
    bar_s = timing.ticks_per_bar(heard.plan.metre) / 960 * 60 / heard.plan.quarters_per_minute
    starts = [*heard.starts_s()[1:], heard.plan.frames / heard.plan.sample_rate]
    for name, second in wanted.items():
        playing = [name in heard.both([spec]) for spec in heard.sections]
        if True not in playing:
            return False
        last = len(playing) - 1 - playing[::-1].index(True)
        if abs(starts[last] - second) > bar_s:
            return False
    return True


def _where(heard: Heard, wanted: dict[str, dict[str, list[str]]]) -> bool:
    for place, facts in wanted.items():
        sections = heard.of(place)
        if not sections:
            return False
        for name, names in facts.items():
            for spec in sections:
                found = heard.both([spec])
                if name == "cast" and heard.players([spec]) != set(names):
                    return False
                if name == "lacks" and found & set(names):
                    return False
            if name == "plays" and not set(names) <= heard.both(sections):
                return False
    return True


def _quiet_until(heard: Heard, wanted: str) -> bool:
    target = heard.of(wanted)
    if not target:
        return False
    index = heard.sections.index(target[0])
    return all(mean(spec) < QUIET for spec in heard.sections[:index]) and mean(target[0]) > QUIET


def _quieter(heard: Heard, wanted: list[str]) -> bool:
    first, second = (heard.of(each) for each in wanted)
    return bool(first and second) and max(mean(each) for each in first) + 0.3 < max(mean(each) for each in second)


def _steps(first: Key, last: Key) -> int:
    return (pitch_class(last.tonic) - pitch_class(first.tonic)) % 12


def _keys(heard: Heard) -> list[Key]:
    return [spec.key for spec in heard.sections if spec.key]


def _each_role(heard: Heard, wanted: dict[str, Any], holds: Callable[[SectionSpec, Any], bool]) -> bool:
    return all(heard.of(role) and all(holds(spec, value) for spec in heard.of(role)) for role, value in wanted.items())


def _mode_is(spec: SectionSpec, wanted: str) -> bool:
    return spec.key is not None and (spec.key.mode in MINOR_MODES) == (wanted == "minor")


def _tempos(heard: Heard, wanted: list[float]) -> bool:
    points = [point.quarters_per_minute for spec in heard.sections for point in spec.tempo_points]
    return all(
        abs(heard.bpm(found) / each - 1) < 0.04 for found, each in zip((points[0], points[-1]), wanted, strict=True)
    )


def _starts_at(heard: Heard, spec: SectionSpec, bpm: float) -> bool:
    return abs(heard.bpm(spec.tempo_points[0].quarters_per_minute) / bpm - 1) < 0.04


def _loudest(heard: Heard, second: float) -> bool:
    averages = [mean(spec) for spec in heard.sections]
    index = averages.index(max(averages))
    ends = [*heard.starts_s()[1:], heard.plan.frames / heard.plan.sample_rate]
    return heard.starts_s()[index] - 3 <= second <= ends[index]


def _warns(heard: Heard, wanted: list[str]) -> bool:
    return set(wanted) <= {each.code for each in heard.plan.warnings}


def _unread(heard: Heard, wanted: list[str]) -> bool:
    texts = [each.text for each in heard.plan.warnings if each.code == "prompt_not_read"]
    return not texts if not wanted else all(any(words in text for text in texts) for words in wanted)


def _transition_before(heard: Heard, role: str) -> bool:
    places = [i for i, spec in enumerate(heard.sections) if spec.role == Role[role.upper()]]
    return any(index and heard.sections[index - 1].transition.name == "STOP" for index in places)


CHECKS: Final[dict[str, Callable[[Heard, Any], bool]]] = {
    "bpm": lambda h, w: _is_in(h.bpm(h.plan.quarters_per_minute), w),
    "key": lambda h, w: key_name(h.plan.key) == w,
    "mode": lambda h, w: (h.plan.key.mode in MINOR_MODES) == (w == "minor"),
    "metre": lambda h, w: metre_name(h.plan.metre) == w,
    "seconds": lambda h, w: abs(h.plan.frames / h.plan.sample_rate - w) < 0.01,
    "bars": lambda h, w: sum(spec.bars for spec in h.sections) == w,
    "genre": lambda h, w: h.plan.genre in (w if isinstance(w, list) else [w]),
    "kind": lambda h, w: (h.plan.kind == Kind.LOOP) == (w == "loop"),
    "cast": lambda h, w: h.players() == set(w),
    "plays": lambda h, w: set(w) <= h.players(),
    "layers": lambda h, w: set(w) <= h.kinds(),
    "lacks": lambda h, w: not set(w) & h.both(),
    "form": lambda h, w: [role_name(spec.role).replace("-", "_") for spec in h.sections] == w,
    "has": lambda h, w: all(h.of(role) for role in w),
    "lacks_roles": lambda h, w: not any(h.of(role) for role in w),
    "count": lambda h, w: all(len(h.of(role)) == number for role, number in w.items()),
    "bars_of": lambda h, w: all([spec.bars for spec in h.of(role)] == bars for role, bars in w.items()),
    "sections": lambda h, w: len(h.sections) >= w,
    "count_sections": lambda h, w: len(h.sections) == w,
    "first_role": lambda h, w: h.sections[0].role == Role[w.upper()],
    "last_role": lambda h, w: h.sections[-1].role == Role[w.upper()],
    "ends": lambda h, w: w in h.course(),
    "course": lambda h, w: set(w) <= h.course(),
    "enters": _enters,
    "leaves": _leaves,
    "first": lambda h, w: h.players(h.sections[:1]) == set(w),
    "last": lambda h, w: h.players(h.sections[-1:]) == set(w),
    "where": _where,
    "quiet_until": _quiet_until,
    "quieter": _quieter,
    "loudest": _loudest,
    "ends_before": _transition_before,
    "keys": lambda h, w: [key_name(_keys(h)[0]), key_name(_keys(h)[-1])] == w,
    "key_up": lambda h, w: _steps(_keys(h)[0], _keys(h)[-1]) == w,
    "key_up_any": lambda h, w: bool(_steps(_keys(h)[0], _keys(h)[-1])) == w,
    "modes_of": lambda h, w: _each_role(h, w, _mode_is),
    "key_of": lambda h, w: _each_role(h, w, lambda spec, name: spec.key is not None and key_name(spec.key) == name),
    "tempos": _tempos,
    "tempo_of": lambda h, w: _each_role(h, w, lambda spec, bpm: _starts_at(h, spec, bpm)),
    "metres_of": lambda h, w: _each_role(
        h, w, lambda spec, name: spec.metre is not None and metre_name(spec.metre) == name
    ),
    "warns": _warns,
    "unread": _unread,
    "guessed": lambda h, w: (
        (not h.reading_words("spelling")) if not w else w.items() <= h.reading_words("spelling").items()
    ),
}
