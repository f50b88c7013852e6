"""The result of a run as text: tables of guarantees and recoveries, and the log of every piece that breaks one."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.report import quantile
from tests.chaos.guarantees import GUARANTEES, OF_THE_MESH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.run import Outcome


def printed(outcome: Outcome, seed: int) -> str:
    """Return the report."""
    return "\n".join([*_violations(outcome, seed), *_table(outcome, seed), *_recoveries(outcome)])


def _table(outcome: Outcome, seed: int) -> Iterator[str]:
    width = max(len(name) for name in (*(guarantee.name for guarantee in GUARANTEES), *OF_THE_MESH))
    checked = len(outcome.pieces) - len(outcome.lost)
    yield ""
    yield f"{'guarantee':{width}}  held for"
    for guarantee in GUARANTEES:
        broken = sum(found.guarantee == guarantee.name for found in outcome.found)
        yield f"{guarantee.name:{width}}  {checked - broken} of {checked} pieces{'   BROKEN' * bool(broken)}"
    for name in OF_THE_MESH:
        broken = any(found.guarantee == name for found in outcome.found)
        yield f"{name:{width}}  {'BROKEN' if broken else 'the mesh'}"
    yield ""
    streams = sum(record.num_streams for piece in outcome.pieces for record in piece.records)
    watchers = sum(len(piece.records) for piece in outcome.pieces)
    claims = sum(record.count("started") for piece in outcome.pieces for record in piece.records[:1])
    retries = sum(record.count("section_retried") for piece in outcome.pieces for record in piece.records[:1])
    restarts = sum(record.num_restarts for piece in outcome.pieces for record in piece.records)
    yield (
        f"seed {seed}: {len(outcome.pieces)} pieces, {outcome.num_faults} faults, {claims} claims, {retries} attempts "
        f"that failed, {watchers} watchers with {streams} streams, of which {restarts} were announced to begin again, "
        f"{outcome.seconds:.0f} s"
    )
    if outcome.lost:
        yield f"{len(outcome.lost)} pieces, accepted while a replica lagged, were lost with it and sent again"
    if full := sum(piece.has_failed_of_space for piece in outcome.pieces):
        yield f"{full} pieces failed since the artifact store was full, and were retried"
    if outcome.num_left_out:
        yield f"the time was over before {outcome.num_left_out} more pieces"


def _recoveries(outcome: Outcome) -> Iterator[str]:
    """Yield a row for each kind of fault: the longest pause between two events of each piece in work."""
    yield ""
    yield "| fault | times | pieces in work | longest pause p50 | p95 | of all |"
    yield "|---|---|---|---|---|---|"
    for kind, found in outcome.recoveries.by_kind().items():
        times_s = [each for interruption in found for each in interruption.pauses_s]
        figures = (
            [f"{each:.2f} s" for each in (statistics.median(times_s), quantile(times_s, 0.95), max(times_s))]
            if times_s
            else ["", "", ""]
        )
        yield f"| {kind} | {len(found)} | {len(times_s)} | {' | '.join(figures)} |"
    yield ""
    yield str(outcome.recoveries.longest)


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
