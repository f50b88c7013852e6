"""The renderer pool of a mesh: sections on several renderers, positions, renderers that are full, gone or lie."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh.harness import PORTS, Heard, embedded, free_port, hear, metrics, spec
from tests.mesh.shapes import shape
from tests.mesh.waiting_renderer import WaitingRenderer, waiting_renderers
from tests.renderer.renderer_server import listening

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Access, Client, SegueError
from segue_conductor.pool.offers import offer_of
from segue_runtime import errors
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

LIMIT_S = 120
SIX = spec("calm piano, 120 bpm, C major, verse chorus verse chorus verse chorus", seconds=24)
SUCCEEDED = composition_pb2.STATE_SUCCEEDED


class Gate:
    """Holds sections until the test lets them go on."""

    def __init__(self) -> None:
        self.num_waiting = 0
        self._tickets = asyncio.Semaphore(0)

    async def wait(self, _start: renderer_pb2.RenderStart) -> None:
        self.num_waiting += 1
        try:
            await self._tickets.acquire()
        finally:
            self.num_waiting -= 1

    def close(self) -> None:
        """Hold the next sections, although earlier ones could have gone on."""
        self._tickets = asyncio.Semaphore(0)

    def let_go(self, count: int) -> None:
        for _ in range(count):
            self._tickets.release()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0.02)


async def until_metric(address: str, name: str, value: float) -> None:
    while (await metrics(address)).get(name) != value:  # noqa: ASYNC110 - nothing else tells
        await asyncio.sleep(0.1)


def positions(heard: Heard) -> dict[str, list[int]]:
    """Return the positions that were reported for each section, while it waited."""
    found: defaultdict[str, list[int]] = defaultdict(list)
    for update in heard.updates:
        if update.kind == "section_progress" and update.event.section_progress.queue_position:
            progress = update.event.section_progress
            found[progress.section_id].append(progress.queue_position)
    return found


def waits(heard: Heard) -> dict[str, float]:
    """Return the wait in seconds that was reported last for each section."""
    progress = [update.event.section_progress for update in heard.updates if update.kind == "section_progress"]
    return {each.section_id: each.queue_wait.ToNanoseconds() / 1e9 for each in progress if each.HasField("queue_wait")}


@pytest.mark.only_shape("embedded", "it reads metrics of conductor and gateway at one address")
async def test_six_sections_on_three_renderers_are_rendered_three_at_a_time(tmp_path: Path) -> None:
    gate, heard, port = Gate(), Heard(), f"127.0.0.1:{free_port()}"
    renderers = [WaitingRenderer(gate.wait, speed=0.5) for _ in range(3)]
    async with (
        waiting_renderers(tmp_path, *renderers) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses, "metrics.listen": port}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        created = await client.create(SIX)
        watching = asyncio.create_task(hear(client.watch(created.name), heard))
        await until(lambda: gate.num_waiting == 3 and len(positions(heard)) == 3)
        assert [len(each.starts) for each in renderers] == [1, 1, 1]
        (planned,) = [update.event.planned for update in heard.updates if update.kind == "planned"]
        sections = [item.spec.section_id for item in planned.plan.sections]
        # Those that the listener needs first come first, and the others know their places.
        assert {start.spec.section_id for each in renderers for start in each.starts} == set(sections[:3])
        assert {section: reported[-1] for section, reported in positions(heard).items()} == dict(
            zip(sections[3:], (1, 2, 3), strict=True)
        )
        waits_s = waits(heard)
        # Three slots at half speed: half of each running section is left, then each waiting one adds its own length.
        length_s = planned.plan.sections[0].spec.frames / planned.plan.sample_rate
        for place, section in enumerate(sections[3:]):
            assert waits_s[section] == pytest.approx((1.5 + place) * length_s / 1.5, rel=0.2)
        await until_metric(port, 'segue_sections_waiting{model="waits"}', 3)
        gate.let_go(6)
        await watching
        await until_metric(port, 'segue_sections_waiting{model="waits"}', 0)
        assert (await metrics(port))['segue_section_wait_seconds_count{model="waits"}'] == 6
    assert heard.composition.state == SUCCEEDED
    assert len(sections) == 6
    assert [each.most_running for each in renderers] == [1, 1, 1]
    assert sum(len(each.starts) for each in renderers) == 6


@contextlib.asynccontextmanager
async def served_owners(tmp_path: Path, owners: tuple[str, ...], **flags: object) -> AsyncIterator[list[Client]]:
    """Serve a mesh for several owners; yields a client of each."""
    lines = [f"{owner} {hashlib.sha256(f'token of {owner}'.encode()).hexdigest()}\n" for owner in owners]
    (tmp_path / "tokens").write_text("".join(lines))
    (tmp_path / "tokens").chmod(0o600)
    home = tmp_path / "home"
    settings = {
        "home": str(home),
        **shape().settings(home),
        "server.drain": "2s",
        "server.tokens_file": str(tmp_path / "tokens"),
    }
    (tmp_path / "home").mkdir()
    async with contextlib.AsyncExitStack() as stack:
        node = Node(load({**settings, **flags}, environ={}, folder=tmp_path), listen=("127.0.0.1:0",))
        await stack.enter_async_context(node)
        access = [Access(node.addresses[0], token=f"token of {owner}") for owner in owners]
        yield [await stack.enter_async_context(Client(each, patience_s=30)) for each in access]


def three(seed: int) -> spec_pb2.CompositionSpec:
    """Return the spec of a piece of three sections."""
    return spec("calm piano, 120 bpm, C major, verse chorus verse", seconds=12, seed=seed)


@pytest.mark.timeout(LIMIT_S + 60)
async def test_twelve_pieces_of_four_owners_on_four_renderers_are_served_in_turn(tmp_path: Path) -> None:
    owners = ("ann", "bob", "cid", "dan")
    gate = Gate()
    order: list[str] = []

    async def noted(start: renderer_pb2.RenderStart) -> None:
        order.append(start.owner)
        await gate.wait(start)

    renderers = [WaitingRenderer(noted) for _ in range(4)]
    async with (
        waiting_renderers(tmp_path, *renderers) as addresses,
        served_owners(tmp_path, owners, **{"renderer.addresses": addresses}) as clients,
        asyncio.timeout(LIMIT_S),
    ):
        # The first owner is there with all of its pieces before the others come.
        created = [(client, await client.create(three(seed))) for client in clients for seed in range(3)]
        gate.let_go(1000)
        pieces = await asyncio.gather(*(hear(client.watch(each.name)) for client, each in created))
    assert [heard.composition.state for heard in pieces] == [SUCCEEDED] * 12
    assert not any(kind == "section_retried" for heard in pieces for kind in heard.kinds)
    # An owner's wait is the mean number of sections that were served before its own.
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number, owner in enumerate(order):
        places[owner].append(number)
    assert set(places) == set(owners)
    waits = [sum(each) / len(each) for each in places.values()]
    assert max(waits) <= 1.5 * sum(waits) / len(waits)
    for heard in pieces:
        for reported in positions(heard).values():
            assert reported == sorted(reported, reverse=True)
    assert all(each.most_running == 1 for each in renderers)


async def test_a_renderer_that_plays_another_model_is_left_out(tmp_path: Path) -> None:
    liar, honest = WaitingRenderer(), WaitingRenderer()
    liar.playing = renderer_pb2.ModelProfile(model="waits", backend="waits", engine_version="2", channels=2)
    async with (
        waiting_renderers(tmp_path, liar, honest) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        heard = await hear(client.compose(three(1)))
    assert heard.composition.state == SUCCEEDED
    assert liar.starts
    retried = [update.event.section_retried for update in heard.updates if update.kind == "section_retried"]
    assert len(retried) == len(liar.starts)
    assert all("the renderer plays 'waits'" in each.error.message for each in retried)
    # It is not tried twice for one section, and the seed stays.
    assert max(Counter(start.spec.section_id for start in liar.starts).values()) == 1
    assert not any(each.HasField("seed") for each in retried)


async def test_a_piece_continues_with_another_version_of_its_model(tmp_path: Path) -> None:
    """Its renderer is replaced in the second section."""
    renderer = WaitingRenderer()

    async def upgraded(_start: renderer_pb2.RenderStart) -> None:
        if len(renderer.starts) == 2:
            renderer.playing.engine_version = "2"
            del renderer.status.models[:]
            renderer.status.models.append(renderer.playing)
            raise errors.ShuttingDown("this renderer is stopping")

    renderer.wait = upgraded
    async with (
        waiting_renderers(tmp_path, renderer) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        heard = await hear(client.compose(three(1)))
    assert heard.composition.state == SUCCEEDED
    versions = [update.event.section_started.take for update in heard.updates if update.kind == "section_started"]
    # The first section is not rendered again.
    assert [start.spec.section_id for start in renderer.starts].count(renderer.starts[0].spec.section_id) == 1
    assert len(set(versions)) == 4


async def test_a_full_renderer_means_waiting(tmp_path: Path) -> None:
    num_refused = 0

    async def refuses(_start: renderer_pb2.RenderStart) -> None:
        nonlocal num_refused
        if num_refused < 4:
            num_refused += 1
            raise errors.QueueFull("this renderer's queue is full", retry_after_s=2)

    async with (
        waiting_renderers(tmp_path, WaitingRenderer(refuses)) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        heard = await hear(client.compose(spec(seconds=4)))
    assert heard.composition.state == SUCCEEDED
    assert num_refused == 4
    assert "section_retried" not in heard.kinds


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as found:
            found.bind(("::1", 0))
        places = socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return {place[4][0] for place in places} == {"127.0.0.1", "::1"}


@pytest.mark.skipif(not has_ipv6(), reason="localhost has one address here")
async def test_every_host_behind_a_name_is_a_renderer_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    one, two = WaitingRenderer(slots=2), WaitingRenderer(slots=3)
    async with (
        listening(one, tmp_path, f"127.0.0.1:{port}"),
        listening(two, tmp_path, f"[::1]:{port}"),
        embedded(tmp_path, {"renderer.addresses": f"dns:///localhost:{port}"}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        stats = await client.stats()
        assert sorted(each.slots for each in stats.renderers) == [2, 3]


async def test_a_name_that_cannot_be_resolved_keeps_no_other_renderer_out(tmp_path: Path) -> None:
    nowhere = f"{'x' * 64}:7302"  # a label has 63 characters at most
    async with (
        waiting_renderers(tmp_path, WaitingRenderer(slots=2)) as addresses,
        embedded(tmp_path, {"renderer.addresses": f"{nowhere},{addresses}"}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        assert [each.slots for each in (await client.stats()).renderers] == [2]


async def test_models_are_remembered_when_their_renderer_is_gone(tmp_path: Path) -> None:
    address = f"127.0.0.1:{next(PORTS)}"
    flags: dict[str, object] = {"renderer.addresses": address}
    async with embedded(tmp_path, flags) as (_, client), asyncio.timeout(LIMIT_S):
        async with listening(WaitingRenderer(), tmp_path, address):
            await until_models(client, renderer_pb2.MODEL_STATE_WARM)
        await until_models(client, renderer_pb2.MODEL_STATE_FAILED)
        with pytest.raises(SegueError) as caught:
            await client.create(spec(seconds=4, model="other"))
        assert (caught.value.reason, caught.value.metadata["models"]) == ("MODEL_NOT_FOUND", "waits")
        # An option that depends on the model is accepted: the model is known.
        created = await client.create(spec(seconds=4, midi=True))
        assert created.model == "waits"
        async with listening(WaitingRenderer(), tmp_path, address):
            heard = await hear(client.watch(created.name))
    assert heard.composition.state == SUCCEEDED


async def until_models(client: Client, state: renderer_pb2.ModelState.ValueType) -> None:
    while True:
        with contextlib.suppress(SegueError):
            if [each.state for each in await client.model_statuses()] == [state]:
                return
        await asyncio.sleep(0.1)


async def test_an_analysis_does_not_wait_for_a_piece(tmp_path: Path) -> None:
    gate = Gate()
    async with (
        waiting_renderers(tmp_path, WaitingRenderer(gate.wait)) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses, "conductor.count": "1"}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        first = await client.create(spec(seconds=4))
        await until(lambda: gate.num_waiting == 1)
        gate.let_go(10)
        heard = await hear(client.watch(first.name))
        gate.close()
        held = await client.create(spec(seconds=4, seed=9))
        await until(lambda: gate.num_waiting == 1)
        await client.analyze(heard.composition.outputs[0].name)
        assert (await client.get(held.name)).state == composition_pb2.STATE_RENDERING


def status(**changes: Any) -> renderer_pb2.GetStatusResponse:
    fields: dict[str, Any] = {"slots": 1, "models": [renderer_pb2.ModelProfile(model="waits", channels=2)]}
    return renderer_pb2.GetStatusResponse(**(fields | changes))


MANY = [renderer_pb2.ModelProfile(model=f"m{number}") for number in range(33)]
NOT_A_NUMBER = renderer_pb2.ModelProfile(model="waits", real_time_factor=float("nan"))
TOO_SLOW = renderer_pb2.ModelStatus(model="waits")
TOO_SLOW.load_time.FromSeconds(10**6)


@pytest.mark.parametrize(
    "hostile",
    [
        status(slots=10**6),
        status(models=MANY),
        status(models=[NOT_A_NUMBER]),
        status(models=[renderer_pb2.ModelProfile(model="")]),
        status(models=[renderer_pb2.ModelProfile(model="twice")] * 2),
        status(model_statuses=[renderer_pb2.ModelStatus(model="another")]),
        status(model_statuses=[renderer_pb2.ModelStatus(model="waits", slots=10**6)]),
        status(model_statuses=[TOO_SLOW]),
        status(device="x" * (1 << 18)),
    ],
)
def test_a_status_that_breaks_its_bounds_is_refused(hostile: renderer_pb2.GetStatusResponse) -> None:
    assert offer_of("r1:1", status()).slots == 1
    with pytest.raises(errors.InvalidField):
        offer_of("r1:1", hostile)


async def test_a_hostile_status_keeps_its_renderer_out_and_no_other(tmp_path: Path) -> None:
    hostile, honest = WaitingRenderer(), WaitingRenderer()
    hostile.status = status(slots=10**6)
    async with (
        waiting_renderers(tmp_path, hostile, honest) as addresses,
        embedded(tmp_path, {"renderer.addresses": addresses}) as (_, client),
        asyncio.timeout(LIMIT_S),
    ):
        assert [each.slots for each in (await client.stats()).renderers] == [1]
        heard = await hear(client.compose(spec(seconds=4)))
    assert heard.composition.state == SUCCEEDED
    assert hostile.starts == []
