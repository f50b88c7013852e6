"""Artifacts by key: audio segments, takes, uploads and finished files."""

from segue_runtime.artifacts.base import (
    ArtifactExists,
    ArtifactStore,
    ArtifactWriter,
    GrowingFile,
    Part,
    Ref,
    StoredFile,
    check_key,
)
from segue_runtime.artifacts.folder import FolderArtifacts

__all__ = [
    "ArtifactExists",
    "ArtifactStore",
    "ArtifactWriter",
    "FolderArtifacts",
    "GrowingFile",
    "Part",
    "Ref",
    "StoredFile",
    "check_key",
]
