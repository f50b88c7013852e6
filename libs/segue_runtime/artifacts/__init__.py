"""Artifacts: audio segments, takes, uploads and finished files, by key."""

from segue_runtime.artifacts.base import ArtifactExists, ArtifactStore, Draft, Part, Ref, check_key
from segue_runtime.artifacts.folder import FolderArtifacts

__all__ = ["ArtifactExists", "ArtifactStore", "Draft", "FolderArtifacts", "Part", "Ref", "check_key"]
