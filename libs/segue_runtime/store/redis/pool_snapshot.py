"""The pool at one moment, as the Lua function answers it, and renderers' offers as text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from segue_runtime.store.pool.assignment import LineRow, PoolMember, Snapshot
from segue_runtime.store.pool.records import KnownRenderer, ModelKey, OfferedModel, RendererOffer, Warmth
from segue_runtime.store.redis.rows import pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, slots=True)
class LineEntry:
    """A section in the line with what its row does not say."""

    row: LineRow
    lease: str
    section_id: str


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """The pool at one moment; `version` changes with everything that the assignment depends on."""

    version: bytes
    members: Sequence[PoolMember]
    sections: Sequence[LineEntry]
    served: dict[str, int]
    """The tag of each owner when a section of it got a lease last."""
    remembered: Sequence[tuple[bytes, bytes, Sequence[bytes]]]
    """Models in the order in which they were seen first: key, profile, and measured speeds by renderer."""
    last_turn: int

    def snapshot(self, *, with_line: bool = True) -> Snapshot:
        """Return what the assignment needs."""
        speeds: dict[tuple[ModelKey, str], list[float]] = {}
        for text, _, measured in self.remembered:
            for each in measured:
                renderer, speed = json.loads(each)
                speeds.setdefault((key_of(text), renderer), []).append(float(speed))
        rows = [each.row for each in self.sections] if with_line else []
        return Snapshot(self.members, rows, self.served, speeds)

    def renderers(self) -> list[KnownRenderer]:
        """Return the present renderers with their leases."""
        leased = Counter(each.row.renderer for each in self.sections)
        return [KnownRenderer(each.offer, leased[each.offer.renderer]) for each in self.members]

    def models(self) -> Iterator[tuple[ModelKey, bytes, list[float]]]:
        """Yield the remembered models with their profiles and measured speeds."""
        for text, profile, measured in self.remembered:
            yield key_of(text), profile or b"", [float(json.loads(each)[1]) for each in measured]

    def num_waiting(self) -> Counter[str]:
        """Count the waiting sections by model."""
        return Counter(each.row.key.model for each in self.sections if each.row.renderer is None)


def snapshot_of(answer: list[Any]) -> PoolSnapshot:
    """Read the answer of the function."""
    version, present, sections, served, remembered, last_turn = answer
    members = [
        PoolMember(offer_of(renderer.decode(), offered, stream, status), is_resting == b"1")
        for renderer, offered, stream, status, is_resting in present
    ]
    return PoolSnapshot(
        version,
        sorted(members, key=lambda member: member.offer.renderer),
        [_section_of(each) for each in sections],
        {owner: int(tag) for owner, tag in pairs_of(served).items()},
        [(text, profile, measured) for text, profile, measured in remembered],
        int(last_turn),
    )


def _section_of(found: list[bytes | None]) -> LineEntry:
    # Fields at the end that are not set are missing.
    ticket, weight, owner, key, due, audio_s, excluded, renderer, lease, section_id = found
    row = LineRow(
        ticket=int(ticket or 0),
        owner=(owner or b"").decode(),
        key=key_of(key or b""),
        due=float(due or 0),
        audio_s=float(audio_s or 0),
        excluded=frozenset(json.loads(excluded or b"[]")),
        renderer=None if renderer is None else renderer.decode(),
        weight=int(weight or 1),
    )
    return LineEntry(row, (lease or b"").decode(), (section_id or b"").decode())


def key_text(key: ModelKey) -> str:
    """Return a model's key as text."""
    return json.dumps([key.model, key.model_digest, key.engine_version])


def key_of(text: bytes) -> ModelKey:
    """Return a model's key."""
    return ModelKey(*json.loads(text))


def offer_text(offered: RendererOffer) -> str:
    """Return an offer as text, without its stream, its status, and the profiles of its models."""
    models = [[key_text(each.key), each.slots, int(each.warmth), each.load_s, each.speed] for each in offered.models]
    return json.dumps([offered.address, offered.slots, models, offered.server_name, offered.accepts, offered.joined])


def offer_of(renderer: str, text: bytes, stream: bytes, status: bytes) -> RendererOffer:
    """Return an offer."""
    address, slots, models, server_name, accepts, joined = json.loads(text)
    offered = RendererOffer(renderer, address, slots, tuple(_model_of(each) for each in models))
    return replace(
        offered,
        server_name=server_name,
        accepts=accepts,
        joined=joined,
        stream=(stream or b"").decode(),
        status=status or b"",
    )


def _model_of(found: list[Any]) -> OfferedModel:
    key, slots, warmth, load_s, speed = found
    return OfferedModel(key_of(key), slots, warmth=Warmth(warmth), load_s=load_s, speed=speed)
