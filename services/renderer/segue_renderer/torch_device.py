"""The torch device of a backend: its choice, its memory, and its failures."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import threading
import time
from pathlib import Path
from typing import Final

import torch

from segue_runtime import errors, failpoints, logs

NVIDIA_CONTROL = Path("/dev/nvidiactl")
MEMORY_INTERVAL_S: Final = 1.0
PROBE = failpoints.declare("renderer.probe", "a device that has failed does not compute any more")
log = logs.get("renderer")


def find_device(name: str, setting: str) -> torch.device:
    """Return the device that a setting names. DeviceRequired names an alternative when the device is missing."""
    kind, _, number = name.partition(":")
    if kind == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        _refuse_unused_gpu(setting)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind == "mps" and not number and torch.backends.mps.is_available():
        return torch.device("mps")
    if kind == "cuda" and torch.cuda.is_available() and (number or "0").isdigit():
        if int(number or 0) < torch.cuda.device_count():
            return torch.device("cuda", int(number or 0))
        raise errors.DeviceRequired(f"{setting}: there are {torch.cuda.device_count()} GPUs, {name} is not one of them")
    raise errors.DeviceRequired(
        f"{setting}: {name!r} is not available; use cpu or auto, or install a torch for this machine's GPU"
    )


def _refuse_unused_gpu(setting: str) -> None:
    """Refuse a GPU that is there and cannot be used: on the CPU instead, everything would be many times slower."""
    # The driver counts its devices, also where the CUDA of torch cannot use it.
    if torch.cuda.device_count() > 0:
        raise errors.DeviceRequired(
            f"{setting}: there is an NVIDIA GPU, and its driver is too old for this torch, which needs CUDA "
            f"{torch.version.cuda}; install a newer driver, or set {setting} to cpu"
        )
    if NVIDIA_CONTROL.exists():
        reason = "it is hidden by CUDA_VISIBLE_DEVICES" if torch.version.cuda else "this torch is built without CUDA"
        log.warning("the NVIDIA GPU of this machine is not used", setting=setting, reason=reason)


class DeviceMemory:
    """The memory of a device as it was a moment ago. A driver may take long to answer, so it is asked in a thread."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._found = (0, 0)
        self._asked = -math.inf
        self._thread: threading.Thread | None = None

    def ask(self) -> None:
        """Ask the driver, and wait for it."""
        self._found = memory(self._device)

    def read(self) -> tuple[int, int]:
        """Return the memory and its free part as known, and ask again in a thread, once a second at most."""
        now = time.monotonic()
        if now - self._asked >= MEMORY_INTERVAL_S and not (self._thread and self._thread.is_alive()):
            self._asked = now
            self._thread = threading.Thread(target=self._ask_quietly, name="device memory", daemon=True)
            self._thread.start()
        return self._found

    def _ask_quietly(self) -> None:
        with contextlib.suppress(RuntimeError):  # a device that has failed
            self.ask()


def memory(device: torch.device) -> tuple[int, int]:
    """Return the device's memory and its free part, in bytes; zeros where they are unknown."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(total), int(free)
    if device.type == "cpu" and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    return 0, 0


def release(device: torch.device) -> None:
    """Give memory that torch keeps for later use back to the device."""
    gc.collect()
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # a device that has failed gives nothing back
            torch.cuda.empty_cache()


def raise_out_of_memory_at(failpoint: str) -> None:
    """Raise torch's error for a lack of memory when a test arms this failpoint."""
    try:
        failpoints.hit(failpoint)
    except failpoints.FailpointError as error:
        raise torch.OutOfMemoryError(str(error)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from other failures; on the CPU torch raises a plain RuntimeError for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def is_device_failure(error: BaseException) -> bool:
    """Tell a failure of the device from one of the program; torch before 2.8 raises a plain RuntimeError for it."""
    kinds = getattr(torch, "AcceleratorError", ())
    return isinstance(error, kinds) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def computes(device: torch.device) -> bool:
    """Whether the device still computes. After some failures CUDA refuses all further work of the process."""
    try:
        failpoints.hit(PROBE)
        return int(torch.ones(8, device=device).sum()) == 8
    except (RuntimeError, failpoints.FailpointError) as error:
        log.exception("the device does not compute any more", device=str(device), exc_info=error)
        return False


def use(device: torch.device) -> None:
    """Make a device the default of this thread, so that nothing sets itself up on another one beside it.

    On CUDA, convolutions and recurrent layers in fp32 would otherwise be computed with the 10 bits of TF32, and
    attention might take cuDNN's kernel, which makes a plan of some 30 ms on the host for each new length.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.enable_cudnn_sdp(enabled=False)
