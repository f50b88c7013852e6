"""Watches a fake composer and checks that the received piece is correct."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from tests.sdk.fake_composer import FakeComposer, Piece, QuickClock, serving

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import stream_pb2
from segue_client import Client, Update, events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
TIME_LIMIT_S = 20
SILENCE_S = 0.3
"""For tests of silence only: a busy machine may be silent for this long as well."""


def client_of(address: str, silence_s: float = 30.0) -> Client:
    return Client(address, patience_s=60, silence_s=silence_s, stuck_limit_s=0.5, clock=QuickClock())


async def all_of(stream: AsyncIterator[Update]) -> list[Update]:
    async with asyncio.timeout(TIME_LIMIT_S):
        return [update async for update in stream]


async def listen(fake: FakeComposer, silence_s: float = 30.0) -> list[Update]:
    async with serving(fake) as address, client_of(address, silence_s) as client:
        return await all_of(client.compose("calm piano", audio=BOTH))


def sound_of(
    updates: Iterable[Update], stage: audio_pb2.Stage.ValueType
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    found = [update.samples for update in updates if isinstance(update, events.Audio) and update.stage == stage]
    return np.concatenate(found)


def check(updates: list[Update], piece: Piece) -> None:
    assert [update.event.sequence for update in updates] == [each.event.sequence for each in piece.messages]
    assert np.array_equal(sound_of(updates, audio_pb2.STAGE_MASTER), piece.master)
    if not piece.rewinds:
        assert np.array_equal(sound_of(updates, audio_pb2.STAGE_DRAFT), piece.draft)
