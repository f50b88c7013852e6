"""A short run of `make chaos`, always with the same orders and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.report import printed
from tests.chaos.run import ChaosRun

if TYPE_CHECKING:
    from pathlib import Path

SEED = 433
"""Its first strikes have faults of every kind."""
NUM_PIECES = 12
MINUTES = 5
"""Enough for a very slow machine; then no new piece begins."""


@pytest.mark.timeout(1200)
async def test_every_guarantee_holds_under_faults(tmp_path: Path) -> None:
    outcome = await ChaosRun(SEED, NUM_PIECES, MINUTES, tmp_path, print).run()
    print(printed(outcome, SEED))
    assert outcome.pieces
    assert outcome.num_faults
    assert not outcome.found
