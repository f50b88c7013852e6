"""Draws the faults of a run from its seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.chaos.faults.links import Break, Cut, Slow
from tests.chaos.faults.processes import Crash, Hang, Kill, Restart, Skew, Stop
from tests.chaos.faults.stores import FailOver, RedisEmpty, RedisKill, RedisStop, S3Errors, S3Full, S3Slow
from tests.chaos.mesh.mesh import MAX_SKEW_S
from tests.chaos.mesh.shapes import CLUSTER
from tests.fleet.members import role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.chaos.faults.fault import Fault
    from tests.chaos.mesh.shapes import Shape

# Each names a failpoint, and how many passages it may take at most until the process kills itself.
MOMENTS = {
    "conductor.after_plan": 1,
    "conductor.before_section": 2,
    "conductor.after_take": 2,
    "conductor.after_section": 2,
    "conductor.before_segment_row": 20,
    "conductor.after_segment": 20,
    "conductor.after_join": 2,
    "conductor.after_measure": 1,
    "conductor.after_master": 1,
    "conductor.before_finish": 1,
    "store.before_commit": 40,
    "store.after_commit": 40,
    "artifacts.after_sync": 20,
    "artifacts.before_rename": 4,
}
WEIGHTS = {"kill": 26, "crash": 15, "restart": 10, "hang": 6, "stop": 18, "break": 25}
"""How often each kind of fault strikes the embedded shape."""


def strikes(seed: int, shape: Shape) -> Iterator[list[Fault]]:
    """Yield one or two faults at a time, of different processes; the same ones for the same seed."""
    chance = random.Random(f"faults of {seed}")
    kinds = _every_kind(chance) if shape is CLUSTER else None

    def fault() -> Fault:
        return _process_fault(chance, shape) if kinds is None else next(kinds)(chance, shape)

    while True:
        faults = [fault()]
        if chance.random() < 0.3:
            other = fault()
            if role_of(other.target) != role_of(faults[0].target):  # no piece survives any number of faults of one role
                faults.append(other)
        yield faults


def _process_fault(chance: random.Random, shape: Shape) -> Fault:
    match chance.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]:
        case "kill":
            return _kill(chance, shape)
        case "crash":
            return _crash(chance, shape)
        case "restart":
            return _restart(chance, shape)
        case "hang":
            return Hang(
                chance.choice((*shape.gateways, *shape.conductors)), chance.randint(2, 20), chance.randint(6, 9)
            )
        case "stop":
            return _stop(chance, shape)
        case _:
            return _break(chance, shape.links, shape)


def _every_kind(chance: random.Random) -> Iterator[Callable[[random.Random, Shape], Fault]]:
    """Yield each kind of fault of the cluster shape once, in any order; then all again."""
    while True:
        kinds = list(CLUSTER_FAULTS)
        chance.shuffle(kinds)
        yield from kinds


def _kill(chance: random.Random, shape: Shape) -> Fault:
    return Kill(chance.choice(shape.processes), chance.uniform(0, 2))


def _crash(chance: random.Random, shape: Shape) -> Fault:
    moment = chance.choice(sorted(MOMENTS))
    return Crash(chance.choice(shape.conductors), moment, chance.randint(1, MOMENTS[moment]))


def _restart(chance: random.Random, shape: Shape) -> Fault:
    slow = (chance.randint(5, 60), chance.randint(5, 150), chance.randint(5, 400))
    target = chance.choice((*shape.gateways, *shape.conductors))
    return Restart(target, slow if chance.random() < 0.8 else None)


def _stop(chance: random.Random, shape: Shape) -> Fault:
    return Stop(chance.choice(shape.processes), chance.uniform(0.2, 8))


def _stop_conductor(chance: random.Random, shape: Shape) -> Fault:
    return Stop(chance.choice(shape.conductors), chance.uniform(5, 9))  # longer than its lease


def _break(chance: random.Random, links: tuple[str, ...], shape: Shape) -> Fault:
    link = chance.choice(links)
    num_breaks = 1 if link in shape.inner else chance.randint(1, 3)  # each may be a loss of that role
    return Break(link, tuple(round(10 ** chance.uniform(1, 6)) for _ in range(num_breaks)))


def _store_links(shape: Shape) -> tuple[str, ...]:
    return tuple(link for store in shape.stores for link in shape.store_links(store).values())


def _skew(chance: random.Random, shape: Shape) -> Fault:
    return Skew(chance.choice((*shape.gateways, *shape.conductors)), chance.uniform(-MAX_SKEW_S, MAX_SKEW_S))


CLUSTER_FAULTS: tuple[Callable[[random.Random, Shape], Fault], ...] = (
    _kill,
    _kill,
    _crash,
    _crash,
    _restart,
    _stop,
    _stop_conductor,
    _skew,
    lambda chance, shape: _break(chance, shape.links, shape),
    lambda chance, shape: _break(chance, _store_links(shape), shape),
    lambda chance, shape: Cut(chance.choice(_store_links(shape)), chance.uniform(0.5, 8)),
    lambda chance, shape: Slow(
        chance.choice((*shape.links, *_store_links(shape))), chance.randint(10, 150), chance.uniform(1, 6)
    ),
    lambda chance, _: RedisKill(chance.uniform(0, 6)),
    lambda chance, _: RedisStop(chance.uniform(0.5, 9)),
    lambda chance, _: RedisEmpty(chance.uniform(0.5, 3)),
    lambda chance, _: FailOver(chance.uniform(0.3, 3)),
    lambda chance, _: S3Errors(chance.uniform(0.1, 1), chance.uniform(1, 6)),
    lambda chance, _: S3Slow(chance.randint(50, 300), chance.uniform(1, 6)),
    lambda chance, _: S3Full(chance.uniform(0.3, 2)),
)
"""Each kind of fault, some twice."""
