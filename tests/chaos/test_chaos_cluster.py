"""Short runs of `make chaos SHAPE=cluster`, always with the same orders and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.chaos.faults.processes import Kill
from tests.chaos.faults.stores import RedisKill, S3Errors
from tests.chaos.mesh.shapes import CLUSTER
from tests.chaos.report import printed
from tests.chaos.run import ChaosRun

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.run import Outcome

pytestmark = pytest.mark.reference("redis-server", "versitygw", "faketime")
SEED = 17
MINUTES = 5
"""Enough for a very slow machine; then no new piece begins."""
THREE = ([RedisKill(away_s=1)], [S3Errors(share=0.7, seconds=2)], [Kill("conductor-1", away_s=0)])


def check(outcome: Outcome) -> None:
    print(printed(outcome, SEED))
    assert outcome.pieces
    assert not outcome.lost
    assert not outcome.found


@pytest.mark.timeout(600)
async def test_a_cluster_survives_a_restart_of_redis_errors_of_s3_and_a_killed_conductor(tmp_path: Path) -> None:
    outcome = await ChaosRun(
        SEED, 4, MINUTES, tmp_path, print, shape=CLUSTER, num_faults=len(THREE), faults=THREE
    ).run()
    check(outcome)
    assert outcome.num_faults == len(THREE)


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_every_guarantee_holds_on_a_cluster_under_faults_of_every_kind(tmp_path: Path) -> None:
    outcome = await ChaosRun(SEED, 20, MINUTES * 4, tmp_path, print, shape=CLUSTER, num_faults=20).run()
    print(printed(outcome, SEED))
    assert outcome.num_faults == 20
    assert not outcome.found
