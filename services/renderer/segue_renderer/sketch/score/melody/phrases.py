"""Phrases made from the motif: stated, answered, in sequence, inverted, augmented, in fragments, varied, closed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from segue_music.plan import MotifUse
from segue_renderer.sketch.score.melody.notes import MelodyNote

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segue_music.elements import Motif

STABLE: Final = (0,)
OPEN: Final = (1, 4, 6)
PERIODS: Final = {
    MotifUse.UNSPECIFIED: (("head", "rest", "higher head", "rest"),),
    MotifUse.STATE: (
        ("state", "open", "state", "close"),
        ("state", "answer", "vary", "close"),
        ("state", "sequence", "fragments", "close"),
    ),
    MotifUse.RETURN: (
        ("state", "open", "vary", "close"),
        ("state", "sequence", "augmented", "close"),
        ("state", "answer", "state", "close"),
    ),
    MotifUse.VARY: (
        ("vary", "open", "sequence", "close"),
        ("vary", "inverted", "vary", "close"),
        ("vary", "answer", "fragments", "close"),
    ),
    MotifUse.DEVELOP: (
        ("sequence", "inverted", "fragments", "close"),
        ("fragments", "augmented", "sequence", "close"),
        ("inverted", "open", "fragments", "augmented close"),
    ),
}
"""Four phrases by the use of the motif: two are a question of four bars, two its answer. Periods take turns."""
SOLO_PERIODS: Final = (("vary", "fragments", "sequence", "close"), ("fragments", "vary", "sequence", "close"))


def phrase(kind: str, motif: Motif, draws: Sequence[float]) -> list[MelodyNote]:
    """Return one phrase; its ticks count from its own start. The draws, 0 to 1, decide its variation."""
    plain = [MelodyNote(note.start_tick, note.ticks, note.degree, note.alteration) for note in motif.notes]
    return _KINDS[kind](plain, motif.ticks, draws)


def _state(tones: list[MelodyNote], _length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    return tones


def _rest(_tones: list[MelodyNote], _length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    return []


def _head(tones: list[MelodyNote], length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    head = _before(tones, length // 2)
    return head[:-1] if len(head) > 3 else head


def _higher_head(tones: list[MelodyNote], length: int, draws: Sequence[float]) -> list[MelodyNote]:
    return _moved(_head(tones, length, draws), 1)


def _open(tones: list[MelodyNote], _length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    return _ending(tones, OPEN)


def _close(tones: list[MelodyNote], _length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    return _ending(tones, STABLE)


def _answer(tones: list[MelodyNote], length: int, draws: Sequence[float]) -> list[MelodyNote]:
    """Answer in the opposite direction, with the second half's rhythm first."""
    half = length // 2
    swapped = [replace(tone, tick=tone.tick - half) for tone in tones if tone.tick >= half]
    swapped += [replace(tone, tick=tone.tick + half) for tone in _before(tones, half)]
    return _ending(_inverted(swapped or tones, length, draws), OPEN)


def _vary(tones: list[MelodyNote], _length: int, draws: Sequence[float]) -> list[MelodyNote]:
    return _varied(tones, draws, 1.0)


def _sequence(tones: list[MelodyNote], length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    """Move the motif a step up, and its second half two."""
    return [replace(tone, degree=tone.degree + 1 + (tone.tick >= length // 2)) for tone in tones]


def _inverted(tones: list[MelodyNote], _length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    return [replace(tone, degree=2 * tones[0].degree - tone.degree, alteration=0) for tone in tones]


def _fragments(tones: list[MelodyNote], length: int, draws: Sequence[float]) -> list[MelodyNote]:
    """Repeat the first half a step away, up or down, with an end of its own."""
    half = length // 2
    head = _before(tones, half)
    way = 1 if draws[-1] < 0.6 else -1
    return head + [replace(tone, tick=tone.tick + half) for tone in _varied(_moved(head, way), draws, 0.8)]


def _augmented(tones: list[MelodyNote], length: int, _draws: Sequence[float]) -> list[MelodyNote]:
    """Play the first half at half the speed."""
    head = _before(tones, length // 2)
    return [
        replace(tone, tick=2 * tone.tick, ticks=min(2 * tone.ticks, length - 2 * tone.tick)) for tone in head
    ]  # fmt: skip


def _augmented_close(tones: list[MelodyNote], length: int, draws: Sequence[float]) -> list[MelodyNote]:
    return _ending(_augmented(tones, length, draws), STABLE)


_KINDS: Final[dict[str, Callable[[list[MelodyNote], int, Sequence[float]], list[MelodyNote]]]] = {
    "state": _state,
    "rest": _rest,
    "head": _head,
    "higher head": _higher_head,
    "open": _open,
    "close": _close,
    "answer": _answer,
    "vary": _vary,
    "sequence": _sequence,
    "inverted": _inverted,
    "fragments": _fragments,
    "augmented": _augmented,
    "augmented close": _augmented_close,
}


def _before(tones: Sequence[MelodyNote], tick: int) -> list[MelodyNote]:
    return [replace(tone, ticks=min(tone.ticks, tick - tone.tick)) for tone in tones if tone.tick < tick]


def _moved(tones: Sequence[MelodyNote], degrees: int) -> list[MelodyNote]:
    return [replace(tone, degree=tone.degree + degrees) for tone in tones]


def _ending(tones: list[MelodyNote], degrees: tuple[int, ...]) -> list[MelodyNote]:
    """Let a phrase end on the nearest of some degrees, by a step."""
    if not tones:
        return []
    found = list(tones)
    last = found[-1]
    goal = min((degree + 7 * octave for degree in degrees for octave in (-1, 0, 1)), key=lambda d: abs(d - last.degree))
    found[-1] = replace(last, degree=goal, alteration=0)
    if len(found) > 2:
        found[-2] = replace(found[-2], degree=goal + (1 if found[-2].degree > goal else -1), alteration=0)
    return found


def _varied(tones: list[MelodyNote], draws: Sequence[float], amount: float) -> list[MelodyNote]:
    """Vary the rhythm: leave notes out, divide long ones with a step, join short ones, bring a note forward."""
    found: list[MelodyNote] = []
    for number, tone in enumerate(tones):
        following = tones[number + 1] if number + 1 < len(tones) else None
        draw = draws[number % len(draws)] / amount
        room = following.tick - tone.tick if following else tone.ticks
        if number and draw < 0.1 and tone.ticks <= 480 and found:
            # The note before sounds on instead.
            found[-1] = replace(found[-1], ticks=tone.tick + tone.ticks - found[-1].tick)
        elif following and draw < 0.45 and tone.ticks >= 480:
            step = 1 if following.degree >= tone.degree else -1
            half = room // 2 // 120 * 120 or room
            found += [
                replace(tone, ticks=min(tone.ticks, half)),
                replace(tone, tick=tone.tick + half, ticks=room - half, degree=tone.degree + step, alteration=0),
            ]
        elif number and following and draw < 0.65 and found[-1].ticks >= 720 and tone.tick % 960 == 0:
            # A note that comes half a beat early.
            found[-1] = replace(found[-1], ticks=tone.tick - 480 - found[-1].tick)
            found.append(replace(tone, tick=tone.tick - 480, ticks=tone.ticks + 480))
        else:
            found.append(tone)
    return [tone for tone in found if tone.ticks > 0]
