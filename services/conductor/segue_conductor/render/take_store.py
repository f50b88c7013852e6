"""The store of takes: a section's audio as the renderer sent it, under a key made of everything it depends on.

A take is read by the mixer while it is rendered. New, growing and stored takes look the same to their readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_composition.log_rows import BYTES_PER_SAMPLE
from segue_music.codec import canonical_json
from segue_runtime import errors
from segue_runtime.artifacts import Ref

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.music.v1.music_pb2 import Note, SectionSpec
    from segue.renderer.v1.renderer_pb2 import ModelProfile, RenderAccepted, RenderFinished
    from segue_runtime.artifacts import ArtifactStore, GrowingFile

TAKES: Final = "takes"
MIX: Final = "mix"
"""The name in the store of the audio of all layers together."""


Unheard: TypeAlias = Literal["section_id", "label", "cadence", "target_lufs", "model", "timbre_section"]
UNHEARD: Final[tuple[Unheard, ...]] = ("section_id", "label", "cadence", "target_lufs", "model", "timbre_section")
"""Fields of a section that no renderer reads: names, the model, which the profile has, what others use, and what is
sent as guide."""


def take_key(
    spec: SectionSpec,
    profile: ModelProfile,
    seed: int,
    *,
    overlap_frames: int,
    conditioning_digest: str,
    following_digest: str,
    guide_digest: str,
) -> str:
    """Return the key of a take. Equal keys mean equal audio, whatever the section's position and names in the piece."""
    heard = music_pb2.SectionSpec()
    heard.CopyFrom(spec)
    for name in UNHEARD:
        heard.ClearField(name)
    if not profile.uses_prompt:
        heard.ClearField("prompt")
    if not profile.uses_lyrics:
        heard.ClearField("lyrics")
    parts = {
        "spec": hashlib.sha256(canonical_json(heard)).hexdigest(),
        "backend": profile.backend,
        "model": profile.model,
        "model_digest": profile.model_digest,
        "engine": profile.engine_version,
        "seed": seed,
        "overlap_frames": overlap_frames,
        "conditioning": conditioning_digest,
        "guide": guide_digest,
    }
    if following_digest:  # without it, the keys are those of earlier releases
        parts["following"] = following_digest
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class TakeFailed(Exception):  # noqa: N818 - as in the error tree
    """The take that is being read will never be complete; another attempt may follow."""


class Take:
    """One take, complete or growing. Positions are frames in the take's own format; its tail is included."""

    def __init__(self, key: str, artifacts: ArtifactStore, folder: str) -> None:
        self.key = key
        self.accepted: RenderAccepted | None = None
        self.finished: RenderFinished | None = None
        self.layers: tuple[str, ...] = ()
        self.notes: tuple[Note, ...] = ()
        self.report: Report | None = None
        """What the analyzer has measured of the complete take; not stored."""
        self._artifacts = artifacts
        self._folder = folder
        self._growing: dict[str, GrowingFile] = {}
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, Any] = {}
        self._digests: dict[str, str] = {}
        """Of the stored layers; takes of release 0.1.0 have none."""
        self._error: TakeFailed | None = None
        self._changed = asyncio.Event()

    @property
    def frame_bytes(self) -> int:
        """The bytes of one frame; known once the renderer has accepted the section."""
        return self._accepted().format.channels * BYTES_PER_SAMPLE

    async def wait_accepted(self) -> RenderAccepted:
        """Wait until a renderer has accepted the section."""
        while self.accepted is None:
            await self._wait()
        return self.accepted

    async def wait_finished(self) -> RenderFinished:
        """Wait until the take is complete."""
        while self.finished is None:
            await self._wait()
        return self.finished

    async def read(self, first_frame: int, max_frames: int, layer: str = MIX) -> bytes:
        """Return up to `max_frames` from `first_frame` on; wait for the first one. Empty at the end."""
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
        key = self._layer_key(layer)
        if layer in self._digests:
            stored = Ref(key, 0, self._sizes[layer], bytes.fromhex(self._digests[layer]))
            return await self._artifacts.read(stored, start, length)
        return await self._artifacts.get(key, start, length)

    # Writing.

    def accept(self, accepted: RenderAccepted) -> None:
        """Set the format of the audio that follows."""
        self.accepted = accepted
        self._notify()

    async def write(self, layer: str, audio: bytes) -> None:
        """Append audio to one layer."""
        growing = self._growing.get(layer)
        if growing is None:
            # Another conductor may have made the same take: the commit replaces its file by the same bytes.
            growing = self._growing[layer] = await self._artifacts.open_growing(self._layer_key(layer))
            self._hashes[layer] = hashlib.sha256()
        await growing.write(audio)
        self._hashes[layer].update(audio)
        self._sizes[layer] = self._sizes.get(layer, 0) + len(audio)
        self._notify()

    def frames(self, layer: str = MIX) -> int:
        """Return the number of frames so far."""
        return self._sizes.get(layer, 0) // self.frame_bytes

    async def complete(self, finished: RenderFinished, notes: Sequence[Note]) -> None:
        """Store the take. Its description is written last: a take without one does not exist."""
        self.layers = tuple(sorted(layer for layer in self._growing if layer != MIX))
        self.notes = tuple(notes)
        for growing in self._growing.values():
            await growing.commit()
        self._growing.clear()
        self._digests = {layer: found.hexdigest() for layer, found in self._hashes.items()}
        description = {
            "accepted": self._accepted().SerializeToString().hex(),
            "finished": finished.SerializeToString().hex(),
            "sizes": self._sizes,
            "sha256": self._digests,
            "notes": renderer_pb2.Notes(notes=self.notes).SerializeToString().hex(),
        }
        await self._artifacts.put(
            self._layer_key(_meta_name(bool(self.layers))), json.dumps(description).encode(), replace=True
        )
        self.finished = finished
        self._notify()

    async def fail(self, reason: str) -> None:
        """Give the take up; its readers receive TakeFailed."""
        self._error = TakeFailed(reason)
        for growing in self._growing.values():
            await growing.discard()
        self._growing.clear()
        self._notify()

    def _accepted(self) -> RenderAccepted:
        if self.accepted is None:
            message = "the take is not accepted yet"
            raise RuntimeError(message)
        return self.accepted

    def _layer_key(self, layer: str) -> str:
        return f"{self._folder}/{self.key}/{layer}"

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._changed.wait()
        if self._error is not None:
            raise self._error

    def load(self, description: bytes) -> None:
        """Read the description of a stored take."""
        content = json.loads(description)
        self._sizes = content["sizes"]
        self._digests = content.get("sha256", {})
        self.layers = tuple(sorted(layer for layer in self._sizes if layer != MIX))
        self.notes = tuple(renderer_pb2.Notes.FromString(bytes.fromhex(content["notes"])).notes)
        self.accepted = renderer_pb2.RenderAccepted.FromString(bytes.fromhex(content["accepted"]))
        self.finished = renderer_pb2.RenderFinished.FromString(bytes.fromhex(content["finished"]))


def take_folder(owner: str) -> str:
    """Return the folder of an owner's takes. An owner's name is never part of a key."""
    return f"{TAKES}/{hashlib.sha256(owner.encode()).hexdigest()[:32]}"


class TakeStore:
    """The takes of one owner. A store shared by owners would tell one what another has made."""

    def __init__(self, artifacts: ArtifactStore, owner: str) -> None:
        self._artifacts = artifacts
        self._folder = take_folder(owner)

    def new(self, key: str) -> Take:
        """Return a new, empty take."""
        return Take(key, self._artifacts, self._folder)

    async def find(self, key: str, *, stems: bool) -> Take | None:
        """Return a complete take, with its layers as stems if needed; None if there is none."""
        for with_stems in (True,) if stems else (True, False):
            path = f"{self._folder}/{key}/{_meta_name(with_stems)}"
            with contextlib.suppress(errors.ArtifactNotFound):
                # The touch comes first: an unused take may be about to be deleted.
                await self._artifacts.touch(path)
                take = self.new(key)
                take.load(await self._artifacts.get(path))
                return take
        return None


def _meta_name(with_stems: bool) -> str:  # noqa: FBT001  one name for each value
    return "take-with-stems.json" if with_stems else "take.json"
