"""The registry of backends: a backend's package is imported when the settings choose it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import errors, logs
from segue_runtime.settings import rows

if TYPE_CHECKING:
    from segue_music.elements import Note
    from segue_music.plan import SectionSpec
    from segue_renderer.backend import Backend
    from segue_runtime.settings import Settings

BACKENDS: Final = {
    "sketch": "segue_renderer.sketch.backend:make_backend",
    "musicgen": "segue_renderer.musicgen.factory:make_backend",
}
"""By name: the module and its factory `(Settings) -> Backend`, which loads nothing heavy before `Backend.load`."""
BAND_MELODY: Final = "segue_renderer.sketch.lead:lead_notes"
log = logs.get("renderer")


def make_backend(settings: Settings) -> Backend:
    """Make the backend that the settings name."""
    name = settings.renderer.backend
    if name not in BACKENDS:
        raise errors.ModelNotFound(f"renderer.backend: {name!r} is not known; the backends are {', '.join(BACKENDS)}")
    _check_sections(settings)
    try:
        factory = _imported(BACKENDS[name])
    except ModuleNotFoundError as error:
        raise errors.ModelNotInstalled(
            f"renderer.backend: {name} needs the package {error.name}; install the extra segue[{name}] "
            f"(in a checkout: make setup-{name})"
        ) from error
    backend: Backend = factory(settings)
    return backend


def band_melody(spec: SectionSpec, seed: int) -> tuple[Note, ...]:
    """Return the melody that the sketch band plays in a section, for models that follow notes."""
    # The band's tables take a moment to load, and few sections ask for its melody.
    notes: tuple[Note, ...] = _imported(BAND_MELODY)(spec, seed)
    return notes


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _check_sections(settings: Settings) -> None:
    """Refuse flags of a backend that is not chosen; a file or the environment may hold settings of several."""
    chosen = settings.renderer.backend
    for row in rows(settings):
        section, _, name = row.key.removeprefix("renderer.").partition(".")
        if not row.key.startswith("renderer.") or not name or section == chosen or row.origin == "default":
            continue
        if row.origin == row.flag:
            raise errors.OptionNotSupported(
                f"{row.flag}: the backend is {chosen}, which does not read {row.key}; add --renderer-backend {section}",
                metadata={"option": row.key},
            )
        log.warning("this setting has no effect: another backend is chosen", setting=row.key, backend=chosen)
