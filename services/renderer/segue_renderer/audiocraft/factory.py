"""Makes the backend from its settings, in an environment that contains the package audiocraft."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue_renderer.musicgen.factory import prepare_threads
from segue_runtime import errors, logs

if TYPE_CHECKING:
    from segue_renderer.audiocraft.backend import AudiocraftBackend
    from segue_runtime.settings import Settings

log = logs.get("audiocraft")


def make_backend(settings: Settings) -> AudiocraftBackend:
    """Return the backend; a model that is not a folder is looked up by its name among the pulled models."""
    given = settings.renderer.audiocraft
    if not given.model:
        raise errors.ModelNotInstalled("renderer.audiocraft.model: give the folder of a model in audiocraft's layout")
    if importlib.util.find_spec("audiocraft") is None:
        raise errors.ModelNotInstalled(
            "renderer.backend: audiocraft needs an environment of its own (in a checkout: make setup-audiocraft, then "
            ".venv-audiocraft/bin/segued); there it joins the pool of this mesh with --renderer-join"
        )
    pulled = settings.model_folder / given.model
    if not Path(given.model).is_dir() and pulled.is_dir():
        given = replace(given, model=str(pulled))
    prepare_threads()
    from segue_renderer.audiocraft import stand_ins

    missing = stand_ins.provide_missing_packages()
    log.debug("packages that are not needed are not installed", packages=missing)
    from segue_renderer.audiocraft.backend import AudiocraftBackend

    return AudiocraftBackend(given)
