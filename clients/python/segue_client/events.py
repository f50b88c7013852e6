"""The events of a composition: one class for each kind, for `match` and for type checkers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar, cast

from segue.analyzer.v1 import analyzer_pb2
from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue.music.v1 import music_pb2

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from segue.composer.v1.composition_pb2 import Composition
    from segue.composer.v1.stream_pb2 import CompositionEvent

BodyT = TypeVar("BodyT")
BYTES_PER_SAMPLE: Final = {
    audio_pb2.SAMPLE_FORMAT_F32LE: 4,
    audio_pb2.SAMPLE_FORMAT_S16LE: 2,
    audio_pb2.SAMPLE_FORMAT_S24LE: 3,
}


@dataclass(frozen=True, slots=True)
class Update:
    """An event, and the cursor after it."""

    kind: ClassVar[str] = ""
    """The event's name in the contract: "audio", "section_started", "finished" …"""

    cursor: str
    """Pass it to `Client.watch` to continue after this event."""
    event: CompositionEvent
    """The whole message."""

    @property
    def composition(self) -> str:
        """The composition's name."""
        return self.event.composition


class Unknown(Update):
    """An event of a newer server that this client does not know. Skip it."""

    __slots__ = ()


class _Known(Update, Generic[BodyT]):
    __slots__ = ()

    @property
    def body(self) -> BodyT:
        """The message of this event."""
        return cast("BodyT", getattr(self.event, self.kind))


class Accepted(_Known[stream_pb2.Accepted]):
    """The composition exists. This is always the first event."""

    __slots__ = ()
    kind = "accepted"


class Started(_Known[stream_pb2.Started]):
    """A conductor started to work on the composition."""

    __slots__ = ()
    kind = "started"


class Planned(_Known[stream_pb2.Planned]):
    """The plan and the estimate are ready."""

    __slots__ = ()
    kind = "planned"


class Replanned(_Known[stream_pb2.Replanned]):
    """The plan changed, because a section could not be rendered: `Degraded` before it says why."""

    __slots__ = ()
    kind = "replanned"


class SectionStarted(_Known[stream_pb2.SectionStarted]):
    """A renderer started a section."""

    __slots__ = ()
    kind = "section_started"


class SectionProgress(_Known[stream_pb2.SectionProgress]):
    """The progress of a section."""

    __slots__ = ()
    kind = "section_progress"


class SectionFinished(_Known[stream_pb2.SectionFinished]):
    """A section's take is in the store."""

    __slots__ = ()
    kind = "section_finished"


class SectionRetried(_Known[stream_pb2.SectionRetried]):
    """An attempt at a section failed, and another one follows."""

    __slots__ = ()
    kind = "section_retried"


class SectionMixed(_Known[mixer_pb2.SectionMixed]):
    """A section is in the draft; the body says how it was joined."""

    __slots__ = ()
    kind = "section_mixed"


class Audio(_Known[audio_pb2.AudioChunk]):
    """Audio of the draft or the master, which follows the frames before it."""

    __slots__ = ()
    kind = "audio"

    @property
    def stage(self) -> audio_pb2.Stage.ValueType:
        """STAGE_DRAFT or STAGE_MASTER."""
        return self.event.audio.stage

    @property
    def first_frame(self) -> int:
        """The position of its first frame in the piece."""
        return self.event.audio.first_frame

    @property
    def samples(self) -> NDArray[np.float32]:
        """The samples as (frames, channels); full scale is 1.0."""
        import numpy as np

        chunk = self.event.audio
        if chunk.format.sample_format == audio_pb2.SAMPLE_FORMAT_F32LE:
            flat = np.frombuffer(chunk.data, "<f4")
        elif chunk.format.sample_format == audio_pb2.SAMPLE_FORMAT_S16LE:
            flat = np.frombuffer(chunk.data, "<i2").astype(np.float32) / np.float32(1 << 15)
        else:
            # Three bytes become the upper three bytes of a 32-bit number, which keeps the sign.
            wide = np.zeros((len(chunk.data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(chunk.data, np.uint8).reshape(-1, 3)
            flat = (wide.reshape(-1).view("<i4") / (1 << 31)).astype(np.float32)
        return flat.reshape(-1, chunk.format.channels)


class Rewound(_Known[stream_pb2.DraftRewound]):
    """Audio from `body.first_frame` on is replaced: drop your audio of `body.stage` from there."""

    __slots__ = ()
    kind = "draft_rewound"


class DraftFinished(_Known[stream_pb2.DraftFinished]):
    """The draft is complete."""

    __slots__ = ()
    kind = "draft_finished"


class MasterMade(_Known[stream_pb2.MasterMade]):
    """The master is complete."""

    __slots__ = ()
    kind = "master_made"


class Analyzed(_Known[analyzer_pb2.Report]):
    """The master was measured."""

    __slots__ = ()
    kind = "analyzed"


class OutputReady(_Known[composition_pb2.Output]):
    """A file is ready for download."""

    __slots__ = ()
    kind = "output_ready"


class Degraded(_Known[composition_pb2.Degradation]):
    """Part of the result is less than the caller asked for."""

    __slots__ = ()
    kind = "degraded"


class Warned(_Known[music_pb2.Warning]):
    """A warning."""

    __slots__ = ()
    kind = "warned"


class Checkpoint(_Known[stream_pb2.Checkpoint]):
    """A heartbeat: the composition continues without a new event."""

    __slots__ = ()
    kind = "checkpoint"


class Finished(_Known[stream_pb2.Finished]):
    """The composition ended. This is always the last event."""

    __slots__ = ()
    kind = "finished"

    @property
    def result(self) -> Composition:
        """The composition in its final state."""
        return self.event.finished.composition


KINDS: Final[dict[str, type[Update]]] = {
    known.kind: known
    for known in (
        Accepted, Started, Planned, SectionStarted, SectionProgress, SectionFinished, SectionRetried, Replanned,
        SectionMixed, Audio, Rewound, DraftFinished, MasterMade, Analyzed, OutputReady, Degraded, Warned, Checkpoint,
        Finished,
    )
}  # fmt: skip
FROM_MEMORY: Final = frozenset({"section_progress", "checkpoint"})
"""Kinds that are not in the log, and are sent once."""


def update_of(cursor: str, event: CompositionEvent) -> Update:
    """Return an event as an instance of the class for its kind."""
    return KINDS.get(event.WhichOneof("event") or "", Unknown)(cursor, event)
