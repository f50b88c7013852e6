"""The registry of backends: a backend's package is imported when the settings choose it."""

from __future__ import annotations

import importlib
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from segue_renderer.hosting.hosted_backend import HostedBackend
from segue_renderer.hosting.load_records import LoadRecords
from segue_renderer.hosting.model_host import ModelHost
from segue_renderer.hosting.step_watch import StepWatch
from segue_runtime import errors, logs
from segue_runtime.settings import replace, rows

if TYPE_CHECKING:
    from segue_music.elements import Note
    from segue_music.plan import SectionSpec
    from segue_renderer.backend import Backend
    from segue_renderer.hosting.hosted_backend import MakeBackend
    from segue_renderer.hosting.model_host import ObserveLoad
    from segue_runtime.settings import Settings

BACKENDS: Final = {
    "sketch": "segue_renderer.sketch.backend:make_backend",
    "musicgen": "segue_renderer.musicgen.factory:make_backend",
    "diffusion": "segue_renderer.diffusion.factory:make_backend",
    "audiocraft": "segue_renderer.audiocraft.factory:make_backend",
}
"""By name: the module and its factory `(Settings) -> Backend`, which loads nothing heavy before `Backend.load`."""
PLACE: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""A backend of somebody else, as the operator's settings name it: `module:factory`."""
RECORDS: Final = "renderer-models.json"
BAND_MELODY: Final = "segue_renderer.sketch.lead:lead_notes"
log = logs.get("renderer")


def host_of(settings: Settings, observe_load: ObserveLoad = lambda _model, _seconds: None) -> ModelHost:
    """Return the host of all models that the settings name; nothing is loaded yet."""
    return ModelHost(
        [HostedBackend(make, watch=StepWatch(settings.renderer.step_limit_s)) for make in makers_of(settings)],
        memory_bytes=settings.renderer.memory_bytes,
        records=LoadRecords(settings.home / RECORDS),
        observe_load=observe_load,
    )


def makers_of(settings: Settings) -> list[MakeBackend]:
    """Return a maker for each backend that the settings name; a backend with several models has one for each."""
    names = words_of(settings.renderer.backend)
    unknown = next((name for name in names if name not in BACKENDS and not PLACE.fullmatch(name)), None)
    if unknown is not None or not names:
        raise errors.ModelNotFound(
            f"renderer.backend: {unknown or ''!r} is not known; the backends are {', '.join(BACKENDS)}, or your own as "
            "module:factory"
        )
    _check_sections(settings, names)
    return [
        partial(make_backend, one)
        for name in dict.fromkeys(names)
        for one in _one_model_each(replace(settings, renderer__backend=name))
    ]


def make_backend(settings: Settings) -> Backend:
    """Make the one backend, with the one model, that the settings name."""
    name = settings.renderer.backend
    place = BACKENDS.get(name, name)
    try:
        factory = _imported(place)
    except ModuleNotFoundError as error:
        hint = (
            "install it, or put its folder on PYTHONPATH"
            if place == name
            else f"install the extra segue[{name}] (in a checkout: make setup-{name})"
        )
        raise errors.ModelNotInstalled(f"renderer.backend: {name} needs the package {error.name}; {hint}") from error
    except AttributeError as error:
        raise errors.ModelNotFound(f"renderer.backend: {name}: the module has no such factory") from error
    backend: Backend = factory(settings)
    return backend


def words_of(written: str) -> list[str]:
    """Return the names in a text such as `sketch,musicgen`."""
    return [word.strip() for word in written.split(",") if word.strip()]


def band_melody(spec: SectionSpec, seed: int) -> tuple[Note, ...]:
    """Return the melody that the sketch band plays in a section, for models that follow notes."""
    # The band's tables take a moment to load, and few sections ask for its melody.
    notes: tuple[Note, ...] = _imported(BAND_MELODY)(spec, seed)
    return notes


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _one_model_each(settings: Settings) -> list[Settings]:
    name = settings.renderer.backend
    models = words_of(getattr(getattr(settings.renderer, name, None), "model", ""))
    return [replace(settings, **{f"renderer__{name}__model": model}) for model in models] or [settings]


def _check_sections(settings: Settings, chosen: list[str]) -> None:
    """Refuse flags of a backend that is not chosen; a file or the environment may hold settings of several."""
    for row in rows(settings):
        section, _, name = row.key.removeprefix("renderer.").partition(".")
        if not row.key.startswith("renderer.") or not name or section in chosen or row.origin == "default":
            continue
        if row.origin == row.flag:
            raise errors.OptionNotSupported(
                f"{row.flag}: the backend is {', '.join(chosen)}, which does not read {row.key}; add "
                f"--renderer-backend {section}",
                metadata={"option": row.key},
            )
        log.warning("this setting has no effect: another backend is chosen", setting=row.key, backend=", ".join(chosen))
