"""The result of a run as text: a table of guarantees, and the log of every piece that breaks one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.guarantees import GUARANTEES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.run import Outcome


def printed(outcome: Outcome, seed: int) -> str:
    """Return the report."""
    return "\n".join([*_violations(outcome, seed), *_table(outcome, seed)])


def _table(outcome: Outcome, seed: int) -> Iterator[str]:
    width = max(len(guarantee.name) for guarantee in GUARANTEES)
    total = len(outcome.pieces)
    yield ""
    yield f"{'guarantee':{width}}  held for"
    for guarantee in GUARANTEES:
        broken = sum(found.guarantee == guarantee.name for found in outcome.found)
        yield f"{guarantee.name:{width}}  {total - broken} of {total} pieces{'   BROKEN' * bool(broken)}"
    yield ""
    streams = sum(record.num_streams for piece in outcome.pieces for record in piece.records)
    watchers = sum(len(piece.records) for piece in outcome.pieces)
    claims = sum(record.count("started") for piece in outcome.pieces for record in piece.records[:1])
    retries = sum(record.count("section_retried") for piece in outcome.pieces for record in piece.records[:1])
    yield (
        f"seed {seed}: {total} pieces, {outcome.num_faults} faults, {claims} claims, {retries} attempts that failed, "
        f"{watchers} watchers with {streams} streams, {outcome.seconds:.0f} s"
    )
    if outcome.num_left_out:
        yield f"the time was over before {outcome.num_left_out} more pieces"


def _violations(outcome: Outcome, seed: int) -> Iterator[str]:
    logged: set[int] = set()
    for found in outcome.found:
        yield f"BROKEN, seed {seed}: {found.guarantee}: {found.piece or 'no piece'}"
        yield from (f"  {breach}" for breach in found.breaches)
        if found.piece is not None and id(found.piece) not in logged:
            logged.add(id(found.piece))
            longest = max(found.piece.records, key=lambda record: len(record.log))
            yield f"  its log, as the {longest.watcher} saw it:"
            yield from (f"    {line}" for line in longest.lines())
