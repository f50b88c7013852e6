"""Makes the backend from its settings. Torch is imported here, after the settings of its threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime import errors
from segue_runtime.settings import set_library_defaults

if TYPE_CHECKING:
    from segue_renderer.musicgen.backend import MusicgenBackend
    from segue_runtime.settings import Settings


def make_backend(settings: Settings) -> MusicgenBackend:
    """Return the backend; a model that is not a folder is looked up by its name among the pulled models."""
    given = settings.renderer.musicgen
    if not given.model:
        raise errors.ModelNotInstalled(
            "renderer.musicgen.model: give the folder of a MusicGen model, or the name of a pulled one"
        )
    pulled = settings.model_folder / given.model
    if not Path(given.model).is_dir() and pulled.is_dir():
        given = replace(given, model=str(pulled))
    prepare_threads()
    from segue_renderer.musicgen.backend import MusicgenBackend

    return MusicgenBackend(given, memory_bytes=settings.renderer.memory_bytes)


def prepare_threads() -> None:
    """Let idle threads spin for a moment and then sleep. It has an effect before torch is imported only.

    A step has hundreds of parallel parts some 100 µs apart. Threads that sleep at once take longer to wake than most
    parts last: steps of 45 ms took 90 ms. Threads that keep spinning, which is the default, starve each other beside a
    busy process: steps of 70 ms took 990 ms. Variables that are set already are left alone.
    """
    set_library_defaults(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="10000")
