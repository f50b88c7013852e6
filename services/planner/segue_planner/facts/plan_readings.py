"""Readings of a caller's plan: where its values come from after it was edited and filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_music.plan import Origin, Plan, Reading
from segue_music.theory import key_name
from segue_planner.facts.decision_log import MAX_ENTRIES
from segue_planner.names import bpm_name, lyrics_name, metre_name
from segue_planner.text import clip

if TYPE_CHECKING:
    from collections.abc import Mapping


def readings_of(plan: Plan, *, genre_is_given: bool) -> tuple[Reading, ...]:
    """Keep the readings that still hold; every other value comes from the caller, or is a default."""
    seconds = plan.frames / plan.sample_rate
    bars = sum(item.spec.bars for item in plan.sections)
    now = {
        "seed": str(plan.seed),
        "genre": plan.genre,
        "metre": metre_name(plan.metre),
        "tempo": bpm_name(plan.quarters_per_minute, plan.metre),
        "duration": f"{seconds:g} s",
        "key": key_name(plan.key),
        "form": clip(" ".join(item.spec.section_id for item in plan.sections), 256),
    }
    if any(item.spec.lyrics for item in plan.sections):
        now["lyrics"] = lyrics_name(item.spec for item in plan.sections)
    kept = [
        each for each in plan.readings if each.field not in {*now, "lyrics"} or _still_holds(each, now, seconds, bars)
    ]
    known = {each.field for each in kept}
    filled = {"seed", "duration"} if genre_is_given else {"seed", "duration", "genre"}
    added = [
        Reading(field, value, Origin.DEFAULT if field in filled else Origin.CALLER)
        for field, value in now.items()
        if field not in known
    ]
    return (*added, *kept)[:MAX_ENTRIES]


def _still_holds(reading: Reading, now: Mapping[str, str], seconds: float, bars: int) -> bool:
    if reading.field == "duration":
        number, _, unit = reading.value.partition(" ")
        try:
            length = float(number)
        except ValueError:
            return False
        return length == bars if unit == "bars" else abs(length - seconds) <= 0.01 + 1e-5 * seconds
    # The reading of a tuned tempo has a remark after the value.
    return reading.value.partition(", tuned")[0] == now.get(reading.field)
