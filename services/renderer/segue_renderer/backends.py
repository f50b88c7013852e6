"""The backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime import errors

if TYPE_CHECKING:
    from segue_renderer.backend import Backend
    from segue_runtime.settings import RendererSettings

NAMES = ("sketch", "musicgen")


def make_backend(settings: RendererSettings, models: Path | None = None) -> Backend:
    """Make the backend that the settings name; nothing heavy is loaded before its `load`.

    A model that is not a folder is looked for by its name in `models`.
    """
    if settings.backend == "sketch":
        if settings.model not in {"", "sketch"}:
            raise errors.ModelNotFound(f"renderer.model: the sketch band plays only 'sketch', not {settings.model!r}")
        if settings.device not in {"auto", "cpu"}:
            raise errors.DeviceRequired(
                f"renderer.device: the sketch band plays on the CPU, not on {settings.device!r}; use auto or cpu"
            )
        if settings.precision != "auto" or settings.cuda_graphs != "auto" or settings.slots or settings.threads:
            raise errors.OptionNotSupported(
                "renderer.precision, cuda_graphs, slots and threads are for backends with a model; "
                "the sketch band has none",
                metadata={"option": "renderer.precision"},
            )
        from segue_renderer.sketch.backend import SketchBackend

        return SketchBackend()
    if settings.backend == "musicgen":
        if not settings.model:
            raise errors.ModelNotInstalled("renderer.model: give the folder of a MusicGen checkpoint")
        if models is not None and not Path(settings.model).is_dir() and (models / settings.model).is_dir():
            settings = replace(settings, model=str(models / settings.model))
        from segue_renderer.musicgen import threads

        threads.prepare()
        try:
            from segue_renderer.musicgen.backend import MusicgenBackend
        except ModuleNotFoundError as error:
            raise errors.ModelNotInstalled(
                f"renderer.backend: musicgen needs the package {error.name}; install the extra segue[musicgen] "
                "(in a checkout: make setup-musicgen)"
            ) from error
        return MusicgenBackend(settings)
    raise errors.ModelNotFound(f"renderer.backend: {settings.backend!r} is not known; there are: {', '.join(NAMES)}")
