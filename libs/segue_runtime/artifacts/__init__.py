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
from segue_runtime.artifacts.verified import verified_blocks, verified_copy

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
    "verified_blocks",
    "verified_copy",
]
