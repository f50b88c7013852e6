"""Takes: a section's sound as the renderer gave it, kept under a key that says everything it depends on.

A take is written while it is rendered and read by the mix at the same time, so that a take that is new, one that is
still growing and one that was there already look the same to the reader.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE
from segue_music.codec import canonical_json
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.music.v1.music_pb2 import Note, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile, RenderAccepted, RenderFinished
    from segue_runtime.artifacts import ArtifactStore, GrowingFile

MIX: Final = "mix"
"""The layer name in the store of the sound that is no stem."""


def take_key(
    spec: SectionSpec,
    profile: ModelProfile,
    seed: int,
    *,
    overlap_frames: int,
    conditioning_digest: str,
    guide_digest: str,
) -> str:
    """Return the key: equal keys mean equal sound, wherever in a piece the section stands."""
    parts = {
        "spec": hashlib.sha256(canonical_json(spec)).hexdigest(),
        "backend": profile.backend,
        "model": profile.model,
        "model_digest": profile.model_digest,
        "engine": profile.engine_version,
        "seed": seed,
        "overlap_frames": overlap_frames,
        "conditioning": conditioning_digest,
        "guide": guide_digest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class TakeFailed(Exception):  # noqa: N818 - as in the error tree
    """The take that is being read will never be complete; another try may follow."""


class Take:
    """One take, complete or growing. Offsets are frames of the take's own format, its tail included."""

    def __init__(self, key: str, artifacts: ArtifactStore, folder: str) -> None:
        self.key = key
        self.accepted: RenderAccepted | None = None
        self.finished: RenderFinished | None = None
        self.layers: tuple[str, ...] = ()
        self.notes: tuple[Note, ...] = ()
        self._artifacts = artifacts
        self._folder = folder
        self._growing: dict[str, GrowingFile] = {}
        self._sizes: dict[str, int] = {}
        self._error: TakeFailed | None = None
        self._changed = asyncio.Event()

    @property
    def frame_bytes(self) -> int:
        """How many bytes a frame has; known when it is accepted."""
        return self._accepted().format.channels * BYTES_PER_SAMPLE

    async def wait_accepted(self) -> RenderAccepted:
        """Wait until a renderer has taken the section."""
        while self.accepted is None:
            await self._wait()
        return self.accepted

    async def wait_finished(self) -> RenderFinished:
        """Wait until it is complete."""
        while self.finished is None:
            await self._wait()
        return self.finished

    async def read(self, first_frame: int, max_frames: int, layer: str = MIX) -> bytes:
        """Return up to max_frames from first_frame on, waiting for the first; empty at the end."""
        if self._error is not None:
            raise self._error
        start = first_frame * self.frame_bytes
        while self._sizes.get(layer, 0) <= start:
            if self.finished is not None:
                return b""
            await self._wait()
        length = min(max_frames * self.frame_bytes, self._sizes[layer] - start)
        growing = self._growing.get(layer)
        if growing is not None:
            try:
                return await growing.read(start, length)
            except errors.SegueError:
                # The take failed while it was read: its file is gone.
                if self._error is not None:
                    raise self._error from None
                raise
        return await self._artifacts.get(self._path(layer), start, length)

    # What the renderer's side calls.

    def accept(self, accepted: RenderAccepted) -> None:
        """Say in which format it comes."""
        self.accepted = accepted
        self._ring()

    async def write(self, layer: str, audio: bytes) -> None:
        """Append sound of one layer."""
        growing = self._growing.get(layer)
        if growing is None:
            # Another conductor may have made the same take: the commit replaces its file by the same bytes.
            growing = self._growing[layer] = await self._artifacts.open_growing(self._path(layer))
        await growing.write(audio)
        self._sizes[layer] = self._sizes.get(layer, 0) + len(audio)
        self._ring()

    def frames(self, layer: str = MIX) -> int:
        """Return how many frames there are so far."""
        return self._sizes.get(layer, 0) // self.frame_bytes

    async def complete(self, finished: RenderFinished, notes: Sequence[Note]) -> None:
        """Keep it for good. The description is written last: a take without one does not exist."""
        self.layers = tuple(sorted(layer for layer in self._growing if layer != MIX))
        self.notes = tuple(notes)
        for growing in self._growing.values():
            await growing.commit()
        self._growing.clear()
        description = {
            "accepted": self._accepted().SerializeToString().hex(),
            "finished": finished.SerializeToString().hex(),
            "sizes": self._sizes,
            "notes": renderer_pb2.Notes(notes=self.notes).SerializeToString().hex(),
        }
        await self._artifacts.put(
            self._path(_meta_name(bool(self.layers))), json.dumps(description).encode(), replace=True
        )
        self.finished = finished
        self._ring()

    async def fail(self, why: str) -> None:
        """Give it up; readers are told."""
        self._error = TakeFailed(why)
        for growing in self._growing.values():
            await growing.discard()
        self._growing.clear()
        self._ring()

    def _accepted(self) -> RenderAccepted:
        if self.accepted is None:
            message = "the take is not accepted yet"
            raise RuntimeError(message)
        return self.accepted

    def _path(self, layer: str) -> str:
        return f"{self._folder}/{self.key}/{layer}"

    def _ring(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._changed.wait()
        if self._error is not None:
            raise self._error

    def load(self, description: bytes) -> None:
        """Fill it from its stored description."""
        content = json.loads(description)
        self._sizes = content["sizes"]
        self.layers = tuple(sorted(layer for layer in self._sizes if layer != MIX))
        self.notes = tuple(renderer_pb2.Notes.FromString(bytes.fromhex(content["notes"])).notes)
        self.accepted = renderer_pb2.RenderAccepted.FromString(bytes.fromhex(content["accepted"]))
        self.finished = renderer_pb2.RenderFinished.FromString(bytes.fromhex(content["finished"]))


class Shelf:
    """The takes of one owner; caches are per owner, for a shared one would tell a tenant what another made."""

    def __init__(self, artifacts: ArtifactStore, owner: str) -> None:
        self._artifacts = artifacts
        # An owner's name never becomes a path.
        self._folder = f"takes/{hashlib.sha256(owner.encode()).hexdigest()[:32]}"

    def new(self, key: str) -> Take:
        """Begin a take."""
        return Take(key, self._artifacts, self._folder)

    async def find(self, key: str, *, stems: bool) -> Take | None:
        """Return a complete take, with its layers apart when stems are needed."""
        for with_stems in (True,) if stems else (True, False):
            path = f"{self._folder}/{key}/{_meta_name(with_stems)}"
            if await self._artifacts.exists(path):
                take = self.new(key)
                take.load(await self._artifacts.get(path))
                return take
        return None


def _meta_name(with_stems: bool) -> str:  # noqa: FBT001  a name for each of two
    return "take-with-stems.json" if with_stems else "take.json"
