"""A piece with a section of every kind of model: each renderer is a process, audiocraft's in its own environment."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from tests.diffusion import tiny_models
from tests.engine import checkpoints as writer
from tests.engine import on_device
from tests.mesh.harness import Heard, Segued, hear, spec
from tests.mesh.test_mesh_edits import child_of, names, pieces, read, redo, reused

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client, Update

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AUDIOCRAFT = Path(__file__).parents[2] / ".venv-audiocraft/bin/python"
LICENCES = {"sketch": "", "tiny-musicgen": "CC-BY-NC-4.0", "tiny-ace-step": "mit", "tiny-audiocraft": "cc-by-nc-4.0"}
MODELS = list(LICENCES)
LIMIT_S = 500
MAX_BYTES = 12e9
DRAFT = stream_pb2.AUDIO_SELECTION_DRAFT


class AudiocraftProcess(Segued):
    """A renderer in the environment of audiocraft."""

    def command(self) -> list[str]:
        return [str(AUDIOCRAFT), *super().command()[1:]]


def write_models(root: Path) -> dict[str, Path]:
    """Write a tiny model of each kind that has weights."""
    folders = {model: root / model for model in MODELS if model != "sketch"}
    model = writer.write(folders["tiny-musicgen"], "mono")
    writer.to_audiocraft(folders["tiny-musicgen"], folders["tiny-audiocraft"], model, "mono")
    (folders["tiny-audiocraft"] / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    tiny_models.write_ace_step(folders["tiny-ace-step"])
    return folders


class MemoryPeak:
    """The most memory that this process, others and their children had together."""

    def __init__(self) -> None:
        self.bytes = 0

    async def watch(self, processes: list[Segued]) -> None:
        """Look until the task is cancelled. Shared pages count in each process, so the true sum is smaller."""
        while True:
            total = 0
            for each in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    assert each.process is not None
                    parent = psutil.Process(each.process.pid)
                    total += sum(one.memory_info().rss for one in (parent, *parent.children(recursive=True)))
            self.bytes = max(self.bytes, total + psutil.Process().memory_info().rss)
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def mixed_mesh(root: Path, folders: dict[str, Path]) -> AsyncIterator[tuple[Client, MemoryPeak]]:
    """Run the sketch band at a known address, and three renderers that join by themselves."""
    band = Segued(root / "band", "--renderer", "sketch", role="renderer")
    server = Segued(root / "server", "--renderer-addresses", band.address)
    join = ("--renderer-join", server.address)
    backends = {"musicgen": "tiny-musicgen", "diffusion": "tiny-ace-step", "audiocraft": "tiny-audiocraft"}
    loaded = []
    for backend, model in backends.items():
        flags: tuple[str, ...] = ("--renderer", backend, "--model", str(folders[model]), *join)
        flags += tuple(on_device.flags()) if backend == "musicgen" else ()
        kind = AudiocraftProcess if backend == "audiocraft" else Segued
        loaded.append(kind(root / backend, *flags, role="renderer"))
    all_processes = [band, server, *loaded]
    peak = MemoryPeak()
    async with contextlib.AsyncExitStack() as stack:
        for each in all_processes:
            stack.callback(each.stop)
        await asyncio.gather(*(asyncio.to_thread(each.start) for each in all_processes))
        watching = asyncio.create_task(peak.watch(all_processes))
        stack.callback(watching.cancel)
        client = await stack.enter_async_context(Client(server.address, patience_s=60))
        await _until_warm(client)
        yield client, peak
        watching.cancel()
        assert [each.terminate() for each in reversed(all_processes)] == [0] * len(all_processes)


async def _until_warm(client: Client) -> None:
    """Wait until every renderer offers its model, which it does each second."""
    wanted = {(model, renderer_pb2.MODEL_STATE_WARM) for model in MODELS}
    while not wanted <= {(each.model, each.state) for each in await client.model_statuses()}:  # noqa: ASYNC110 - it can only be asked
        await asyncio.sleep(0.1)


@pytest.fixture
def has_audiocraft(request: pytest.FixtureRequest) -> None:
    """Skip or fail where the environment of audiocraft is missing, as for a reference program."""
    if not AUDIOCRAFT.exists():
        text = "needs the environment of make setup-audiocraft"
        if request.config.getoption("--require-reference"):
            pytest.fail(text)
        pytest.skip(text)


@pytest.mark.timeout(LIMIT_S + 60)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.usefixtures("has_audiocraft")
async def test_a_piece_has_a_section_of_each_kind_and_one_is_made_again_between_two_others(tmp_path: Path) -> None:
    folders = await asyncio.to_thread(write_models, tmp_path / "models")
    async with mixed_mesh(tmp_path, folders) as (client, peak), asyncio.timeout(LIMIT_S):
        assert {each.model: each.weights_license for each in await client.models()} == LICENCES
        asked = spec("calm piano, 120 bpm, C major, intro verse chorus outro", seconds=12, model="sketch")
        plan = (await client.plan(asked)).plan
        assert len(plan.sections) == len(MODELS)
        plan.digest = ""
        for item, model in zip(plan.sections, MODELS, strict=True):
            item.ClearField("join")
            item.spec.ClearField("continuity")
            item.spec.model = model
        parent = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan), audio=DRAFT))
        assert parent.composition.state == composition_pb2.STATE_SUCCEEDED, parent.composition.error
        assert [each.model for each in parent.composition.sections] == MODELS
        manifest = json.loads(await read(client, parent, "manifest.json"))
        assert {each["name"]: each["weights_license"] for each in manifest["models"]} == LICENCES
        for name, sound in pieces(parent, parent.draft).items():
            assert np.abs(sound).max() > 0.01, name
        await redo_between(client, parent, MODELS.index("tiny-ace-step"))
        assert 0 < peak.bytes < MAX_BYTES


async def redo_between(client: Client, parent: Heard, index: int) -> None:
    """Make a section again, which hears both neighbours; nothing else changes."""
    order = names(parent)
    child = await hear(client.compose(child_of(parent, redo(order[index], seed=5)), audio=DRAFT))
    assert child.composition.state == composition_pb2.STATE_SUCCEEDED, child.composition.error
    assert reused(child) == {*order} - {order[index]}
    manifest = json.loads(await read(client, child, "manifest.json"))
    assert {each["name"]: each["weights_license"] for each in manifest["models"]} == LICENCES
    made = [
        each.event.section_finished for heard in (parent, child) for each in heard.updates if _is_of(each, order[index])
    ]
    redone = made[-1].rendered
    assert (redone.conditioning_applied, redone.following_applied) == (True, True)
    before, after = pieces(parent, parent.draft), pieces(child, child.draft)
    assert not np.array_equal(before[order[index]], after[order[index]])
    # Both takes ring on into the next section.
    rate = parent.composition.plan.sample_rate
    rest = round(max(each.rendered.tail_frames for each in made) * rate / tiny_models.RATE)
    assert rest < len(before[order[index + 1]]) / 2
    for place, name in enumerate(order):
        if place != index:
            first = rest if place == index + 1 else 0
            assert np.array_equal(before[name][first:], after[name][first:]), name


def _is_of(update: Update, section_id: str) -> bool:
    return update.kind == "section_finished" and update.event.section_finished.section_id == section_id
