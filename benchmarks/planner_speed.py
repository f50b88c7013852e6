"""The time of a plan, its parts, and the memory of the process over ten thousand plans.

python -m benchmarks.planner_speed [--plans 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil

from benchmarks import report
from segue.music.v1 import music_pb2
from segue.planner.v1 import planner_pb2, planner_pb2_grpc
from segue_music import codec
from segue_music.plan import Brief
from segue_planner import planner, service
from segue_planner.form.lengths import LengthFitter
from segue_planner.parts import section_writer
from segue_planner.parts.arrangement import Arranger
from segue_planner.parts.ensemble import EnsembleBuilder
from segue_runtime.rpc import channels
from segue_runtime.rpc.server import Server, Service
from segue_runtime.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc.aio

TABLE = Path(__file__).parents[1] / "tests" / "planner" / "prompts.toml"
LENGTHS_S = (30, 60, 120, 180, 300)
# The functions of each part of the work, in the modules or classes that call them.
PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "reading the prompt": ((planner, "read_prompt"),),
    "form and lengths": ((LengthFitter, "fit"), (section_writer, "choose_transition")),
    "harmony": (
        (section_writer, "fill_chords"),
        (section_writer, "make_motif"),
        (section_writer, "choose_progression"),
    ),
    "ensemble and arrangement": ((EnsembleBuilder, "build"), (Arranger, "arrange")),
    "section prompts and borders": (
        (section_writer, "with_neighbours"),
        (section_writer, "with_prompts"),
        (planner, "place_sections"),
    ),
    "digest": ((codec, "plan_digest"),),
    "messages": ((codec, "plan_to_message"), (codec, "from_message")),
}


def requests() -> list[planner_pb2.CreatePlanRequest]:
    """Return the prompts of the table, each with its own length and seed."""
    chance = random.Random(5)
    found = []
    for row in tomllib.loads(TABLE.read_text(encoding="utf-8"))["rows"]:
        brief = music_pb2.Brief(prompt=row["text"], seed=chance.randrange(1 << 32))
        if "seconds" not in row and "bars" not in row:
            brief.duration.FromSeconds(chance.choice(LENGTHS_S))
        found.append(planner_pb2.CreatePlanRequest(brief=brief))
    return found


class Parts:
    """Measures the processor time of each part; a nested part counts for the outer one."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self._inside = False
        for part, places in PARTS.items():
            for holder, name in places:
                setattr(holder, name, self._timed(part, getattr(holder, name)))

    def _timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return work(*arguments, **named)
            self._inside = True
            begun = time.thread_time()
            try:
                return work(*arguments, **named)
            finally:
                self.spent_s[part] += time.thread_time() - begun
                self._inside = False

        return measured


async def measure(num_plans: int) -> None:
    """Print the tables."""
    report.heading("Time and memory of a plan")
    asked = requests()
    with tempfile.TemporaryDirectory(prefix="segue-") as folder:
        server = Server(Settings(home=Path(folder)).server, [Service(service.SERVICE, _register, service.warm)])
        address = server.listen(f"unix:{folder}/p.sock")
        await server.start()
        channel = channels.connect(address)
        stub = cast("planner_pb2_grpc.PlannerServiceAsyncStub", planner_pb2_grpc.PlannerServiceStub(channel))
        for request in asked[:20]:
            await stub.CreatePlan(request)
        await _print_times(stub, asked)
        await _print_memory(stub, asked, num_plans)
        _print_parts(asked)
        await channel.close()
        await server.stop(0)


def _register(server: grpc.aio.Server) -> None:
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(service.PlannerService(), server)


async def _print_times(
    stub: planner_pb2_grpc.PlannerServiceAsyncStub, asked: list[planner_pb2.CreatePlanRequest]
) -> None:
    called, planned, num_sections = [], [], []
    for request in asked:
        begun = time.process_time()
        answer = await stub.CreatePlan(request)
        called.append(time.process_time() - begun)
        num_sections.append(len(answer.plan.sections))
        brief = codec.from_message(Brief, request.brief)
        begun = time.process_time()
        planner.Planner(brief).plan()
        planned.append(time.process_time() - begun)
    rows = [
        (name, *(f"{report.quantile(times, share) * 1000:.2f} ms" for share in (0.5, 0.9, 1.0)))
        for name, times in (("CreatePlan, server and client and gRPC", called), ("the plan alone", planned))
    ]
    print(f"{len(asked)} prompts of tests/planner/prompts.toml, {report.median(num_sections):g} sections (median):\n")
    report.table(("processor time", "p50", "p90", "slowest"), rows)


def _print_parts(asked: list[planner_pb2.CreatePlanRequest]) -> None:
    """Print the shares of the parts in the work of the service, without gRPC."""
    parts = Parts()
    begun = time.thread_time()
    for request in asked:
        codec.plan_to_message(planner.Planner(codec.from_message(Brief, request.brief)).plan())
    total_s = time.thread_time() - begun
    rows = [(part, f"{parts.spent_s[part] / total_s:.0%}") for part in PARTS]
    rows.append(("energy, facts and their origins, the rest", f"{1 - sum(parts.spent_s.values()) / total_s:.0%}"))
    report.table(("part of a plan", "share"), rows)


async def _print_memory(
    stub: planner_pb2_grpc.PlannerServiceAsyncStub, asked: list[planner_pb2.CreatePlanRequest], num_plans: int
) -> None:
    process, rows = psutil.Process(), []
    for number in range(num_plans + 1):
        if number % max(1, num_plans // 4) == 0:
            gc.collect()
            rows.append((number, f"{process.memory_info().rss / 2**20:.1f} MiB"))
        await stub.CreatePlan(asked[number % len(asked)])
    report.table(("plans made", "memory of the process"), rows)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=10_000)
    asyncio.run(measure(parser.parse_args().plans))


if __name__ == "__main__":
    main()
