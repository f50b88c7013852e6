"""Where a conductor that takes a composition over goes on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Committed in the same transaction as the event that it follows."""

    joined: int = 0
    """How many sections are in the draft for good."""
    sequence: int = 0
    """The newest row of the log when that was so; draft rows after it belong to sections that are made again."""
    mixer_state: str = ""
    """The artifact that holds the mixer's state after those sections; empty: none yet."""
    draft_finished: bool = False
    measured: bool = False
    """The master's first pass is done; its measurement is an artifact of the composition."""

    def encode(self) -> bytes:
        """Write it as the store keeps it."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes | None) -> Checkpoint:
        """Read it; nothing kept means from the start."""
        return cls(**json.loads(content)) if content else cls()
