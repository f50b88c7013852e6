"""The checks of `make chaos` find what they look for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.chaos.callers import Piece
from tests.chaos.guarantees import GUARANTEES, violations
from tests.chaos.orders import make_orders
from tests.chaos.records import Record
from tests.chaos.references import key

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client.events import update_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue.composer.v1.stream_pb2 import CompositionEvent

NAME = "compositions/0123456789abcdef"
ORDER = next(order for order in make_orders(1, 5) if not order.faulty and order.cancel_after is None)
FILE = hashlib.sha256(b"file").hexdigest()


def log() -> list[CompositionEvent]:
    """Return the log of a piece with one section."""
    ended = composition_pb2.Composition(name=NAME, state=composition_pb2.STATE_SUCCEEDED)
    ended.sections.add(section_id="verse")
    ended.outputs.add(name=f"{NAME}/outputs/master.flac", sha256=FILE)
    events = [
        stream_pb2.CompositionEvent(accepted=stream_pb2.Accepted()),
        stream_pb2.CompositionEvent(section_started=stream_pb2.SectionStarted(section_id="verse")),
        stream_pb2.CompositionEvent(section_finished=stream_pb2.SectionFinished(section_id="verse")),
        _audio(0, b"12345678"),
        _audio(1, b"abcdefgh"),
        stream_pb2.CompositionEvent(finished=stream_pb2.Finished(composition=ended)),
    ]
    for sequence, event in enumerate(events, start=1):
        event.composition, event.sequence = NAME, sequence
    return events


def _audio(first_frame: int, data: bytes) -> CompositionEvent:
    chunk = audio_pb2.AudioChunk(stage=audio_pb2.STAGE_DRAFT, first_frame=first_frame, frames=1, data=data)
    return stream_pb2.CompositionEvent(audio=chunk)


def record_of(events: list[CompositionEvent]) -> Record:
    record = Record("watcher")
    for event in events:
        record.take(update_of("cursor", event))
    return record.seal()


def broken(events: list[CompositionEvent]) -> set[str]:
    """Return the guarantees that a piece with this log breaks."""
    piece = Piece(ORDER, records=[record_of(log()), record_of(events)], downloads={"master.flac": FILE})
    return {found.guarantee for found in violations([piece], {key(ORDER.spec): record_of(log())}, [NAME])}


def _without(index: int) -> Callable[[list[CompositionEvent]], object]:
    return lambda events: events.pop(index)


def _again(index: int) -> Callable[[list[CompositionEvent]], object]:
    return lambda events: events.insert(index, events[index])


def _rendered_again(events: list[CompositionEvent]) -> None:
    events.insert(3, events[1])
    for sequence, event in enumerate(events, start=1):
        event.sequence = sequence


def _other_audio(events: list[CompositionEvent]) -> None:
    events[4].audio.data = b"ABCDEFGH"


def _failed(events: list[CompositionEvent]) -> None:
    events[-1].finished.composition.state = composition_pb2.STATE_FAILED


def _another_piece(events: list[CompositionEvent]) -> None:
    for event in events:
        event.composition = "compositions/fedcba9876543210"


ONE, ENDS, WHOLE, EQUAL, ONCE, SUCCEEDS = (guarantee.name for guarantee in GUARANTEES)


@pytest.mark.parametrize(
    ("change", "guarantee"),
    [
        (_another_piece, ONE),
        (_without(-1), ENDS),
        (_again(-1), ENDS),
        (_without(2), WHOLE),
        (_again(2), WHOLE),
        (_without(3), WHOLE),
        (_again(4), WHOLE),
        (_other_audio, EQUAL),
        (_rendered_again, ONCE),
        (_failed, SUCCEEDS),
    ],
)
def test_each_breach_is_found(change: Callable[[list[CompositionEvent]], object], guarantee: str) -> None:
    events = log()
    assert broken(events) == set()
    change(events)
    assert guarantee in broken(events)


def test_other_files_and_pieces_of_nobody_are_found() -> None:
    reference = {key(ORDER.spec): record_of(log())}
    piece = Piece(ORDER, records=[record_of(log())], downloads={"master.flac": "another"})
    assert [found.guarantee for found in violations([piece], reference, [NAME])] == [EQUAL]
    piece.downloads = {"master.flac": FILE}
    assert [found.guarantee for found in violations([piece], reference, [NAME, "compositions/abcdef0123"])] == [ONE]
