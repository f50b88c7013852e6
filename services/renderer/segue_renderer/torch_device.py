"""The torch device of a backend: its choice, its memory, and its failures."""

from __future__ import annotations

import contextlib
import gc
import os

import torch

from segue_runtime import errors, failpoints, logs

PROBE = failpoints.declare("renderer.probe", "a device that has failed does not compute any more")
log = logs.get("renderer")


def find_device(name: str, setting: str) -> torch.device:
    """Return the device that a setting names. DeviceRequired names an alternative when the device is missing."""
    kind, _, number = name.partition(":")
    if kind == "auto":
        found = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(found)
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

    On CUDA, convolutions and recurrent layers in fp32 would otherwise be computed with the 10 bits of TF32.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
