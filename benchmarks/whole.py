"""Measures the processor time of whole pieces, by role, against the band's own: one table.

python -m benchmarks.whole [--seconds 60 300] [--rounds 3]

Every role is a process of its own, so its processor time is known. The band's own time is that of the same plan played
in this process, without a service.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tests.mesh.harness import processes

from benchmarks.pipes import client_of, composed
from benchmarks.report import heading, median, table
from benchmarks.sketch_speed import play_all
from segue_music import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.mesh.harness import Segued

    from segue_client import Client

ROLES = ("gateway", "conductor", "planner", "renderer", "mixer", "analyzer")


def cpu_s(one: Segued) -> float:
    """Return the processor time that a process and its ended children have used."""
    assert one.process is not None
    used = psutil.Process(one.process.pid).cpu_times()
    return used.user + used.system + used.children_user + used.children_system


async def measured(client: Client, mesh: Mapping[str, Segued], seconds: float, seed: int) -> dict[str, float]:
    """Make one piece; return the seconds of each role, of the band alone, and until the end."""
    before = {role: cpu_s(mesh[role]) for role in ROLES}
    _, whole_s, name = await composed(client, seconds, seed)
    used = {role: cpu_s(mesh[role]) - before[role] for role in ROLES}
    plan = codec.plan_from_message((await client.get(name)).plan)
    began = time.process_time()
    play_all(plan)
    return used | {"band": time.process_time() - began, "whole": whole_s}


async def run(lengths: list[float], rounds: int) -> None:
    """Print the table."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as folder, processes(Path(folder)) as mesh:
        async with client_of(mesh["gateway"]) as client:
            await measured(client, mesh, 10, 1)  # warm
            for seconds in lengths:
                found: dict[str, list[float]] = defaultdict(list)
                for seed in range(rounds):
                    for key, value in (await measured(client, mesh, seconds, 11 + seed)).items():
                        found[key].append(value)
                medians = {key: median(values) for key, values in found.items()}
                total = sum(medians[role] for role in ROLES)
                rows.append(
                    [
                        f"{seconds:g} s",
                        *(f"{medians[role]:.1f}" for role in ROLES),
                        f"{total:.1f}",
                        f"{medians['band']:.1f}",
                        f"{total / medians['band']:.1f}",
                        f"{seconds / medians['whole']:.1f}",
                    ]
                )
    table(["piece", *(f"{role}, s" for role in ROLES), "all, s", "band alone, s", "ratio", "times real time"], rows)


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[60.0, 300.0])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    heading("Processor time of a whole piece")
    asyncio.run(run(given.seconds, given.rounds))


if __name__ == "__main__":
    main()
