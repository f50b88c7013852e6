"""The pool in SQL: functions that run inside a transaction."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from segue_runtime.store import jobs
from segue_runtime.store.owners import usage
from segue_runtime.store.pool.assignment import Assignment, LineRow, PoolMember, Snapshot
from segue_runtime.store.pool.records import (
    KnownModel,
    KnownRenderer,
    LeasedSection,
    LeaseEnd,
    ModelKey,
    OfferedModel,
    RendererOffer,
    SectionLease,
    Warmth,
)
from segue_runtime.store.records import Fenced

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from segue_runtime.store.pool.records import LinePlace, WaitingSection
    from segue_runtime.store.threads import Transaction

NUM_SPEEDS: Final = 64
"""How many speeds of a model are kept."""
LONGEST_REST_S: Final = 60.0
MAX_LOSSES: Final = 3
"""After so many losses in a row a renderer rests, each time longer."""
FULL_REST_S: Final = 1.0
KEPT_S: Final = 600.0
"""How long an absent renderer's losses are remembered."""
LONGEST_OFFER_S: Final = 60.0
"""No offer is valid for longer: a time further ahead is from before the machine's last start."""

# A section counts while its claim holds the job: a killed conductor's sections and leases end with its job's lease.
ROWS: Final = """
SELECT sections.*, jobs.owner, coalesce(queue_owners.weight, 1) AS weight
FROM sections JOIN jobs ON jobs.id = sections.job LEFT JOIN queue_owners ON queue_owners.owner = jobs.owner
WHERE jobs.finished IS NULL AND jobs.epoch = sections.epoch AND jobs.claimed_by IS NOT NULL
AND ?1 BETWEEN jobs.lease_until - coalesce(jobs.lease_s, 0) - 1 AND jobs.lease_until
"""
PRESENT: Final = "?1 <= seen_until AND seen_until <= ?1 + ?2"


def offer(tx: Transaction, offered: RendererOffer, for_s: float, retention_s: float) -> None:
    """Write what a renderer offers; it counts as present for some seconds."""
    tx.cx.execute(
        "INSERT INTO renderers (id, address, server_name, accepts, slots, joined, stream, models, status, seen_until) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET address = excluded.address, "
        "server_name = excluded.server_name, accepts = excluded.accepts, slots = excluded.slots, "
        "joined = excluded.joined, stream = excluded.stream, models = excluded.models, status = excluded.status, "
        "seen_until = excluded.seen_until",
        (
            *(offered.renderer, offered.address, offered.server_name, offered.accepts, offered.slots, offered.joined),
            *(offered.stream, _models_text(offered), offered.status, tx.steady_now + min(for_s, LONGEST_OFFER_S)),
        ),
    )
    tx.cx.executemany(
        "INSERT INTO models (model, model_digest, engine_version, profile, seen) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (model, model_digest, engine_version) DO UPDATE SET profile = excluded.profile, "
        "seen = excluded.seen",
        [(*_names(each.key), each.profile, tx.now) for each in offered.models],
    )
    tx.cx.execute("DELETE FROM models WHERE seen < ?", (tx.now - retention_s,))
    tx.cx.execute(
        "DELETE FROM speeds WHERE (model, model_digest, engine_version) NOT IN "
        "(SELECT model, model_digest, engine_version FROM models)"
    )
    tx.cx.execute("DELETE FROM renderers WHERE seen_until < ?", (tx.steady_now - KEPT_S,))


def withdraw(tx: Transaction, renderer: str, stream: str = "") -> None:
    """Count a renderer as absent until it offers something again; with `stream`, only if it joined over that stream."""
    tx.cx.execute(
        "UPDATE renderers SET seen_until = ?1 WHERE id = ?2 AND (?3 = '' OR stream = ?3)",
        (tx.steady_now - 1, renderer, stream),
    )


def leases_at(cx: sqlite3.Connection, steady_now: float, renderer: str) -> tuple[int, list[LeasedSection]]:
    """Return the leases at a renderer, and the number of the last turn that a section of any renderer got."""
    rows = cx.execute(f"SELECT * FROM ({ROWS}) WHERE renderer = ?2", (steady_now, renderer))  # noqa: S608 - a constant
    return last_turn(cx), [LeasedSection(row["lease"], row["section_id"], row["model"]) for row in rows]


def last_turn(cx: sqlite3.Connection) -> int:
    """Return a number that grows with every lease."""
    (turn,) = cx.execute("SELECT coalesce(max(turn), 0) FROM line_turns").fetchone()
    return int(turn)


def renderers(cx: sqlite3.Connection, steady_now: float) -> list[KnownRenderer]:
    """List the present renderers."""
    leases = {
        row["renderer"]: row["num"]
        for row in cx.execute(
            f"SELECT renderer, count(*) AS num FROM ({ROWS}) WHERE renderer IS NOT NULL GROUP BY renderer",  # noqa: S608 - a constant
            (steady_now,),
        )
    }
    query = f"SELECT * FROM renderers WHERE {PRESENT} ORDER BY id"  # noqa: S608 - a constant
    return [
        KnownRenderer(_offer_of(row), leases.get(row["id"], 0))
        for row in cx.execute(query, (steady_now, LONGEST_OFFER_S))
    ]


def models(cx: sqlite3.Connection, steady_now: float) -> list[KnownModel]:
    """List the remembered models, in the order in which they were seen first."""
    served = {model.key for each in renderers(cx, steady_now) for model in each.offer.models}
    known = Assignment(Snapshot(members=(), rows=(), speeds=speeds(cx)))
    rows = cx.execute("SELECT * FROM models ORDER BY id").fetchall()
    return [KnownModel(_key_of(row), row["profile"], _key_of(row) in served, known.speed(_key_of(row))) for row in rows]


def enter(tx: Transaction, section: WaitingSection) -> int:
    """Put a section into the line; return its ticket."""
    job = jobs.need(tx.cx, section.job)
    jobs.check_epoch(job, section.epoch)
    cursor = tx.cx.execute(
        "INSERT INTO sections (job, epoch, section_id, model, model_digest, engine_version, due, audio_s, excluded) "
        "SELECT id, ?, ?, ?, ?, ?, ?, ?, ? FROM jobs WHERE name = ?",
        (
            *(section.epoch, section.section_id),
            *_names(section.key),
            *(tx.steady_now + section.due_in_s, section.audio_s, json.dumps(sorted(section.excluded)), section.job),
        ),
    )
    return int(cursor.lastrowid or 0)


def lease_of(cx: sqlite3.Connection, ticket: int) -> SectionLease | None:
    """Return the lease of a section, or None while it waits. Raises Fenced when it is not in the line any more."""
    row = cx.execute(
        "SELECT sections.lease, sections.was_warm, sections.renderer, address, server_name, joined FROM sections "
        "LEFT JOIN renderers ON renderers.id = sections.renderer WHERE sections.id = ?",
        (ticket,),
    ).fetchone()
    if row is None:
        raise Fenced("the section is no longer in the line", metadata={"ticket": str(ticket)})
    if row["lease"] is None:
        return None
    return SectionLease(
        ticket,
        row["lease"],
        row["renderer"],
        row["address"] or "",
        row["server_name"] or "",
        bool(row["was_warm"]),
        bool(row["joined"]),
    )


def leave(tx: Transaction, ticket: int, end: LeaseEnd, speed: float) -> None:
    """Take a section out of the line, or give its lease back, and remember what it showed about the renderer."""
    row = tx.cx.execute("DELETE FROM sections WHERE id = ? RETURNING *", (ticket,)).fetchone()
    if row is None or row["renderer"] is None:
        return
    owner, lease_until = tx.cx.execute("SELECT owner, lease_until FROM jobs WHERE id = ?", (row["job"],)).fetchone()
    usage.add_lease(tx, owner, row, lease_until)
    renderer = row["renderer"]
    if end is LeaseEnd.DONE:
        tx.cx.execute("UPDATE renderers SET num_losses = 0 WHERE id = ?", (renderer,))
        if speed > 0:
            _add_speed(tx.cx, _key_of(row), renderer, speed)
    elif end is LeaseEnd.FULL:
        tx.cx.execute("UPDATE renderers SET rests_until = ? WHERE id = ?", (tx.steady_now + FULL_REST_S, renderer))
    elif end is LeaseEnd.ABSENT:
        withdraw(tx, renderer)
    elif end is LeaseEnd.LOST:
        withdraw(tx, renderer)
        (num_losses,) = tx.cx.execute(
            "UPDATE renderers SET num_losses = num_losses + 1 WHERE id = ? RETURNING num_losses", (renderer,)
        ).fetchone() or (0,)
        if num_losses >= MAX_LOSSES:
            rest_s = min(LONGEST_REST_S, 2.0 ** min(10, num_losses - MAX_LOSSES + 1))
            tx.cx.execute("UPDATE renderers SET rests_until = ? WHERE id = ?", (tx.steady_now + rest_s, renderer))


def assign(tx: Transaction) -> list[int]:
    """Give free slots to waiting sections; return the tickets that got one."""
    if tx.cx.execute("SELECT 1 FROM sections WHERE lease IS NULL LIMIT 1").fetchone() is None:
        return []
    given = list(Assignment(_snapshot(tx.cx, tx.steady_now)).give())
    for each in given:
        tx.cx.execute(
            "UPDATE sections SET lease = ?, renderer = ?, was_warm = ?, leased_at = ? WHERE id = ?",
            (secrets.token_hex(16), each.renderer, each.was_warm, tx.steady_now, each.row.ticket),
        )
        tx.cx.execute(
            "INSERT INTO line_turns SELECT ?, coalesce(max(turn), 0) + 1, ? FROM line_turns WHERE true "
            "ON CONFLICT (owner) DO UPDATE SET turn = excluded.turn, served = excluded.served",
            (each.row.owner, each.tag),
        )
    return [each.row.ticket for each in given]


def places(cx: sqlite3.Connection, steady_now: float) -> dict[int, LinePlace]:
    """Return the place of every waiting section."""
    return Assignment(_snapshot(cx, steady_now)).places()


def num_waiting(cx: sqlite3.Connection, steady_now: float) -> dict[str, int]:
    """Count the waiting sections by model."""
    query = f"SELECT model, count(*) AS num FROM ({ROWS}) WHERE lease IS NULL GROUP BY model"  # noqa: S608 - a constant
    return {row["model"]: row["num"] for row in cx.execute(query, (steady_now,))}


def are_leased(cx: sqlite3.Connection, tickets: list[int]) -> set[int]:
    """Return those tickets that wait no longer: they have a lease, or are gone."""
    waiting = cx.execute(
        "SELECT id FROM sections WHERE lease IS NULL AND id IN (SELECT value FROM json_each(?))", (json.dumps(tickets),)
    )
    return set(tickets) - {row["id"] for row in waiting}


def _snapshot(cx: sqlite3.Connection, steady_now: float) -> Snapshot:
    members = [
        PoolMember(_offer_of(row), steady_now < row["rests_until"] <= steady_now + LONGEST_REST_S)
        for row in cx.execute(
            f"SELECT * FROM renderers WHERE {PRESENT} ORDER BY id",  # noqa: S608 - a constant
            (steady_now, LONGEST_OFFER_S),
        )
    ]
    rows = [
        LineRow(
            ticket=row["id"],
            owner=row["owner"],
            key=_key_of(row),
            due=row["due"],
            audio_s=row["audio_s"],
            excluded=frozenset(json.loads(row["excluded"])),
            renderer=row["renderer"],
            weight=row["weight"],
        )
        for row in cx.execute(ROWS, (steady_now,))
    ]
    served = {row["owner"]: row["served"] for row in cx.execute("SELECT * FROM line_turns")}
    return Snapshot(members, rows, served, speeds(cx))


def speeds(cx: sqlite3.Connection) -> dict[tuple[ModelKey, str], list[float]]:
    """Return the newest measured speeds, by model and renderer."""
    found: dict[tuple[ModelKey, str], list[float]] = {}
    for row in cx.execute("SELECT * FROM speeds"):
        found.setdefault((_key_of(row), row["renderer"]), []).append(row["speed"])
    return found


def _add_speed(cx: sqlite3.Connection, key: ModelKey, renderer: str, speed: float) -> None:
    names = _names(key)
    cx.execute(
        "INSERT INTO speeds (model, model_digest, engine_version, renderer, speed) VALUES (?, ?, ?, ?, ?)",
        (*names, renderer, speed),
    )
    cx.execute(
        "DELETE FROM speeds WHERE id IN (SELECT id FROM speeds WHERE model = ? AND model_digest = ? "
        "AND engine_version = ? ORDER BY id DESC LIMIT -1 OFFSET ?)",
        (*names, NUM_SPEEDS),
    )


def _key_of(row: sqlite3.Row) -> ModelKey:
    return ModelKey(row["model"], row["model_digest"], row["engine_version"])


def _models_text(offered: RendererOffer) -> str:
    return json.dumps(
        [[*_names(each.key), each.slots, int(each.warmth), each.load_s, each.speed] for each in offered.models]
    )


def _names(key: ModelKey) -> tuple[str, str, str]:
    return (key.model, key.model_digest, key.engine_version)


def _models_of(text: str) -> Iterator[OfferedModel]:
    each: list[Any]
    for each in json.loads(text):
        model, digest, version, slots, warmth, load_s, speed = each
        key = ModelKey(model, digest, version)
        yield OfferedModel(key, slots, warmth=Warmth(warmth), load_s=load_s, speed=speed)


def _offer_of(row: sqlite3.Row) -> RendererOffer:
    return RendererOffer(
        renderer=row["id"],
        address=row["address"],
        slots=row["slots"],
        models=tuple(_models_of(row["models"])),
        server_name=row["server_name"],
        accepts=bool(row["accepts"]),
        joined=bool(row["joined"]),
        stream=row["stream"],
        status=row["status"],
    )
