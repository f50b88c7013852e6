"""Interruptions, damage and lost cursors in any order change neither events nor audio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sdk.fake_composer import (
    FRAME_BYTES,
    Break,
    FakeComposer,
    Piece,
    QuickClock,
    changed,
    chunk_of,
    is_audio,
    serving,
)

from segue.composer.v1 import stream_pb2
from segue_client import Client, Update, events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sdk.fake_composer import Message

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ACTIONS = ("cut", "silent end", "flip", "cursor", "again")


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[str, int, bool]]:
    """For each connection: the fault, the number of messages before it, and whether audio has longer chunks."""
    action = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 12), st.booleans())
    return draw(st.lists(action, max_size=6))


def merged(messages: list[Message]) -> Iterator[Message]:
    """Join neighbouring chunks, as a server does for a later watcher."""
    waiting: Message | None = None
    for message in messages:
        if waiting is not None and is_audio(message) and follows(waiting, message):
            whole = waiting.event.audio.data + message.event.audio.data
            sound = np.frombuffer(whole, "<f4").reshape(-1, 2)
            audio = chunk_of(sound, waiting.event.audio.first_frame, message.event.audio.stage)
            both = changed(message)
            both.event.audio.CopyFrom(audio)
            waiting = None
            yield both
            continue
        if waiting is not None:
            yield waiting
        waiting = message if is_audio(message) else None
        if waiting is None:
            yield message
    if waiting is not None:
        yield waiting


def follows(one: Message, other: Message) -> bool:
    first, second = one.event.audio, other.event.audio
    return first.stage == second.stage and first.first_frame + len(first.data) // FRAME_BYTES == second.first_frame


def with_faults(script: list[tuple[str, int, bool]], number: int, messages: list[Message]) -> Iterator[Message | Break]:
    kind, after, long = script[number - 1] if number <= len(script) else ("", 0, False)
    for place, message in enumerate(merged(messages) if long else messages):
        if not kind or place < after:
            yield message
            continue
        if kind == "flip" and is_audio(message):
            content = bytearray(message.event.audio.data)
            content[len(content) // 2] ^= 1
            yield changed(message, event__audio__data=bytes(content))
        elif kind == "cursor":
            yield changed(message, cursor="c!")
        elif kind == "again" and is_audio(message):
            yield message
            yield message
        if kind != "silent end":
            yield Break()
        return


def observed(updates: list[Update]) -> tuple[list[tuple[str, int]], dict[int, bytes]]:
    """Return the events without audio, and the audio with its rewinds applied."""
    sound: dict[int, bytearray] = {}
    for update in updates:
        if isinstance(update, events.Audio):
            sound.setdefault(update.stage, bytearray()).extend(update.body.data)
        elif isinstance(update, events.Rewound):
            del sound[update.body.stage][update.body.first_frame * FRAME_BYTES :]
    happened = [(update.kind, update.event.sequence) for update in updates if not isinstance(update, events.Audio)]
    # Events that are not in the log may be lost with a connection.
    return [each for each in happened if each[0] != "section_progress"], {k: bytes(v) for k, v in sound.items()}


@given(scripts(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_interruptions_do_not_change_events_and_audio(script: list[tuple[str, int, bool]], rewinds: bool) -> None:
    piece = Piece(rewinds=rewinds)

    async def listen() -> list[Update]:
        fake = FakeComposer(piece, lambda number, messages: with_faults(script, number, messages))
        async with serving(fake) as address, Client(address, clock=QuickClock()) as client, asyncio.timeout(20):
            return [update async for update in client.compose("calm piano", audio=BOTH)]

    happened, sound = observed(asyncio.run(listen()))
    assert happened == [
        (each.event.WhichOneof("event"), each.event.sequence)
        for each in piece.messages
        if not is_audio(each) and each.event.WhichOneof("event") != "section_progress"
    ]
    assert sound == {2: piece.draft.tobytes(), 3: piece.master.tobytes()}
