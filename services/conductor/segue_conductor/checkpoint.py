"""The checkpoint of a composition or mastering: where the next claim on the job continues."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """Progress that is committed in one transaction with the event it follows."""

    joined: int = 0
    """The number of sections that are in the draft for good."""
    sequence: int = 0
    """The newest log row at that time. Later draft rows belong to sections that are made again."""
    mixer_state: str = ""
    """The key of the mixer's state after those sections; empty before the first join."""
    draft_finished: bool = False
    measured: bool = False
    """The first pass of the master is done; its measurement is an artifact of the composition."""

    def encode(self) -> bytes:
        """Return the checkpoint as the store keeps it."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes | None) -> JobCheckpoint:
        """Read a stored checkpoint; None is the start of the job."""
        return cls(**json.loads(content)) if content else cls()
