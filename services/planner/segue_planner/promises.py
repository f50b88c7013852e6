"""Finds what a prompt asks for and its plan does not do, so that nothing is dropped silently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_music import timing
from segue_planner.averages import mean
from segue_planner.form.roles import STAND_INS
from segue_planner.names import metre_name, role_name
from segue_planner.parts.ensemble import GROUPS
from segue_planner.prompt.word_list.instruments import instruments, whole_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue_music.plan import Role, SectionSpec
    from segue_planner.form.stage import Stage
    from segue_planner.prompt.prompt_facts import Direction, PromptFacts, Stated

MIDDLE: Final = 0.5
"""The energy between quiet and loud."""
NEAR_BARS: Final = 1.0
"""How far from the stated time something may happen: sections begin with bars."""


def undone(prompt: PromptFacts, specs: Sequence[SectionSpec], stage: Stage) -> Iterator[str]:
    """Yield what a plan does not do, with the words that ask for it."""
    playing = [_players(spec) for spec in specs]
    for name, words in prompt.instruments.items():
        is_group = name in GROUPS and prompt.group
        if (
            not is_group
            and instruments()[name] not in prompt.without_layers
            and not any(_plays(name, spec) for spec in specs)
        ):
            yield f"{words!r}: no section has it"
    for edge, spec, verb in ((prompt.first_role, specs[0], "begins"), (prompt.last_role, specs[-1], "ends")):
        if edge is not None and not _is_role(edge, spec.role):
            yield f"{edge.words!r}: the piece {verb} with the {role_name(spec.role)}"
    for role, count in prompt.counts.items():
        found = len({section.place for section in stage.sections if section.role == role})
        if found != count.value and prompt.form is None:
            yield f"{count.words!r}: the piece has {found}"
    yield from _undone_changes(prompt, specs)
    for direction in stage.found:
        inside = [index for index in range(len(specs)) if stage.inside(index, direction.place)]
        yield from _undone_direction(direction, specs, playing, inside)
        yield from _displaced(direction, specs, stage)


def _players(spec: SectionSpec) -> set[str]:
    return {name for layer in spec.layers for name in layer.instruments}


def _plays(name: str, spec: SectionSpec) -> bool:
    """Return whether an instrument plays, or its layer, where the name stands for a layer or a group."""
    kind = instruments()[name]
    plays = any(set(name.split()) <= set(player.split()) for player in _players(spec))
    return plays or (name in whole_layers() and any(layer.kind == kind for layer in spec.layers))


def _is_role(stated: Stated[Role], role: Role) -> bool:
    return role == stated.value or role in STAND_INS.get(stated.value, ())


def _undone_changes(prompt: PromptFacts, specs: Sequence[SectionSpec]) -> Iterator[str]:
    changes = prompt.changes
    if changes is None:
        return
    if changes.last_key and specs[-1].key != changes.last_key:
        yield f"{changes.key_words!r}: the piece does not end in this key"
    if changes.tempo and len({point.quarters_per_minute for spec in specs for point in spec.tempo_points}) < 2:
        yield f"{changes.tempo.words!r}: the piece is too short for a change of the tempo"
    for change in changes.metres:
        if all(spec.metre != change.metre for spec in specs):
            yield f"{change.words!r}: no section is in {metre_name(change.metre)}"


def _undone_direction(
    direction: Direction, specs: Sequence[SectionSpec], playing: Sequence[set[str]], inside: Sequence[int]
) -> Iterator[str]:
    """Yield what a direction says of players and energy and its sections do not do."""
    stated, words = direction.players, direction.words.strip()
    if stated.only and not stated.group:
        own = {name for name in stated.instruments if name not in whole_layers()}
        others = [index for index in inside if own - playing[index] or len(playing[index]) > len(stated.instruments)]
        if others:
            yield f"{words!r}: in the {specs[others[0]].label}, others play"
    for name in stated.instruments:
        if not any(_plays(name, specs[index]) for index in inside):
            yield f"{words!r}: {name} does not play there"
        outside = range(inside[0]) if direction.enters else [i for i in range(len(specs)) if i not in inside]
        if (direction.enters or direction.only_there) and any(_plays(name, specs[index]) for index in outside):
            yield f"{words!r}: {name} plays in other sections too"
    denied = [
        spec for spec in (specs[index] for index in inside)
        if any(layer.kind in stated.without_layers for layer in spec.layers)
        or _players(spec) & set(stated.without_instruments)
    ]  # fmt: skip
    if denied:
        yield f"{words!r}: they play in the {denied[0].label}"
    level = mean([mean(specs[index].energy) for index in inside])
    if direction.energy and (level < MIDDLE) != (direction.energy == "quiet"):
        yield f"{words!r}: it is not {direction.energy} there"


def _displaced(direction: Direction, specs: Sequence[SectionSpec], stage: Stage) -> Iterator[str]:
    """Yield a time that is more than a bar away from where its bar begins."""
    point = direction.place.start or direction.place.end
    if point is None or point.seconds is None:
        return
    ranges = stage.ranges(direction.place)
    bar = ranges[0][0] if direction.place.start else ranges[0][1]
    spec = specs[0]
    if spec.metre is None:
        return
    seconds = (
        timing.ticks_per_bar(spec.metre) / timing.TICKS_PER_QUARTER * 60 / spec.tempo_points[0].quarters_per_minute
    )
    found = stage.seconds(bar)
    wanted = point.seconds if point.seconds >= 0 else stage.total_seconds + point.seconds
    if abs(found - wanted) > NEAR_BARS * seconds:
        yield f"{direction.words.strip()!r}: it happens at {found:.1f} s"
