"""One claim on one job: its journal, the stores and peers that the work uses, and its deadline."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from segue_composition import state
from segue_conductor.backoff import Backoff
from segue_conductor.progress import ProgressBoard
from segue_runtime import errors
from segue_runtime.store import Delivered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from segue.composer.v1.composition_pb2 import Composition
    from segue_composition.peers import Peers
    from segue_composition.services import Services
    from segue_conductor.journal import Journal
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Store


@dataclass(frozen=True)
class Claim:
    """One claim on a composition or mastering."""

    journal: Journal
    services: Services
    number: int
    """How many claims there were on this job, this one included."""
    deadline: float
    """The end of the job's time limit, in seconds of time.monotonic()."""
    patience_s: float
    """How long the work waits for a role that does not answer."""
    allowed_models: Sequence[str] | None = None
    """Names and patterns of the models that the owner may use; None: all."""
    progress: ProgressBoard = field(default_factory=ProgressBoard)

    @property
    def composition(self) -> Composition:
        """The composition as stored."""
        return self.journal.composition

    @property
    def store(self) -> Store:
        """The store of jobs and logs."""
        return self.services.store

    @property
    def artifacts(self) -> ArtifactStore:
        """The store of audio and files."""
        return self.services.artifacts

    @property
    def peers(self) -> Peers:
        """The other roles."""
        return self.services.peers

    def key(self, name: str) -> str:
        """Return the key of an artifact that belongs to this composition."""
        return f"{self.journal.name}/{name}"

    def backoff(self, work: str, metadata: Mapping[str, str] = MappingProxyType({})) -> Backoff:
        """Return the tries of one piece of work; while they last, the job reports the role that it waits for."""
        backoff = Backoff(self.patience_s, self.services, work, metadata)
        self.progress.backoffs.append(backoff)
        return backoff

    async def delivered(self) -> Delivered:
        """Return what the composition leaves behind if it ends now."""
        stored_bytes = sum(output.size_bytes for output in self.composition.outputs)
        with contextlib.suppress(errors.SegueError):  # the end must be written without the artifact store, too
            stored_bytes = sum(each.num_bytes for each in await self.artifacts.list_files(self.journal.name))
        return Delivered(state.audio_seconds(self.composition), stored_bytes)

    def remaining_s(self) -> float:
        """Return the seconds left until the deadline: the limit of every inner call."""
        return max(0.0, self.deadline - time.monotonic())
