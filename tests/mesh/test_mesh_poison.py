"""Work that kills its planner, renderer, mixer, analyzer or conductor fails alone: the pieces beside it succeed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh import poisoned_role
from tests.mesh.harness import embedded, free_port, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue_client import Access, Client
from segue_client.channel import connect
from segue_client.errors import from_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

LIMIT_S = 480
ALLOW = spec_pb2.DEGRADATION_POLICY_ALLOW


class RestartedRole:
    """A role's process that is started again whenever it dies."""

    def __init__(self, role: str, folder: Path, *settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._command = (sys.executable, "-m", "tests.mesh.poisoned_role", role, self.address, str(folder), *settings)
        self.num_deaths = 0

    async def run(self) -> None:
        """Start the process again and again, until cancelled."""
        while True:
            process = await asyncio.create_subprocess_exec(*self._command, cwd=Path(__file__).parents[2])
            try:
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            self.num_deaths += 1


@contextlib.asynccontextmanager
async def running(roles: Iterable[RestartedRole]) -> AsyncIterator[None]:
    running = [asyncio.create_task(role.run()) for role in roles]
    try:
        yield
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def prompt(word: str) -> str:
    return f"calm piano, {word}, 120 bpm, C major"


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("num_innocent", [3, pytest.param(19, marks=pytest.mark.slow)])
async def test_work_that_kills_its_role_fails_alone(tmp_path: Path, num_innocent: int) -> None:
    # Each has a seed of its own: the band reads no prompt, so pieces with equal seeds share their takes.
    guilty = {
        "planner": spec(prompt(poisoned_role.PLANNER), seconds=4, seed=101),
        "reader": spec(prompt(poisoned_role.READER), seconds=4, seed=102),
        "renderer": spec(prompt(poisoned_role.RENDERER), seconds=4, seed=103),
        "mixer": spec(prompt(poisoned_role.MIXER), seconds=poisoned_role.DEADLY_MIX_S + 4, seed=104),
        "analyzer": spec(prompt(poisoned_role.ANALYZER), seconds=4, seed=105),
        "allowed": spec(prompt(poisoned_role.ANALYZER), seconds=4, seed=106, degradation_policy=ALLOW),
    }
    roles = {name: RestartedRole(name, tmp_path / name) for name in ("planner", "renderer", "mixer", "analyzer")}
    async with running(roles.values()):
        flags: dict[str, object] = {f"{name}.address": role.address for name, role in roles.items()}
        flags["renderer.addresses"] = flags.pop("renderer.address")
        flags["conductor.count"] = num_innocent + len(guilty)
        async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
            asked = [*guilty.values(), *(spec(seconds=4, seed=seed) for seed in range(num_innocent))]
            created = [await client.create(each) for each in asked]
            heard = await asyncio.gather(*(hear(client.watch(each.name)) for each in created))
    ended = [each.composition for each in heard]
    failed = dict(zip(guilty, ended, strict=False))
    reasons = {name: from_status(each.error) for name, each in failed.items() if name != "allowed"}
    for name in ("planner", "reader", "renderer", "mixer"):
        role = "renderer" if name == "reader" else name
        assert failed[name].state == composition_pb2.STATE_FAILED, name
        assert failed[name].error.code == grpc.StatusCode.ABORTED.value[0], reasons[name]
        assert (reasons[name].reason, reasons[name].metadata["service"]) == ("TOO_MANY_TRIES", role)
        assert f"the {role} was lost 3 times" in reasons[name].message
    for name in ("reader", "renderer"):
        assert reasons[name].metadata["address"] == roles["renderer"].address
        assert reasons[name].metadata["section_id"] in {each.section_id for each in failed[name].sections}
    assert failed["analyzer"].state == composition_pb2.STATE_FAILED
    assert reasons["analyzer"].reason == "DEGRADATION_REFUSED"
    assert "the analyzer was lost 3 times" in reasons["analyzer"].message
    assert failed["allowed"].state == composition_pb2.STATE_DEGRADED
    others = ended[len(guilty) :]
    assert [each.state for each in others] == [composition_pb2.STATE_SUCCEEDED] * num_innocent
    # Three tries of each work that failed; other sections of a piece may have killed the renderer, too.
    assert 1 <= roles["planner"].num_deaths <= 4
    assert 1 <= roles["mixer"].num_deaths <= 4
    assert 1 <= roles["analyzer"].num_deaths <= 7
    num_sections = len(failed["reader"].sections) + len(failed["renderer"].sections)
    assert 3 <= roles["renderer"].num_deaths <= 3 * num_sections + 1


@pytest.mark.timeout(LIMIT_S + 30)
async def test_a_piece_that_kills_its_conductor_fails_alone(tmp_path: Path) -> None:
    """Two servers share a home. Beside the guilty piece, the others make no progress before it kills."""
    settings = ("conductor.count=4", "conductor.lease=1s", "conductor.heartbeat=0.2s")
    servers = [
        RestartedRole("all", tmp_path, *settings, "failpoints.active=conductor.before_section=sleep(1s)")
        for _ in range(2)
    ]
    address = servers[0].address
    async with running(servers), asyncio.timeout(LIMIT_S):
        async with connect(Access(address)) as channel:
            await channel.channel_ready()
        async with Client(address, patience_s=LIMIT_S) as client:
            guilty = await client.create(spec(prompt(poisoned_role.CONDUCTOR), seconds=4))
            innocent = [await client.create(spec(seconds=4, seed=seed)) for seed in range(4)]
            heard, *others = await asyncio.gather(*(hear(client.watch(each.name)) for each in (guilty, *innocent)))
    assert [each.composition.state for each in others] == [composition_pb2.STATE_SUCCEEDED] * len(innocent)
    assert heard.composition.state == composition_pb2.STATE_FAILED
    reason = from_status(heard.composition.error)
    assert (reason.reason, reason.metadata["service"]) == ("TOO_MANY_TRIES", "conductor")
    assert "3 conductors ended while they worked on this job alone" in reason.message
    # The first time it was in company, then three times alone.
    assert sum(server.num_deaths for server in servers) == 4
