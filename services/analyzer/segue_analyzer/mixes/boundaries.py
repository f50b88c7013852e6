"""Boundaries between tracks: where rhythm and harmony before and after have little in common, and silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.mixes.texture import STEPS_PER_SECOND, unlike

if TYPE_CHECKING:
    from collections.abc import Collection

    from segue_analyzer.mixes.texture import Texture, TextureSums
    from segue_audio.arrays import Float64

_WINDOW: Final = 40 * STEPS_PER_SECOND
"""Steps before and after a place that are compared: longer than most sections, shorter than most tracks."""
_LEAST_TRACK: Final = 20 * STEPS_PER_SECOND
_LEAST_DIFFERENCE: Final = 0.44
"""Parts of one piece that are compared as tracks reach 0.29, and 0.39 at most; tracks of different tempos 1.3 and more,
those of one tempo 0.27 to 2 (the tuning seeds of benchmarks/mixes)."""
_ALIKE: Final = 0.25
_LONGEST_EPISODE: Final = 75 * STEPS_PER_SECOND
_GROOVE_WEIGHT: Final = 0.5
_HARMONY_LEAN: Final = 2.0
_TIMBRE_LEAN: Final = 2.0
_FADE: Final = 8 * STEPS_PER_SECOND
"""Steps beside a boundary that may be a crossfade, and belong to neither track."""
_SEARCH: Final = 16 * STEPS_PER_SECOND
_NEAR: Final = 3 * STEPS_PER_SECOND
_FADES: Final = np.arange(4, 17, 2) * STEPS_PER_SECOND
"""Lengths of crossfades that are tried."""
_SHIFT: Final = 3 * STEPS_PER_SECOND
_CUT_WITHIN_S: Final = 4.0
_AROUND_S: Final = 20.0
_CUT: Final = 2.4
_LONGEST_CUT_S: Final = 6.0
"""Where the ramp that fits best is longer, an abrupt change belongs to one of the tracks in a crossfade."""
_CUT_RATIO: Final = 1.25
"""A hard cut changes the bands by this much in nats from one second to the next, and more than the music around it."""
_SILENT_POWER: Final = 1e-6
_HOP_S: Final = 0.01
_BETWEEN_S: Final = 2.0
"""A silence this long parts two tracks; a shorter one only says where the boundary is."""
_SHORT_SILENCE_S: Final = 0.3
_AT_ONCE: Final = 1_024


@dataclass(frozen=True, slots=True)
class Boundary:
    """A boundary in seconds: where one track ends and the next one begins, and the crossfade around both."""

    end_s: float
    first_s: float
    fade_s: float = 0.0


def find_boundaries(sums: TextureSums, hop_powers: Float64) -> list[Boundary]:
    """Find the boundaries of a recording, in order. `hop_powers` has the power of every 10 ms."""
    silences = _silences(hop_powers)
    sure = {
        step: Boundary(first_s, end_s)
        for first_s, end_s in silences
        if end_s - first_s >= _BETWEEN_S
        and _LEAST_TRACK <= (step := round(end_s * STEPS_PER_SECOND)) <= sums.steps - _LEAST_TRACK
    }
    places = [at for at in _peaks(_differences(sums)) if all(abs(at - each) >= _LEAST_TRACK for each in sure)]
    places = _without_episodes(sums, sorted([*places, *sure]), sure.keys())
    places = _confirmed(sums, places, sure.keys())
    edges = [0, *places, sums.steps]
    around = zip(edges[:-2], places, edges[2:], strict=True)
    return [sure.get(at) or _located(sums, silences, before, at, after) for before, at, after in around]


def difference(before: Texture, after: Texture) -> Float64:
    """Return how little two windows have in common; rhythm counts as far as it is steady."""
    rhythm = unlike(before.beats, after.beats) * _steadiness(before.beats, after.beats)
    groove = unlike(before.onsets, after.onsets) * _steadiness(before.onsets, after.onsets)
    total: Float64 = rhythm + _GROOVE_WEIGHT * groove + unlike(before.chroma, after.chroma)
    return total


def _steadiness(one: Float64, other: Float64) -> Float64:
    steadiness: Float64 = np.clip(np.minimum(one.max(axis=1), other.max(axis=1)), 0.0, 1.0)
    return steadiness


def _differences(sums: TextureSums) -> Float64:
    """Return the difference at each step where both sides are long enough for a track."""
    found = np.zeros(sums.steps + 1)
    for start in range(_LEAST_TRACK, sums.steps - _LEAST_TRACK + 1, _AT_ONCE):
        end = min(start + _AT_ONCE, sums.steps - _LEAST_TRACK + 1)
        at = np.arange(start, end, dtype=np.float64)
        found[start:end] = difference(sums.between(at - _WINDOW, at), sums.between(at, at + _WINDOW))
    return found


def _peaks(differences: Float64) -> list[int]:
    """Return the steps with the largest difference of all that are nearer than a track is long."""
    found: list[int] = []
    for step in np.flatnonzero(differences >= _LEAST_DIFFERENCE).tolist():
        first = max(0, step - _LEAST_TRACK)
        if first + int(differences[first : step + _LEAST_TRACK + 1].argmax()) == step:
            found.append(step)
    return found


def _without_episodes(sums: TextureSums, places: list[int], sure: Collection[int]) -> list[int]:
    """Drop both ends of a short part between two that are alike, such as a breakdown or a bridge in another key."""
    kept: list[int] = []
    following = [*places, sums.steps][1:]
    for at, end in zip(places, following, strict=True):
        start = kept[-1] if kept else None
        if start is not None and at - start <= _LONGEST_EPISODE and start not in sure and at not in sure:
            before = max(kept[-2] if len(kept) > 1 else 0, start - 2 * _WINDOW)
            outside = difference(
                sums.between(np.array([before]), np.array([start])),
                sums.between(np.array([at]), np.array([min(end, at + 2 * _WINDOW)])),
            )
            if outside[0] < _ALIKE:
                kept.pop()
                continue
        kept.append(at)
    return kept


def _confirmed(sums: TextureSums, places: list[int], sure: Collection[int]) -> list[int]:
    """Drop the places whose tracks, as wholes, have too much in common, the least different ones first."""
    kept = list(places)
    while kept:
        edges = np.array([0, *kept, sums.steps], dtype=np.float64)
        at, before, after = edges[1:-1], edges[:-2], edges[2:]
        fade = np.minimum(_FADE, np.minimum(at - before, after - at) / 3)
        differences = difference(sums.between(before, at - fade), sums.between(at + fade, after))
        differences[[each in sure for each in kept]] = np.inf
        weakest = int(differences.argmin())
        if differences[weakest] >= _LEAST_DIFFERENCE:
            break
        del kept[weakest]
    return kept


def _located(sums: TextureSums, silences: list[tuple[float, float]], before: int, at: int, after: int) -> Boundary:
    """Return the exact place of a boundary: a silence, a hard cut, or the middle of a crossfade."""
    middle_s, fade_s = _crossfade(sums, before, at, after)
    near = [each for each in silences if each[0] - _CUT_WITHIN_S <= middle_s <= each[1] + _CUT_WITHIN_S]
    if near:
        end_s, first_s = max(near, key=lambda each: each[1] - each[0])
        return Boundary(end_s, first_s)
    cut_s = _hard_cut(sums, middle_s) if fade_s <= _LONGEST_CUT_S else None
    if cut_s is not None:
        return Boundary(cut_s, cut_s)
    room_s = min(middle_s - before / STEPS_PER_SECOND, after / STEPS_PER_SECOND - middle_s)
    return Boundary(middle_s, middle_s, min(fade_s, room_s))


def _crossfade(sums: TextureSums, before: int, at: int, after: int) -> tuple[float, float]:
    """Return the middle and the length in seconds of the change from the track before to the track after."""
    first, end = max(before, at - _WINDOW), min(after, at + _WINDOW)
    fade = min(_FADE, (at - first) / 3, (end - at) / 3)
    old = sums.between(np.array([first]), np.array([at - fade]))
    new = sums.between(np.array([at + fade]), np.array([end]))
    steps = np.arange(max(first, at - _SEARCH), min(end, at + _SEARCH) + 1, dtype=np.float64)
    here = sums.between(steps - _NEAR, steps + _NEAR)
    rhythm, groove, harmony = (
        weight * min(1.0, float(unlike(one, other)[0])) * (unlike(now, one) - unlike(now, other))
        for one, other, now, weight in (
            (old.beats, new.beats, here.beats, float(_steadiness(old.beats, new.beats)[0])),
            (old.onsets, new.onsets, here.onsets, _GROOVE_WEIGHT * float(_steadiness(old.onsets, new.onsets)[0])),
            (old.chroma, new.chroma, here.chroma, _HARMONY_LEAN),
        )
    )
    lean = rhythm + groove + harmony
    # The best place has all that leans to the old track before it, and all that leans to the new one after it.
    sums_of = np.concatenate([[0.0], np.cumsum(lean)])
    rough = float(steps[int((sums_of[-1] - 2 * sums_of)[:-1].argmax())]) - 0.5
    # In its surroundings, more of the harmony and the sound say how gradual the change is, and where its middle is.
    lean += harmony + _TIMBRE_LEAN * _between(here.timbre, old.timbre, new.timbre)
    middle, length = _ramp(steps, lean, rough)
    return middle / STEPS_PER_SECOND, length / STEPS_PER_SECOND


def _between(here: Float64, old: Float64, new: Float64) -> Float64:
    """Return how far each row is on the way from one row to another: -0.5 at the first, 0.5 at the second."""
    way = (new - old)[0]
    place: Float64 = (here - (old + new) / 2) @ way / max(float(way @ way), 1e-9)
    return place


def _ramp(steps: Float64, lean: Float64, rough: float) -> tuple[float, float]:
    """Return the middle, near a rough one, and the length of the ramp that fits best, in steps; its levels are free."""
    middles = rough + np.arange(-_SHIFT, _SHIFT + 1)
    # Windows of both sides of each step smooth the ramp.
    offsets = steps[:, None] + np.arange(-_NEAR, _NEAR + 1)
    best = (-np.inf, float(middles[0]), float(_FADES[0]))
    for length in _FADES.tolist():
        ramps = np.clip((offsets - middles[:, None, None]) / length + 0.5, 0.0, 1.0).mean(axis=2)
        ramps -= ramps.mean(axis=1, keepdims=True)
        fits = (ramps @ lean) / np.sqrt(np.maximum((ramps**2).sum(axis=1), 1e-9))
        place = int(fits.argmax())
        best = max(best, (float(fits[place]), float(middles[place]), float(length)))
    return best[1], best[2]


def _hard_cut(sums: TextureSums, near_s: float) -> float | None:
    """Return where the bands change at once within some seconds; None if nothing does, as in a crossfade."""
    times_s, change = sums.changes(near_s - _AROUND_S, near_s + _AROUND_S)
    close = np.flatnonzero(np.abs(times_s - near_s) <= _CUT_WITHIN_S)
    if len(close) == 0:
        return None
    best = int(close[change[close].argmax()])
    elsewhere = change[np.abs(times_s - times_s[best]) > 1.5]
    usual = float(np.percentile(elsewhere, 97)) if len(elsewhere) else 0.0
    return float(times_s[best]) if change[best] >= max(_CUT, _CUT_RATIO * usual) else None


def _silences(hop_powers: Float64) -> list[tuple[float, float]]:
    """Return the first and the end second of each silence inside the recording."""
    quiet = np.concatenate([[False], hop_powers < _SILENT_POWER, [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(np.int8))).reshape(-1, 2)
    inner = edges[(edges[:, 0] > 0) & (edges[:, 1] < len(hop_powers))]
    return [
        (first * _HOP_S, end * _HOP_S) for first, end in inner.tolist() if (end - first) * _HOP_S >= _SHORT_SILENCE_S
    ]
