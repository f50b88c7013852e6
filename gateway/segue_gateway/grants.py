"""The grants of which a caller needs one, for each method that a gateway offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue_runtime.callers import Grant

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPOSE: Final = frozenset({Grant.COMPOSE})
_WATCH: Final = frozenset({Grant.WATCH})
_ANALYZE: Final = frozenset({Grant.ANALYZE})
_UPLOAD: Final = _COMPOSE | _ANALYZE

COMPOSER: Final[Mapping[str, frozenset[Grant]]] = {
    "Compose": _COMPOSE,
    "CreateComposition": _COMPOSE,
    "GetComposition": _WATCH,
    "ListCompositions": _WATCH,
    "WatchComposition": _WATCH,
    "CancelComposition": _COMPOSE,
    "RetryComposition": _COMPOSE,
    "DeleteComposition": _COMPOSE,
    "PlanComposition": _COMPOSE,
    "DownloadArtifact": _WATCH,
    "GetArtifactUrl": _WATCH,
    "ListModels": _COMPOSE | _WATCH,
    "GetStats": _WATCH,
    "GetUsage": _WATCH,
    "CreateUpload": _UPLOAD,
    "WriteUpload": _UPLOAD,
    "FinishUpload": _UPLOAD,
    "ListUploads": _UPLOAD | _WATCH,
    "DeleteUpload": _UPLOAD,
    "CreateAnalysis": _ANALYZE,
    "GetAnalysis": _ANALYZE | _WATCH,
    "WatchAnalysis": _ANALYZE | _WATCH,
    "ListAnalyses": _ANALYZE | _WATCH,
    "CancelAnalysis": _ANALYZE,
    "CreateMaster": _COMPOSE,
    "CreateSeparation": _ANALYZE,
    "GetSeparation": _ANALYZE | _WATCH,
    "WatchSeparation": _ANALYZE | _WATCH,
    "ListSeparations": _ANALYZE | _WATCH,
    "CancelSeparation": _ANALYZE,
    "DeleteSeparation": _ANALYZE,
}
ANALYZER_PROXY: Final[Mapping[str, frozenset[Grant]]] = {"Analyze": _ANALYZE, "Separate": _ANALYZE}
MIXER_PROXY: Final[Mapping[str, frozenset[Grant]]] = {"Master": _COMPOSE, "Mix": _COMPOSE}
