"""The step that CUDA graphs capture: static buffers, no wait for the device, the same music as the plain loop.

No GPU is needed: a capture that runs the same work again stands in for the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from tests.engine import on_device
from tests.engine.on_device import load
from tests.engine.playing import play, runner_of
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from segue_renderer.musicgen import device, graphs
from segue_renderer.musicgen.checkpoint.tensors import Tensors
from segue_renderer.musicgen.code_stream import WindowJob
from segue_renderer.musicgen.engine import Engine
from segue_renderer.musicgen.loaded_model import LoadedModel, load_model
from segue_renderer.musicgen.model.decoder import Decoder
from segue_renderer.musicgen.runner import BatchRunner, SamplingParams, capture_steps
from segue_runtime import errors, failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

MODE: Any = TorchDispatchMode
PROMPTS = ["rainy lo-fi, 82 bpm", "funk", "a calm intro"]
SAMPLED = SamplingParams(guidance=3.0, temperature=1.0, top_k=20, top_p=0.9, seed=11)
FRAMES = 150
"""Enough for three lengths: 64, 128 and all."""


def check(operation: str) -> None:
    """Refuse what a graph cannot hold."""
    # Reading a number waits for the device; a tensor from Python's values is copied to it.
    assert operation not in {"aten::item", "aten::_local_scalar_dense", "aten::is_nonzero"}, "the step reads a value"
    assert operation != "aten::lift_fresh", "the step brings a tensor from outside"
    assert operation not in {"aten::nonzero", "aten::masked_select"}, "a shape depends on values"


class Watch(MODE):  # type: ignore[misc]  # its base has no types where torch is not installed
    """Notes which memory is used from outside, and refuses what a graph cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: set[int] = set()
        self._kept: list[torch.Tensor] = []
        self._made: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        check(func.name())
        result = func(*args, **(kwargs or {}))
        given = self._storages((args, kwargs or {}))
        self.outside |= given - self._made
        self._made |= self._storages(result) - given
        # Keep all tensors: another one could reuse freed storage.
        self._kept += [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        return result

    @staticmethod
    def _storages(values: Any) -> set[int]:
        tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
        return {tensor.untyped_storage().data_ptr() for tensor in tensors} - {0}


class FakeGraph:
    """A graph that plays its work again, if the work still uses the memory that it used when it was captured."""

    def __init__(self, work: Callable[[], None], capture: FakeCapture) -> None:
        self._work, self._capture = work, capture
        with Watch() as watch:
            work()
        self._outside = watch.outside

    def replay(self) -> None:
        self._capture.replayed.append(self)
        if self._capture.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if len(self._capture.replayed) % 50 > 3:
            self._work()
            return
        with Watch() as watch:
            self._work()
        assert watch.outside == self._outside, "a buffer is not where it was"


class FakeCapture:
    """Stands in for the device."""

    def __init__(self, fails: Exception | None = None, after: int = 0) -> None:
        self.captured: list[tuple[int, int]] = []
        self.replayed: list[FakeGraph] = []
        self.broken = False
        self._fails, self._after = fails, after

    def capture(self, work: Callable[[], None]) -> graphs.Graph:
        if self._fails is not None and len(self.captured) >= self._after:
            raise self._fails
        self.captured.append(work.args)  # type: ignore[attr-defined]  # a functools.partial
        return FakeGraph(work, self)


@pytest.fixture(scope="module")
def model(checkpoints: dict[str, Checkpoint]) -> LoadedModel:
    return load(checkpoints["mono"].folder)


@pytest.fixture(autouse=True)
def short_lengths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "SHORTEST", 64)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_captured_steps_equal_the_plain_loop(kind: str, checkpoints: dict[str, Checkpoint]) -> None:
    model = load(checkpoints[kind].folder)
    capture = FakeCapture()
    plain = play(model, PROMPTS, FRAMES, sampling=SAMPLED, bucket=4)
    captured = play(model, PROMPTS, FRAMES, sampling=SAMPLED, bucket=4, capture=capture)
    assert len(capture.replayed) == FRAMES + 3
    assert len(set(map(id, capture.replayed))) >= 2, "each length has its graph"
    for one, other in zip(plain, captured, strict=True):
        worst = max(float((a - b).abs().max()) for a, b in zip(one.logits, other.logits, strict=True))
        assert worst <= 1e-5
        assert np.array_equal(one.codes, other.codes)


def test_all_lengths_of_all_batches_are_captured_largest_first(model: LoadedModel) -> None:
    capture = FakeCapture()
    runner = runner_of(model, slots=6, frames=FRAMES)
    assert runner.capture(capture) == len(capture.captured) == 12
    lengths = graphs.lengths_of(runner.caches.positions)
    assert lengths == [64, 128, runner.caches.positions]
    assert capture.captured == [(bucket, length) for bucket in (6, 4, 2, 1) for length in reversed(lengths)]


def test_capturing_leaves_nothing_behind(model: LoadedModel) -> None:
    runner, fresh = (runner_of(model, slots=2, frames=40) for _ in range(2))
    runner.capture(FakeCapture())
    for one, other in zip(runner.caches.codes, fresh.caches.codes, strict=True):
        assert torch.equal(one, other)
    assert np.array_equal(runner.frames(0, 0, 40), fresh.frames(0, 0, 40))


def test_the_step_neither_waits_for_a_gpu_nor_copies_to_it(model: LoadedModel) -> None:
    config = replace(model.config.decoder, hidden_size=64, num_heads=1)
    with FakeTensorMode():
        # Tensors without content on a GPU that is not there: reading a value of one is an error.
        place = torch.device("cuda", 0)
        decoder = Decoder(config, ZeroTensors("zeros", {}), precision="bf16", device=place)
        given = SimpleNamespace(config=replace(model.config, decoder=config), decoder=decoder)
        runner = BatchRunner(cast("LoadedModel", given), slots=4, columns=300, text_positions=16)
        with Devices() as devices:
            for bucket, used in ((1, 5), (2, 100), (4, 290)):
                runner.step(bucket, used)
        assert runner.last_logits.device == place
    assert devices.seen == {place}


class ZeroTensors(Tensors):
    """Weights of any shape."""

    def scoped(self, scope: str) -> Tensors:  # noqa: ARG002 - all scopes are alike
        return self

    def pop(self, name: str, *shape: int) -> torch.Tensor:  # noqa: ARG002 - all names are alike
        return torch.zeros(shape)


class Devices(MODE):  # type: ignore[misc]  # the same
    """Notes on which devices tensors are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.device] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        check(func.name())
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs or {}, result))
        self.seen |= {leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}
        return result


def test_the_watch_finds_waits_and_copies() -> None:
    works: list[Callable[[], object]] = [
        lambda: torch.ones(1).item(),
        lambda: torch.tensor([1.0]),
        lambda: torch.ones(3).nonzero(),
    ]
    for wrong in works:
        with pytest.raises(AssertionError), Watch():
            wrong()


class Cuda:
    """What CudaRecorder asks of torch.cuda, in the order of the asking."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.CUDAGraph = lambda: SimpleNamespace(replay=lambda: None)
        self.Stream = lambda _: SimpleNamespace(name="own", wait_stream=lambda other: self.said.append(other.name))

    def graph_pool_handle(self) -> str:
        self.said.append("a pool")
        return "pool"

    def current_stream(self, _: torch.device) -> Any:
        return SimpleNamespace(name="current", wait_stream=lambda other: self.said.append(f"waits for {other.name}"))

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.said.append(f"on {stream.name}")
        yield

    @contextlib.contextmanager
    def graph(self, _: Any, *, pool: str, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.said += [f"capture in the {pool} on {stream.name}", capture_error_mode]
        yield


def test_the_capture_warms_up_on_its_own_stream_and_uses_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    capture = graphs.CudaStepCapture(torch.device("cuda"))
    for _ in range(2):
        capture.capture(lambda: cuda.said.append("work"))
    once = ["current", "on own", "work", "work", "waits for own", "capture in the pool on own", "thread_local", "work"]
    assert cuda.said == ["a pool", *once, *once]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(RuntimeError("CUDA error: operation not permitted"), errors.DeviceRequired),
     (torch.OutOfMemoryError("CUDA out of memory"), errors.OutOfMemory)],
)  # fmt: skip
def test_a_failed_capture_uses_the_plain_loop_or_names_the_switch(
    failure: Exception, kind: type[errors.SegueError], model: LoadedModel
) -> None:
    (expected,) = play(model, PROMPTS[:1], 20, sampling=SAMPLED)
    runner = runner_of(model, slots=1, frames=FRAMES)
    assert capture_steps(runner, "auto", lambda: FakeCapture(failure, after=1)) == 0
    (plain,) = play(model, PROMPTS[:1], 20, sampling=SAMPLED, runner=runner)
    assert np.array_equal(plain.codes, expected.codes)
    with pytest.raises(kind, match=r"renderer\.musicgen\.cuda_graphs = off"):
        capture_steps(runner, "on", lambda: FakeCapture(failure))
    untouched = FakeCapture(failure)
    assert capture_steps(runner, "off", lambda: untouched) == 0
    assert capture_steps(runner, "on", FakeCapture) == 3


def test_steps_with_a_negative_prompt_are_not_captured_and_equal_the_plain_loop(model: LoadedModel) -> None:
    negatives = ["", "drums", ""]
    plain = play(model, PROMPTS, 40, sampling=SAMPLED, negatives=negatives)
    capture = FakeCapture()
    runner = runner_of(model, slots=3, frames=40)
    played = play(model, PROMPTS, 40, sampling=SAMPLED, negatives=negatives, capture=capture, runner=runner)
    assert [(a.codes == b.codes).all() for a, b in zip(plain, played, strict=True)] == [True] * 3
    assert not capture.replayed
    runner.end(1)
    played = play(model, PROMPTS, 40, sampling=SAMPLED, runner=runner)
    assert capture.replayed, "the slot is free of it"
    expected = play(model, PROMPTS, 40, sampling=SAMPLED)
    assert [(a.codes == b.codes).all() for a, b in zip(expected, played, strict=True)] == [True] * 3


def test_graphs_are_for_cuda_only() -> None:
    with pytest.raises(errors.DeviceRequired, match="needs a CUDA device, not cpu; use auto or off"):
        device.choose("cpu", "auto", "on")


async def test_a_captured_step_that_fails_is_a_lost_device_and_names_the_switch(model: LoadedModel) -> None:
    captures: list[FakeCapture] = []

    def make_runner() -> BatchRunner:
        runner = runner_of(model, slots=2, frames=60)
        captures.append(FakeCapture())
        assert capture_steps(runner, "on", lambda: captures[-1]) == 4
        return runner

    from segue_renderer.musicgen.conditions import conditions_of
    from segue_renderer.musicgen.runner import empty_prompt

    conditions, _ = conditions_of(model, PROMPTS[0], 64)
    job = WindowJob(conditions, empty_prompt(model), 40, SAMPLED)
    (expected,) = play(model, PROMPTS[:1], 40, sampling=SAMPLED, bucket=2)
    engine = Engine(make_runner, 2, on_device.device())
    engine.start()
    try:
        failpoints.arm("musicgen.step=pause*9")
        stream = engine.submit(job)
        while not failpoints.paused("musicgen.step"):  # noqa: ASYNC110 - the other thread has no event of ours
            await asyncio.sleep(0.001)
        captures[0].broken = True
        failpoints.arm("")
        with pytest.raises(errors.DeviceLost, match=r"illegal memory access.*renderer\.musicgen\.cuda_graphs = off"):
            [codes async for codes in stream]
        again = np.concatenate([codes async for codes in engine.submit(job)], axis=1)
    finally:
        failpoints.arm("")
        await engine.close()
    assert len(captures) == 2, "the fresh runner is captured anew"
    assert np.array_equal(again, expected.codes)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_benchmark_for_gpus_runs_dry_on_the_cpu(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "benchmarks.engine", "--size", "tiny", "--modes", "fp32,fp32+graphs")
    sizes = ("--positions", "5,250", "--batches", "1,4", "--repeats", "1", "--threads", "1")
    kept = ("--keep", str(tmp_path / "rows.json"))
    for _ in range(2):
        run = subprocess.run([*command, *sizes, *kept], capture_output=True, text=True, timeout=290, check=False)
        assert run.returncode == 0, run.stderr
        assert "0 of 384 codes differ" in run.stdout
        rows = [line for line in run.stdout.splitlines() if line.startswith("| ") and " % |" in line]
    assert len(rows) == 4
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: CUDA graphs are captured for real")
@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_equal_the_plain_loop_on_a_gpu(kind: str, precision: str, checkpoints: dict[str, Checkpoint]) -> None:
    place = torch.device("cuda")
    model = load_model(checkpoints[kind].folder, precision=precision, device=place)
    plain = play(model, PROMPTS, FRAMES, sampling=SAMPLED, bucket=4)
    captured = play(model, PROMPTS, FRAMES, sampling=SAMPLED, bucket=4, capture=graphs.CudaStepCapture(place))
    for one, other in zip(plain, captured, strict=True):
        if precision == "fp32":
            assert float((one.logits[0] - other.logits[0]).abs().max()) <= 1e-5
            assert np.array_equal(one.codes, other.codes)
        assert float((one.logits[0] - other.logits[0]).norm() / one.logits[0].norm()) <= 1e-2
