"""What the service guarantees of every accepted piece, whatever happens to its processes, disks and connections.

A failover of Redis to a replica that lags loses what the replica has not seen. Of a piece whose log may have lost its
end, the log counts as it is read afterwards, and earlier readers may have received what was lost: but nothing without
an announcement. A piece that was accepted meanwhile may be lost; its callers are told, and send it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc
from tests.chaos.references import key

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from tests.chaos.callers import Piece
    from tests.chaos.records import Record

STAGES = {audio_pb2.STAGE_DRAFT: "draft", audio_pb2.STAGE_MASTER: "master"}


@dataclass(frozen=True)
class Guarantee:
    """One guarantee. `breaches` yields what contradicts it; `reference` is the undisturbed run of the same spec."""

    name: str
    breaches: Callable[[Piece, Record | None], Iterator[str]]


@dataclass(frozen=True)
class Violation:
    """One broken guarantee of one piece."""

    guarantee: str
    piece: Piece | None
    """None if it concerns no piece of a caller."""
    breaches: Sequence[str]


def _is_one(piece: Piece, _reference: Record | None) -> Iterator[str]:
    if len(piece.names) != 1 and not piece.met_lag:
        yield f"its callers received {len(piece.names)} names"


def _ends_once(piece: Piece, _reference: Record | None) -> Iterator[str]:
    for record in _readers(piece):
        if record.count("accepted") != 1 or record.count("finished") != 1:
            yield f"{record.watcher}: {record.count('accepted')} accepted, {record.count('finished')} finished"


def _log_is_whole(piece: Piece, _reference: Record | None) -> Iterator[str]:
    for record in piece.records:
        yield from (f"{record.watcher}: {fault}" for fault in record.faults)
        if record.num_restarts and not piece.met_lag:
            yield f"{record.watcher}: the log began again {record.num_restarts} times"
    for record in _readers(piece):
        yield from (f"{record.watcher}: the call failed: {error}" for error in record.errors)
        if record.events != piece.records[-1].events:
            yield f"{record.watcher} saw another log than {piece.records[-1].watcher}"


def _readers(piece: Piece) -> Sequence[Record]:
    """Return the watchers that must have seen the whole log as it is."""
    return piece.records[-1:] if piece.met_lag else piece.records


def _files_are_equal(piece: Piece, reference: Record | None) -> Iterator[str]:
    if reference is None or piece.ended is None:
        return
    for record in piece.records:
        if record.num_rewinds:
            yield f"{record.watcher}: audio was made again with other bytes"
        if record.finished is not None and record.finished.state == composition_pb2.STATE_SUCCEEDED:
            for stage, name in STAGES.items():
                if record.digests.get(stage) != reference.digests.get(stage):
                    yield f"{record.watcher}: another {name} than undisturbed"
        elif audio_pb2.STAGE_DRAFT in reference.audio:
            heard = record.audio.get(audio_pb2.STAGE_DRAFT, b"")
            if not reference.audio[audio_pb2.STAGE_DRAFT].startswith(heard):
                yield f"{record.watcher}: the draft is not the beginning of the undisturbed one"
    if piece.ended.state == composition_pb2.STATE_SUCCEEDED:
        yield from _other_files(piece, reference.files())


def _other_files(piece: Piece, expected: Mapping[str, str]) -> Iterator[str]:
    names = sorted({*expected, *piece.downloads})
    differing = [name for name in names if expected.get(name) != piece.downloads.get(name)]
    if differing:
        yield f"these files differ from the undisturbed ones: {', '.join(differing)}"


def _nothing_is_rendered_twice(piece: Piece, _reference: Record | None) -> Iterator[str]:
    for record in _readers(piece):
        yield from (f"{record.watcher}: {breach}" for breach in _renders_twice(piece, record))


def _renders_twice(piece: Piece, record: Record) -> Iterator[str]:
    finished: set[str] = set()
    for each in record.log:
        if each.kind not in {"section_started", "section_finished", "section_retried"}:
            continue
        if each.section_id in finished:
            yield f"section {each.section_id} was finished before event {each.sequence}: {each.text}"
        if each.kind == "section_finished":
            finished.add(each.section_id)
    if piece.ended and piece.ended.state == composition_pb2.STATE_SUCCEEDED:
        missing = {section.section_id for section in piece.ended.sections} - finished
        if missing:
            yield f"no event finished {', '.join(sorted(missing))}"


def _nothing_else_fails(piece: Piece, _reference: Record | None) -> Iterator[str]:
    if piece.ended is None:
        return
    state, error = piece.ended.state, piece.ended.error
    allowed = {composition_pb2.STATE_SUCCEEDED}
    if piece.order.faulty:
        allowed = {composition_pb2.STATE_FAILED}
        if error.code != grpc.StatusCode.INVALID_ARGUMENT.value[0]:
            yield f"it was made to fail with INVALID_ARGUMENT, and failed with code {error.code}"
    elif piece.cancelled:
        allowed.add(composition_pb2.STATE_CANCELLED)
    if piece.met_full and piece.has_failed_of_space:
        allowed.add(state)
    if state not in allowed:
        yield f"it ended in {composition_pb2.State.Name(state)}: {error.message}"


ONE_PIECE, NOTHING_LEFT = "one request makes one piece", "nothing is left that no piece owns"
NEVER_EMPTY = "a store without its data is refused"
OF_THE_MESH = (NOTHING_LEFT, NEVER_EMPTY)
"""Guarantees of no single piece."""
GUARANTEES = (
    Guarantee(ONE_PIECE, _is_one),
    Guarantee("every accepted piece ends exactly once", _ends_once),
    Guarantee("logs are ordered, unique and without gaps", _log_is_whole),
    Guarantee("audio and files equal those of an undisturbed run", _files_are_equal),
    Guarantee("no finished section is rendered again", _nothing_is_rendered_twice),
    Guarantee("no piece fails that was not made to fail", _nothing_else_fails),
)


def violations(
    pieces: Sequence[Piece],
    references: Mapping[bytes, Record],
    listed: Collection[str],
    of_the_mesh: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> list[Violation]:
    """Check every guarantee of every piece. `listed` are the names of all compositions of the service."""
    found = [
        Violation(guarantee.name, piece, breaches)
        for guarantee in GUARANTEES
        for piece in pieces
        if not (piece.is_lost and piece.may_be_lost)
        and (breaches := list(guarantee.breaches(piece, references.get(key(piece.order.spec)))))
    ]
    strangers = set(listed).difference(*(piece.names for piece in pieces))
    if strangers:
        found.append(Violation(ONE_PIECE, None, [f"no caller knows {name}" for name in sorted(strangers)]))
    return found + [Violation(name, None, breaches) for name, breaches in of_the_mesh.items() if breaches]
