"""The device of the engine's tests, `pytest --device cuda`: in fp32, for the same limits of errors on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from segue_renderer import torch_device
from segue_renderer.musicgen.loaded_model import load_model
from segue_runtime.settings import MusicgenSettings

if TYPE_CHECKING:
    from pathlib import Path

    from segue_renderer.musicgen.loaded_model import LoadedModel


@dataclass
class Choice:
    """What the option names."""

    name: str = "cpu"


CHOSEN = Choice()


def choose(name: str) -> None:
    """Use a device in all tests; DeviceRequired if it is not there."""
    torch_device.use(torch_device.find_device(name, "--device"))
    CHOSEN.name = name


def device() -> torch.device:
    return torch.device(CHOSEN.name)


def load(folder: Path, *, precision: str = "fp32") -> LoadedModel:
    """Load a model on the device."""
    return load_model(folder, precision=precision, device=device())


def settings_of(folder: Path, **given: Any) -> MusicgenSettings:
    """Return the settings of a backend on the device."""
    return MusicgenSettings(**{"model": str(folder), "device": CHOSEN.name, "precision": "fp32", **given})


def flags() -> list[str]:
    """Return the flags of a renderer process on the device."""
    return ["--renderer-musicgen-device", CHOSEN.name, "--renderer-musicgen-precision", "fp32"]
