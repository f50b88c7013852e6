"""When each composition will be complete: a pure function of the mesh's work at one moment.

The compositions are played forward together: conductors work on the first ones of the queue, which share the slots of
the pool; mixing runs beside rendering; mastering and analysis follow. What has no known speed never ends, and neither
does what waits behind it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue.renderer.v1.renderer_pb2 import ModelProfile
from segue_composition.estimates.piece_work import START_COSTS, PieceWork, PricedModel, work_left

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue_runtime.store.pool.records import ModelKey
    from segue_runtime.store.pool.workload import UnfinishedJob, Workload

WORKERS_PER_SLOT: Final = 4
MAX_WORKERS: Final = 64
SHORTEST_S: Final = 1e-6


def pieces_at_once(num_slots: int) -> int:
    """Return how many pieces conductors work on at once: more than there are slots, so that the line can be fair."""
    return min(MAX_WORKERS, WORKERS_PER_SLOT * max(1, num_slots))


@dataclass(frozen=True, slots=True)
class ReadyTime:
    """The estimate of one composition, in seconds from now; None is unknown."""

    start_s: float | None
    """When a conductor begins with it."""
    ready_s: float | None
    """When it is complete."""


def ready_times(
    workload: Workload, now: float, num_workers: int = 0, newcomer: UnfinishedJob | None = None
) -> dict[str, ReadyTime]:
    """Return the estimate of each unfinished composition, by name. 0 workers means as many as the pool has work for.

    `now` is the wall clock's time; `newcomer` is a composition that would be created then.
    """
    jobs = workload.in_order(newcomer)
    costs = START_COSTS | dict(workload.costs)
    models = {
        model.key.model: PricedModel(model.key, ModelProfile.FromString(workload.profiles.get(model.key, b"")))
        for each in workload.renderers
        for model in each.offer.models
    }
    pieces = [(job.name, work_left(job, costs, models, now)) for job in jobs]
    slots = _slots(workload)
    num_held = sum(job.is_held for job in jobs)
    wanted = num_workers or pieces_at_once(sum(each.offer.slots for each in workload.renderers if each.offer.accepts))
    rates = {key: (slots.get(key, 0), speed) for key, speed in workload.speeds.items()}
    return _play(pieces, max(num_held, wanted), rates)


def _slots(workload: Workload) -> dict[ModelKey, int]:
    slots: defaultdict[ModelKey, int] = defaultdict(int)
    for each in workload.renderers:
        for model in each.offer.models if each.offer.accepts else ():
            slots[model.key] += min(model.slots, each.offer.slots)
    return slots


def _play(
    pieces: Sequence[tuple[str, PieceWork]], num_workers: int, rates: Mapping[ModelKey, tuple[int, float]]
) -> dict[str, ReadyTime]:
    """Play the pieces forward to their ends; `rates` are each model's slots and the speed of one slot."""
    found: dict[str, ReadyTime] = {name: ReadyTime(None, None) for name, _ in pieces}
    waiting = list(reversed(pieces))
    active: dict[str, PieceWork] = {}
    now_s = 0.0
    while waiting or active:
        while waiting and len(active) < num_workers:
            name, work = waiting.pop()
            active[name] = work
            found[name] = ReadyTime(now_s, None)
        shares = _shares(active, rates)
        step_s = min((_step_s(work, shares[name]) for name, work in active.items()), default=math.inf)
        if not math.isfinite(step_s):
            break
        now_s += step_s
        for name, work in list(active.items()):
            if _advance(work, shares[name], step_s):
                found[name] = ReadyTime(found[name].start_s, now_s)
                del active[name]
    return found


def _shares(
    active: Mapping[str, PieceWork], rates: Mapping[ModelKey, tuple[int, float]]
) -> dict[str, dict[ModelKey, float]]:
    """Return the audio a second of each model that each piece gets; few parallel sections need few slots."""
    shares: dict[str, dict[ModelKey, float]] = {name: {} for name in active}
    for key, (num_slots, speed) in rates.items():
        players = [(work.num_parallel, name) for name, work in active.items() if _plays(work, key)]
        free = float(num_slots)
        for index, (num_parallel, name) in enumerate(sorted(players)):
            slots = min(num_parallel, free / (len(players) - index))
            free -= slots
            shares[name][key] = slots * speed
    return shares


def _plays(work: PieceWork, key: ModelKey) -> bool:
    return work.plan_s <= 0 and work.audio_s.get(key, 0.0) > 0


def _step_s(work: PieceWork, shares: Mapping[ModelKey, float]) -> float:
    """Return the time until something of a piece ends."""
    if work.plan_s > 0:
        return work.plan_s
    if not work.is_drafting:
        return work.rest_s
    times = [left_s / rate for key, left_s in work.audio_s.items() if key and (rate := shares.get(key, 0.0)) > 0]
    if work.mix_s > 0:
        times.append(work.mix_s)
    return min(times, default=math.inf)


def _advance(work: PieceWork, shares: Mapping[ModelKey, float], step_s: float) -> bool:
    """Do the work of some time; return whether the piece is complete."""
    if work.plan_s > 0:
        work.plan_s = _less(work.plan_s, step_s)
        return False
    if work.is_drafting:
        work.mix_s = _less(work.mix_s, step_s)
        for key, left_s in work.audio_s.items():
            work.audio_s[key] = _less(left_s, step_s * (shares.get(key, 0.0) if key else 0.0))
        return False
    work.rest_s = _less(work.rest_s, step_s)
    return work.rest_s <= 0


def _less(left_s: float, done_s: float) -> float:
    """Return what is left; rounding leaves nothing."""
    return left_s - done_s if left_s - done_s > SHORTEST_S else 0.0
