"""The device: how it is chosen, what its memory holds, and that nobody waits for its driver."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.engine.serving import serving

from segue_renderer import torch_device
from segue_renderer.musicgen import device
from segue_renderer.musicgen.backend import MusicgenBackend
from segue_runtime import errors
from segue_runtime.settings import MusicgenSettings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch_device, "NVIDIA_CONTROL", tmp_path / "nvidiactl")


@pytest.mark.usefixtures("no_cuda")
def test_a_gpu_whose_driver_is_too_old_is_no_silent_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(errors.DeviceRequired, match=r"driver is too old .* set renderer\.musicgen\.device to cpu"):
        MusicgenBackend(MusicgenSettings(model="x"))
    MusicgenBackend(MusicgenSettings(model="x", device="cpu"))


@pytest.mark.usefixtures("no_cuda")
@pytest.mark.parametrize("there", [True, False])
def test_a_gpu_that_torch_does_not_see_is_logged(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if there:
        (tmp_path / "nvidiactl").touch()
    assert torch_device.find_device("auto", "renderer.musicgen.device").type in {"cpu", "mps"}
    assert ("GPU of this machine is not used" in capsys.readouterr().err) == there


@pytest.mark.parametrize("percent", [1, 50, 90])
async def test_slots_take_their_share_of_the_free_memory(
    percent: int, checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoints["mono"].folder
    async with serving(folder, tmp_path, slots=1) as (_, backend):
        weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        slot = backend.profiles[0].memory_bytes - weights
    # Room for ten slots, more or less: the weights are only about their files.
    monkeypatch.setattr(device, "memory", lambda _: (slot * 40, slot * 10))
    async with serving(folder, tmp_path, memory_percent=percent) as (_, backend):
        assert abs(backend.status().slots - max(1, min(8, percent * 10 // 100))) <= 1


@dataclass
class SlowDriver:
    """A driver that takes long to answer; `threads` are those that asked."""

    seconds: float
    threads: list[str]

    def __call__(self, _: object) -> tuple[int, int]:
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds)
        return 1000, 1000 - len(self.threads)


async def test_nobody_waits_for_the_driver(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = SlowDriver(0.05, [])
    async with serving(checkpoints["mono"].folder, tmp_path) as (_, backend):
        monkeypatch.setattr(torch_device, "memory", driver)
        monkeypatch.setattr(torch_device, "MEMORY_INTERVAL_S", 0.0)
        while backend.status().device_memory_used_bytes != 2:
            assert backend.status().device_memory_bytes > 0, "it is known since the load"
            time.sleep(0.001)  # noqa: ASYNC251 - the event loop must not be needed
    assert set(driver.threads) == {"device memory"}


def test_a_gpu_computes_in_fp32_and_attends_without_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    cuda: Any = torch.backends.cuda
    before, plans = torch.backends.cudnn.allow_tf32, cuda.cudnn_sdp_enabled()
    try:
        torch_device.use(torch.device("cpu"))
        assert torch.backends.cudnn.allow_tf32 == before
        torch_device.use(torch.device("cuda", 1))
        assert not torch.backends.cudnn.allow_tf32
        assert not cuda.matmul.allow_tf32
        assert not cuda.cudnn_sdp_enabled()
        assert chosen == [torch.device("cuda", 1)]
    finally:
        torch.backends.cudnn.allow_tf32 = before
        cuda.enable_cudnn_sdp(plans)
