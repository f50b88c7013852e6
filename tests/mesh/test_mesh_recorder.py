"""Audio that is made again after a crash: equal segments are kept, differences are announced, nothing is spliced."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.mesh.shapes import opened_artifacts, opened_store

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import composition_pb2, stream_pb2
from segue_composition.log_rows import SEGMENT, Segment
from segue_composition.model_catalog import ModelCatalog
from segue_composition.services import Services
from segue_conductor.claim import Claim
from segue_conductor.draft.segments import SegmentRecorder, recorded_segments
from segue_conductor.journal import Journal
from segue_conductor.timeline import Timeline, TimelineSection
from segue_runtime import errors
from segue_runtime.space import DiskSpace
from segue_runtime.store import NewJob

if TYPE_CHECKING:
    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Event, Job, Store

NAME = "compositions/a"
RATE = 100  # a segment of 1 s is 100 frames
FRAME_BYTES = 8
LENGTHS = (230, 150, 320)
SECTIONS = tuple(TimelineSection(f"s{index}", sum(LENGTHS[:index]), length) for index, length in enumerate(LENGTHS))
TIMELINE = Timeline(RATE, 2, SECTIONS)
DRAFT, MASTER = audio_pb2.STAGE_DRAFT, audio_pb2.STAGE_MASTER


def sound(versions: list[int]) -> bytes:
    """A piece with a version of each section."""
    parts = [np.full((length, 2), 1 + 10 * index + version, np.float32)
             for index, (length, version) in enumerate(zip(LENGTHS, versions, strict=True))]  # fmt: skip
    return np.concatenate(parts).tobytes()


class Listener:
    """A watcher that reads rows as they come and obeys rewinds; every frame must come in its place."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.attempts: dict[str, set[int]] = {}

    async def hear(self, rows: list[Event], artifacts: ArtifactStore) -> None:
        for row in rows:
            if row.kind == SEGMENT:
                segment = Segment.decode(row.payload)
                assert segment.first_frame * FRAME_BYTES == len(self.heard), "a gap, or frames twice"
                self.heard += await artifacts.read(segment.ref)
                self.attempts.setdefault(segment.section_id, set()).add(segment.attempt)
            else:
                event = stream_pb2.CompositionEvent.FromString(row.payload)
                rewound = event.draft_rewound
                del self.heard[rewound.first_frame * FRAME_BYTES :]


@given(tries=st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=3, max_size=3), st.integers(0, 700)), max_size=3),
       last=st.lists(st.integers(0, 1), min_size=3, max_size=3), cut=st.integers(1, 400),
       stage=st.sampled_from((DRAFT, MASTER)))  # fmt: skip
@example(tries=[([0, 0, 0], 700)], last=[1, 0, 0], cut=400, stage=MASTER)
@example(tries=[([0, 0, 0], 700)], last=[0, 1, 0], cut=7, stage=DRAFT)
@hypothesis_settings(max_examples=25, deadline=None)
def test_every_listener_has_the_last_version_of_each_section(
    tries: list[tuple[list[int], int]], last: list[int], cut: int, stage: audio_pb2.Stage.ValueType
) -> None:
    async def run(folder: Path) -> None:
        async with opened_store(folder) as store, opened_artifacts(folder) as artifacts:
            await check(store, artifacts)

    async def check(store: Store, artifacts: ArtifactStore) -> None:
        job = NewJob(NAME, "composition", "ann", b"d", b"", composition_pb2.Composition(name=NAME).SerializeToString())
        await store.create(job, queue_limit=9)
        listener, after = Listener(), 0
        for versions, stop_frame in [*tries, (last, sum(LENGTHS))]:
            claimed = await store.claim("c", 0.0)
            assert claimed is not None
            claim = claim_on(store, claimed, artifacts)
            await record(claim, sound(versions)[: stop_frame * FRAME_BYTES], cut, stage)
            rows = list(await store.read(NAME, after, 10_000))
            after = rows[-1].sequence if rows else after
            await listener.hear(rows, artifacts)
        late = Listener()
        await late.hear(list(await store.read(NAME, 0, 10_000)), artifacts)
        assert bytes(listener.heard) == bytes(late.heard) == sound(last)
        segments = await recorded_segments(claim, stage)
        kept = b"".join([await artifacts.read(each.ref) for each in segments])
        assert kept == sound(last)
        if all(versions == last for versions, _ in tries):
            assert all(attempts == {1} for attempts in late.attempts.values())

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_more_audio_than_the_timeline_has_is_an_error(tmp_path: Path) -> None:
    job = NewJob(NAME, "composition", "ann", b"d", b"", composition_pb2.Composition(name=NAME).SerializeToString())
    async with opened_store(tmp_path) as store, opened_artifacts(tmp_path) as artifacts:
        await store.create(job, queue_limit=9)
        claimed = await store.claim("c", 60)
        assert claimed is not None
        with pytest.raises(errors.InternalError, match="more audio"):
            await record(claim_on(store, claimed, artifacts), sound([0, 0, 0]) + bytes(FRAME_BYTES), 100, MASTER)


def claim_on(store: Store, job: Job, artifacts: ArtifactStore) -> Claim:
    peers: Any = None  # recording calls no other role
    services = Services(store, artifacts, peers, ModelCatalog(store), DiskSpace((), Path(), 0))
    return Claim(Journal(store, job), services, job.claims, deadline=0.0, patience_s=600)


async def record(claim: Claim, audio: bytes, cut: int, stage: audio_pb2.Stage.ValueType) -> None:
    """Record a stage from its start, as a conductor does until it is killed."""
    recorder = SegmentRecorder(claim, TIMELINE, stage, await recorded_segments(claim, stage))
    recorder.open_section(0)
    for start in range(0, len(audio), cut * FRAME_BYTES):
        await recorder.write(audio[start : start + cut * FRAME_BYTES])
