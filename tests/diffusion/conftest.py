"""Setup of the tests of diffusion models: one torch thread, and the tiny models, written once."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

MISSING = [name for name in ("torch", "diffusers", "transformers") if importlib.util.find_spec(name) is None]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Skip without the packages, unless the engine's tests are requested; then fail."""
    asked = str(config.option.markexpr)
    if "not engine" in asked:
        return True
    return True if MISSING and "engine" not in asked else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs torch, and the published networks use a function of it that will be replaced."""
    here = __file__.rpartition("/")[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning"))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Write a model of each kind: distilled, and with guidance."""
    import gc
    import warnings

    import torch
    from tests.diffusion import tiny_models

    torch.set_num_threads(1)
    # A backend that closes collects garbage; what the libraries have made is none.
    gc.freeze()
    root = tmp_path_factory.mktemp("models")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        written = {
            "ace-step": tiny_models.write_ace_step(root / "ace-step"),
            "ace-step-base": tiny_models.write_ace_step(root / "ace-step-base", is_turbo=False),
            "stable-audio": tiny_models.write_stable_audio(root / "stable-audio"),
            "stable-audio-base": tiny_models.write_stable_audio(root / "stable-audio-base", is_distilled=False),
        }
    yield written
    gc.unfreeze()
