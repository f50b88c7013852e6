"""The separators of one analyzer: the one without weights, and the one that the operator gives weights for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue_analyzer.stems.four_stems import load_four_stems
from segue_analyzer.stems.harmonic_percussive import HarmonicPercussive
from segue_analyzer.stems.separator import SeparatorKind
from segue_analyzer.stems.vocals import VocalsMethod
from segue_runtime import errors
from segue_runtime.settings import SettingsError

if TYPE_CHECKING:
    from segue_analyzer.stems.separator import Separator
    from segue_runtime.settings.sections import SeparatorSettings


class Separators:
    """What an analyzer can separate."""

    def __init__(self, four_stems: Separator | None = None) -> None:
        self._known: dict[SeparatorKind, Separator] = {SeparatorKind.HARMONIC_PERCUSSIVE: HarmonicPercussive()}
        if four_stems is not None:
            self._known[SeparatorKind.FOUR_STEMS] = four_stems

    @property
    def four_stems(self) -> Separator | None:
        """The separator with weights, if there is one."""
        return self._known.get(SeparatorKind.FOUR_STEMS)

    def choose(self, kind: int) -> Separator:
        """Return the separator of a kind; 0 is the best that there is."""
        wanted = SeparatorKind(kind) if kind else max(self._known)
        if wanted not in self._known:
            raise errors.OptionNotSupported(
                "kind: this analyzer has no weights for FOUR_STEMS (analyzer.separator.path); "
                "HARMONIC_PERCUSSIVE needs none",
                metadata={"option": "kind"},
            )
        return self._known[wanted]


def open_separators(settings: SeparatorSettings) -> Separators:
    """Open the separators of the settings."""
    unused = [
        f"analyzer.separator.{name}: it has no effect without analyzer.separator.path"
        for name in ("sha256", "threads", "vocals", "vocals_within")
        if settings.path is None and getattr(settings, name)
    ]
    if settings.vocals_within and not settings.vocals:
        unused.append("analyzer.separator.vocals_within: it has no effect without analyzer.separator.vocals")
    if unused:
        raise SettingsError(unused)
    if settings.path is None:
        return Separators()
    return Separators(load_four_stems(settings.path, settings.sha256, settings.threads))


def vocals_method(separators: Separators, settings: SeparatorSettings) -> VocalsMethod | None:
    """Return how vocals are measured; None if the operator did not ask for it."""
    if not settings.vocals or separators.four_stems is None:
        return None
    return VocalsMethod(separators.four_stems, settings.vocals_within)
