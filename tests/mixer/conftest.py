"""The mixer's fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.mixer.mixer_server import mixer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue.mixer.v1 import mixer_pb2_grpc


@pytest.fixture
async def stub(tmp_path: Path) -> AsyncIterator[mixer_pb2_grpc.MixerServiceAsyncStub]:
    async with mixer(tmp_path) as found:
        yield found
