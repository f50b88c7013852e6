"""What one watcher saw of one composition, and every breach of the rules of a log that it noticed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2
from segue_client.events import FROM_MEMORY

if TYPE_CHECKING:
    from segue.composer.v1.stream_pb2 import CompositionEvent
    from segue_client import SegueError, Update

FRAME_BYTES = 8
"""Two float samples."""
TOLD = ("claims", "section_id", "attempt", "reused", "name", "first_frame")
"""The fields of an event that a printed log shows."""


class Logged(NamedTuple):
    """One event of the log, or a run of audio."""

    sequence: int
    kind: str
    section_id: str
    digest: str
    text: str


@dataclass
class Record:
    """The log as one watcher received it, over any number of streams, and the audio of each stage."""

    watcher: str
    name: str = ""
    log: list[Logged] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Breaches of order, uniqueness and completeness."""
    errors: list[SegueError] = field(default_factory=list)
    """Errors of the stream and of calls."""
    audio: dict[int, bytearray] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    """The digest of the audio of each stage; set by `seal`."""
    num_rewinds: int = 0
    num_restarts: int = 0
    """How often the log was announced to begin again, since the store had lost its end."""
    num_streams: int = 1
    position: int = 0
    """The number of the last message: everything up to it was received."""
    cursor: str = ""
    finished: composition_pb2.Composition | None = None

    def take(self, update: Update) -> None:
        """Add the next update."""
        event, kind = update.event, update.kind
        self.name, self.cursor = event.composition, update.cursor
        if self.finished is not None:
            self.faults.append(f"{kind} {event.sequence} follows finished")
        if kind in FROM_MEMORY:
            return
        if kind == "draft_rewound" and not event.sequence:
            self._start_again(event.draft_rewound.stage)
            return
        if kind == "audio":
            self._take_audio(event)
        else:
            self._take_event(event, kind)
        self.position = event.sequence

    def _start_again(self, stage: int) -> None:
        """Forget a log that the store has lost: all of it follows again. Each stage is announced."""
        self.num_restarts += stage == audio_pb2.STAGE_DRAFT
        self.audio.pop(stage, None)
        self.log.clear()
        self.position = 0

    def _take_event(self, event: CompositionEvent, kind: str) -> None:
        """Events are numbered without gaps; audio counts as received with the number of its last whole segment."""
        if event.sequence != self.position + 1:
            self.faults.append(f"{kind} {event.sequence} follows {self.position}")
        digest = hashlib.sha256(event.SerializeToString(deterministic=True)).hexdigest()
        section_id = getattr(getattr(event, kind), "section_id", "")
        self.log.append(Logged(event.sequence, kind, section_id, digest, _text(event, kind)))
        if kind == "draft_rewound":
            self.num_rewinds += 1
            rewound = event.draft_rewound
            del self.audio.setdefault(rewound.stage, bytearray())[rewound.first_frame * FRAME_BYTES :]
        elif kind == "finished":
            self.finished = event.finished.composition

    def _take_audio(self, event: CompositionEvent) -> None:
        """Frames follow each other. Chunks are cut anew by every stream, so that they have no place in the log."""
        chunk = event.audio
        heard = self.audio.setdefault(chunk.stage, bytearray())
        expected = len(heard) // FRAME_BYTES
        if event.sequence < self.position or chunk.first_frame != expected:
            self.faults.append(f"frame {chunk.first_frame} in message {event.sequence} follows frame {expected}")
        heard.extend(chunk.data)
        name = audio_pb2.Stage.Name(chunk.stage).removeprefix("STAGE_").lower()
        text = f"{_text(event, 'audio')} of the {name}, and what follows"
        if not self.log or self.log[-1].kind != "audio":
            self.log.append(Logged(event.sequence, "audio", chunk.section_id, "", text))

    @property
    def events(self) -> list[Logged]:
        """The log without audio: the same for every watcher."""
        return [each for each in self.log if each.kind != "audio"]

    def count(self, kind: str) -> int:
        """Return how many events of a kind the log has."""
        return sum(each.kind == kind for each in self.log)

    def seal(self, *, keep_audio: bool = False) -> Record:
        """Replace the audio by digests: that of a hundred pieces is too much for the memory."""
        self.digests = {stage: hashlib.sha256(heard).hexdigest() for stage, heard in self.audio.items()}
        if not keep_audio:
            self.audio.clear()
        return self

    def files(self) -> dict[str, str]:
        """Return the digest of each file by its name."""
        assert self.finished is not None
        return {output.name.rpartition("/")[2]: output.sha256 for output in self.finished.outputs}

    def lines(self) -> list[str]:
        """Return the log as text."""
        return [f"{each.sequence:5} {each.text}" for each in self.log]


def _text(event: CompositionEvent, kind: str) -> str:
    body = getattr(event, kind)
    if kind == "finished":
        about = [composition_pb2.State.Name(body.composition.state), body.composition.error.message]
    else:
        about = [f"{name} {getattr(body, name)}" for name in TOLD if hasattr(body, name)]
        about += [body.error.message] if hasattr(body, "error") else []
    return " ".join([event.event_time.ToDatetime().strftime("%H:%M:%S.%f")[:-3], kind, *about]).rstrip()
