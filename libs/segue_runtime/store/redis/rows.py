"""Records from the hashes and streams of Redis, and the arguments of writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from segue_runtime.store.queue.turns import Standing
from segue_runtime.store.records import Event, Job, Upload, UploadPart
from segue_runtime.tenants import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from segue_runtime.store.records import NewEvent

INTEGERS = frozenset(
    {"epoch", "claims", "last_sequence", "last_stamp", "lone_losses", "stored_bytes", "priority", "audio_ms"}
)
FLOATS = frozenset(
    {"lease_until", "attached_until", "created", "started", "finished", "expires", "lease_s", "attached_s", "worked_s"}
)
BYTES = frozenset({"spec", "resource", "checkpoint"})
OPTIONAL = (
    *("request_id", "claimed_by", "lease_until", "cancel_reason", "attached_until", "checkpoint", "started"),
    *("finished", "expires", "lease_s", "attached_s", "call_id", "upload", "second_upload"),
)
KEPT_OUT = frozenset({"id", "digest", "progress"})


def pairs_of(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Return the fields of a hash."""
    return {flat[index].decode(): flat[index + 1] for index in range(0, len(flat), 2)}


def id_of(flat: Sequence[bytes]) -> int:
    """Return the number of a job or upload."""
    return int(pairs_of(flat)["id"])


def job_of(name: bytes | str, flat: Sequence[bytes], *, is_taken_over: bool = False) -> Job:
    """Make a job from its hash."""
    values: dict[str, Any] = dict.fromkeys(OPTIONAL) | {"priority": Priority.NORMAL}
    for field, value in pairs_of(flat).items():
        if field in INTEGERS:
            values[field] = int(value)
        elif field in FLOATS:
            values[field] = float(value)
        elif field in BYTES:
            values[field] = value
        elif field == "labels":
            values[field] = json.loads(value)
        elif field == "models":
            values[field] = tuple(json.loads(value))
        elif field == "alone":
            values[field] = value == b"1"
        elif field not in KEPT_OUT:
            values[field] = value.decode()
    return Job(name=_text(name), is_taken_over=is_taken_over, **values)


def standings_of(found: Sequence[Any]) -> list[Standing]:
    """Make standings of owners; the jobs of all kinds count together."""
    standings: dict[tuple[str, int], Standing] = {}
    for priority, owner, num, tag, weight, number, may_start in found:
        key = (owner.decode(), int(priority))
        known = standings.get(key)
        standings[key] = Standing(
            priority=key[1],
            owner=key[0],
            num=num + (known.num if known else 0),
            tag=int(float(tag)),
            weight=int(weight),
            number=int(number),
            may_start=None if may_start == b"" else int(may_start),
        )
    return list(standings.values())


def event_of(entry: Sequence[Any]) -> Event:
    """Make an event from an entry of a stream."""
    fields = pairs_of(entry[1])
    sequence = int(entry[0].split(b"-")[0])
    return Event(sequence, float(fields["t"]), fields["k"].decode(), fields["p"], int(fields["s"]))


def upload_of(name: bytes | str, flat: Sequence[bytes]) -> Upload:
    """Make an upload from its hash."""
    fields = pairs_of(flat)
    return Upload(
        name=_text(name),
        owner=fields["owner"].decode(),
        media_type=fields["media_type"].decode(),
        offset=int(fields["offset"]),
        size=int(fields["size"]) if "size" in fields else None,
        digest=fields.get("digest"),
        finished=fields["finished"] == b"1",
        created=float(fields["created"]),
        written=float(fields["written"]),
    )


def part_of(member: bytes) -> UploadPart:
    """Make a part from its member in the sorted set."""
    offset, length, key = member.decode().split(" ", 2)
    return UploadPart(int(offset), int(length), key)


def option(value: bytes | str | float | None) -> bytes:
    """Return an optional argument."""
    if value is None:
        return b"-"
    return b"+" + (value if isinstance(value, bytes) else str(value).encode())


def flat_events(events: Iterable[NewEvent]) -> list[bytes | str]:
    """Return the arguments for new events."""
    return [each for event in events for each in (event.kind, event.payload)]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
