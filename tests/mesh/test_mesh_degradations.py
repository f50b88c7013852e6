"""A composition whose analyzer is missing: its degradation policy decides whether it is degraded or failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.mesh.harness import Heard, embedded, free_port, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue_client import SegueError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def no_analyzer() -> dict[str, object]:
    """Return the flags of a mesh without an analyzer; the conductor retries for a moment only."""
    return {"analyzer.address": f"127.0.0.1:{free_port()}", "conductor.patience": "0.5s"}


async def test_a_refused_degradation_fails_with_its_own_reason(tmp_path: Path, no_analyzer: dict[str, object]) -> None:
    async with embedded(tmp_path, no_analyzer) as (_, client), asyncio.timeout(120):
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(spec(seconds=4)), heard)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DEGRADATION_REFUSED")
    assert heard.composition.state == composition_pb2.STATE_FAILED
    assert not heard.composition.degradations
    assert "the master was not measured" in heard.composition.error.message


async def test_an_allowed_degradation_is_named_in_the_composition(
    tmp_path: Path, no_analyzer: dict[str, object]
) -> None:
    allowed = spec(seconds=4, degradation_policy=spec_pb2.DEGRADATION_POLICY_ALLOW)
    async with embedded(tmp_path, no_analyzer) as (_, client), asyncio.timeout(120):
        heard = await hear(client.compose(allowed))
    assert heard.composition.state == composition_pb2.STATE_DEGRADED
    assert [each.code for each in heard.composition.degradations] == ["not_analyzed"]
    assert [each.kind for each in heard.composition.outputs].count(composition_pb2.OUTPUT_KIND_MASTER) == 1
