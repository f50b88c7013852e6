"""Setup of the tests of audiocraft: tiny random models in its layout. They run in the environment .venv-audiocraft."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
KINDS = ("mono", "stereo", "melody", "magnet")
IS_MISSING = importlib.util.find_spec("audiocraft") is None


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Skip in other environments, unless these tests are requested; then fail."""
    asked = str(config.option.markexpr)
    if "not audiocraft" in asked:
        return True
    return True if IS_MISSING and "audiocraft" not in asked else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs audiocraft, some of whose dependencies warn."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.audiocraft)
            for module in ("torch", "torchaudio", "audiocraft", "transformers", "omegaconf"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:::{module}"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write a model of each kind."""
    import torch
    from tests.engine import checkpoints

    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("models")
    found = {}
    for kind in KINDS:
        model = checkpoints.write(root / "plain" / kind, kind)
        checkpoints.to_audiocraft(root / "plain" / kind, root / kind, model, kind, codec_apart=kind == "stereo")
        found[kind] = root / kind
    return found
