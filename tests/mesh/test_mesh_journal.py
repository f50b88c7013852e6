"""The journal of a claim: several stages append at the same time, and no event is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from tests.mesh.shapes import opened_store

from segue.composer.v1 import composition_pb2, stream_pb2
from segue.mixer.v1 import mixer_pb2
from segue_conductor.journal import Journal
from segue_runtime.store import NewJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_runtime.store import Store

NAME = "compositions/a"
IDS = [f"s{index}" for index in range(8)]


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Store, Journal]]:
    """Open a store and the journal of a composition."""
    waiting = [composition_pb2.Section(section_id=each) for each in IDS]
    created = composition_pb2.Composition(name=NAME, sections=waiting).SerializeToString()
    async with opened_store(folder) as store:
        await store.create(NewJob(NAME, "composition", "ann", b"d", b"", created), queue_limit=9)
        claimed = await store.claim("c", 60)
        assert claimed is not None
        yield store, Journal(store, claimed)


@pytest.mark.parametrize("mixer_first", [False, True])
async def test_events_that_stages_append_concurrently_are_all_kept(tmp_path: Path, mixer_first: bool) -> None:
    async with opened(tmp_path) as (store, journal):
        rendered = [stream_pb2.SectionFinished(section_id=each, take=f"take {each}", reused=True) for each in IDS]
        joined = [mixer_pb2.SectionMixed(section_id=each, shift_frames=7) for each in IDS]
        appended = [stream_pb2.CompositionEvent(section_finished=each) for each in rendered]
        appended += [stream_pb2.CompositionEvent(section_mixed=each) for each in joined]
        await asyncio.gather(*(journal.append(event) for event in (reversed(appended) if mixer_first else appended)))
        job = await store.get(NAME)
        assert job is not None
        for composition in (journal.composition, composition_pb2.Composition.FromString(job.resource)):
            found = [(each.state, each.take, each.reused, each.shift_frames) for each in composition.sections]
            assert found == [(composition_pb2.SECTION_STATE_JOINED, f"take {each}", True, 7) for each in IDS]


async def test_the_journal_equals_the_log_after_a_stage_was_cancelled(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, journal):
        for section_id in IDS:
            finished = stream_pb2.SectionFinished(section_id=section_id, take=f"take {section_id}")
            stage = asyncio.create_task(journal.append(stream_pb2.CompositionEvent(section_finished=finished)))
            await asyncio.sleep(0)  # the store has the event, but has not answered yet
            stage.cancel()
            await asyncio.gather(stage, return_exceptions=True)
        await journal.append()
        job = await store.get(NAME)
        assert job is not None
        assert job.last_sequence == journal.sequence == len(IDS)
        for composition in (journal.composition, composition_pb2.Composition.FromString(job.resource)):
            assert [each.take for each in composition.sections] == [f"take {each}" for each in IDS]
