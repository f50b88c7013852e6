"""Keys of the artifacts that gateway and conductor both read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segue.composer.v1 import composition_pb2
from segue_runtime import errors
from segue_runtime.artifacts import Ref

if TYPE_CHECKING:
    from segue_runtime.store import Store


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
        for output in composition_pb2.Composition.FromString(job.resource).outputs:
            if output.name == name:
                return Ref(artifact_key(name), 0, output.size_bytes, bytes.fromhex(output.sha256))
    raise errors.ArtifactNotFound(f"there is no {name} any more", metadata={"name": name})
