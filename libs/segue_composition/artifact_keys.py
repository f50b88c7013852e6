"""Keys of the artifacts that gateway and conductor both read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.composer.v1 import composition_pb2
from segue_composition.file_jobs import outputs_of
from segue_runtime import errors
from segue_runtime.artifacts import Ref

if TYPE_CHECKING:
    from segue_runtime.store import Store

_STORED: Final = frozenset({composition_pb2.SECTION_STATE_RENDERED, composition_pb2.SECTION_STATE_JOINED})


def artifact_key(name: str) -> str:
    """Return the key of an output's or a finished upload's bytes."""
    return f"{name}/content" if name.startswith("uploads/") else name


async def source_ref(store: Store, name: str) -> Ref:
    """Return the bytes of an output or a finished upload, with the digest to compare them with."""
    if name.startswith("uploads/"):
        upload = await store.get_upload(name)
        if upload is not None and upload.digest is not None:
            return Ref(artifact_key(name), 0, upload.offset, upload.digest)
    elif (job := await store.get(name.partition("/outputs/")[0])) is not None:
        for output in outputs_of(job):
            if output.name == name:
                return Ref(artifact_key(name), 0, output.size_bytes, bytes.fromhex(output.sha256))
    raise errors.ArtifactNotFound(f"there is no {name} any more", metadata={"name": name})


def is_take(name: str) -> bool:
    """Return whether a source is the take of a section, not a file."""
    return "/takes/" in name


async def find_take(store: Store, name: str) -> tuple[str, str] | None:
    """Return the owner and the key of a section's stored take; None if there is none."""
    piece, _, section_id = name.partition("/takes/")
    job = await store.get(piece)
    if job is None:
        return None
    for section in composition_pb2.Composition.FromString(job.resource).sections:
        if section.section_id == section_id and section.take and (section.kept or section.state in _STORED):
            return job.owner, section.take
    return None
