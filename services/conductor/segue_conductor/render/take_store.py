"""Takes: a section's sound as the renderer gave it, kept under a key that says everything it depends on.

A take is written while it is rendered and read by the mix at the same time, so that a take that is new, one that is
still growing and one that was there already look the same to the reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE
from segue_music.codec import canonical_json
from segue_runtime.artifacts import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.music.v1.music_pb2 import Note, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile, RenderAccepted, RenderFinished
    from segue_runtime.artifacts import ArtifactStore, Draft

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


class Spool:
    """A file of the store that is read while it is written."""

    def __init__(self, artifacts: ArtifactStore, key: str) -> None:
        # Replacing: another conductor may have made the same take; its bytes are the same.
        self._context = artifacts.put_file(key, replace=True)
        self._draft: Draft | None = None
        self._reading: int | None = None

    async def write(self, audio: bytes) -> None:
        """Append."""
        if self._draft is None:
            self._draft = await self._context.__aenter__()
            # A descriptor of our own: the store closes the draft's while somebody may still read.
            self._reading = os.dup(self._draft.file.fileno())
        self._draft.write_through(audio)

    def read(self, start: int, length: int) -> bytes:
        """Read what was written: from the page cache, in microseconds."""
        return b"" if self._reading is None else os.pread(self._reading, length, start)

    async def commit(self) -> None:
        """Make it durable, under its key; it can still be read here until it is closed."""
        if self._draft is not None:
            await self._context.__aexit__(None, None, None)

    async def discard(self) -> None:
        """Throw it away."""
        if self._draft is not None:
            error = TakeFailed("discarded")
            with contextlib.suppress(TakeFailed):
                await self._context.__aexit__(TakeFailed, error, None)

    def close(self) -> None:
        """Let go of the file."""
        if self._reading is not None:
            os.close(self._reading)
            self._reading = None


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
        self._spools: dict[str, Spool] = {}
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
        spool = self._spools.get(layer)
        if spool is not None:
            return spool.read(start, length)
        return await self._artifacts.read(Ref(self._path(layer), 0, self._sizes[layer], b""), start, length)

    # What the renderer's side calls.

    def accept(self, accepted: RenderAccepted) -> None:
        """Say in which format it comes."""
        self.accepted = accepted
        self._ring()

    async def write(self, layer: str, audio: bytes) -> None:
        """Append sound of one layer."""
        spool = self._spools.get(layer)
        if spool is None:
            spool = self._spools[layer] = Spool(self._artifacts, self._path(layer))
        await spool.write(audio)
        self._sizes[layer] = self._sizes.get(layer, 0) + len(audio)
        self._ring()

    def frames(self, layer: str = MIX) -> int:
        """Return how many frames there are so far."""
        return self._sizes.get(layer, 0) // self.frame_bytes

    async def complete(self, finished: RenderFinished, notes: Sequence[Note]) -> None:
        """Keep it for good. The description is written last: a take without one does not exist."""
        self.layers = tuple(sorted(layer for layer in self._spools if layer != MIX))
        self.notes = tuple(notes)
        for spool in self._spools.values():
            await spool.commit()
        self._close_spools()
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
        for spool in self._spools.values():
            await spool.discard()
        self._close_spools()
        self._ring()

    def _close_spools(self) -> None:
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()

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
                size = await self._artifacts.size(path)
                take.load(await self._artifacts.read(Ref(path, 0, size, b"")))
                return take
        return None


def _meta_name(with_stems: bool) -> str:  # noqa: FBT001  a name for each of two
    return "take-with-stems.json" if with_stems else "take.json"
