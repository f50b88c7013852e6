"""Makes the backend from its settings. torch and diffusers are imported here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime import errors

if TYPE_CHECKING:
    from segue_renderer.diffusion.backend import DiffusionBackend
    from segue_runtime.settings import Settings


def make_backend(settings: Settings) -> DiffusionBackend:
    """Return the backend; a model that is not a folder is looked up by its name among the pulled models."""
    given = settings.renderer.diffusion
    if not given.model:
        raise errors.ModelNotInstalled(
            "renderer.diffusion.model: give the folder of a model in diffusers' layout, or the name of a pulled one"
        )
    pulled = settings.model_folder / given.model
    if not Path(given.model).is_dir() and pulled.is_dir():
        given = replace(given, model=str(pulled))
    from segue_renderer.diffusion.backend import DiffusionBackend

    return DiffusionBackend(given)
