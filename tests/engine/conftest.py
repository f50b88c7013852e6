"""Setup of the engine's tests: one torch thread, and the tiny checkpoints, written once."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"


MISSING = [name for name in ("torch", "transformers", "sentencepiece") if importlib.util.find_spec(name) is None]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Skip without torch, unless the engine's tests are requested; then fail."""
    asked = str(config.option.markexpr)
    if "not engine" in asked:
        return True
    return True if MISSING and "engine" not in asked else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs torch."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.engine)


@dataclass(frozen=True)
class Checkpoint:
    """One model: transformers' own, and its folders in both layouts."""

    kind: str
    reference: Any
    folder: Path
    audiocraft: Path


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> dict[str, Checkpoint]:
    """Write every kind of checkpoint in both layouts."""
    import torch
    from tests.engine import checkpoints as writer
    from tests.engine import on_device

    torch.set_num_threads(1)
    on_device.choose(pytestconfig.getoption("--device"))
    root = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for kind in writer.KINDS:
        model = writer.write(root / kind, kind)
        writer.to_audiocraft(root / kind, root / f"{kind}-audiocraft", model, kind, codec_apart=kind == "stereo")
        found[kind] = Checkpoint(kind, model, root / kind, root / f"{kind}-audiocraft")
    return found
