"""Deleting compositions and uploads frees their space, takes included; what another composition needs stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import segued
from tests.mesh.harness import embedded, hear, spec
from tests.mesh.shapes import opened_artifacts, opened_store, shape
from tests.runtime.store_rows import job

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_conductor.render.take_store import take_folder
from segue_conductor.storage_cleaner import GRACE_S, ORPHANED_S, RECHECK_S, StorageCleaner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Store

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major, verse chorus", seconds=4)


def num_bytes(home: Path) -> int:
    return sum(path.stat().st_size for path in files_of(home))


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until a condition of the disk holds."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nothing announces what another task does to the disk
            await asyncio.sleep(0.05)


async def takes_of(artifacts: ArtifactStore) -> set[str]:
    return {each.key.split("/")[2] for each in await artifacts.list_files("takes")}


@pytest.mark.only_shape("embedded", "the size of a home is that of its database file")
async def test_a_home_whose_compositions_are_deleted_is_as_small_as_a_new_one(tmp_path: Path) -> None:
    async with embedded(tmp_path / "home"):
        pass
    new = num_bytes(tmp_path / "home")
    async with embedded(tmp_path / "home") as (_, client):
        parent = (await hear(client.compose(ASKED))).composition
        child = (await hear(client.compose(spec_pb2.CompositionSpec(parent=parent.name, midi=True)))).composition
        for each in (parent, child):
            await client.delete(each.name)
    done = await asyncio.to_thread(segued, tmp_path, "gc", "--json", "--home", str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    freed = json.loads(done.stdout)
    assert (freed["jobs"], freed["uploads"]) == (0, 0)
    assert not files_of(tmp_path / "home" / "artifacts")
    assert num_bytes(tmp_path / "home") <= new + 8192  # a page or two of the store


async def test_a_running_server_frees_the_takes_of_a_deleted_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue_conductor.conductor.CLEAN_EVERY_S", 0.05)
    async with embedded(tmp_path / "home") as (_, client):
        made = (await hear(client.compose(ASKED))).composition
        takes = shape().artifact_folder(tmp_path / "home") / "takes"
        assert list(takes.rglob("mix"))
        await client.delete(made.name)
        await until(lambda: not files_of(takes))


async def test_expired_compositions_are_deleted_with_their_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segue_conductor.conductor.CLEAN_EVERY_S", 0.05)
    artifacts = shape().artifact_folder(tmp_path / "home")
    async with embedded(tmp_path / "home", {"store.retention": "1s"}) as (_, client):
        await client.create(ASKED)
        await until(lambda: bool(list(artifacts.glob("takes/*/*/take.json"))))
        await until(lambda: not files_of(artifacts))


@contextlib.asynccontextmanager
async def storage(home: Path) -> AsyncIterator[tuple[Store, ArtifactStore]]:
    """Open store and artifacts of a home, as another process does."""
    async with opened_store(home) as store, opened_artifacts(home) as artifacts:
        yield store, artifacts


async def test_takes_stay_while_a_revision_or_a_queued_composition_needs_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with embedded(home) as (_, client), storage(home) as (store, artifacts), asyncio.timeout(90):
        cleaner = StorageCleaner(store, artifacts)
        parent = (await hear(client.compose(ASKED))).composition
        child = await client.create(spec_pb2.CompositionSpec(parent=parent.name))
        await client.delete(parent.name)
        await cleaner.clean()
        heard = await hear(client.watch(child.name, audio=BOTH))
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert all(section.reused for section in heard.composition.sections)
        await cleaner.clean()
        assert await takes_of(artifacts) == {section.take for section in parent.sections}
        again = (await hear(client.compose(ASKED))).composition
        assert all(section.reused for section in again.sections)


async def test_an_unneeded_take_is_kept_for_a_while_if_its_owner_is_busy(tmp_path: Path) -> None:
    """An unfinished composition may have just found a take and not recorded it yet."""
    now = 0.0
    async with storage(tmp_path) as (store, artifacts):
        cleaner = StorageCleaner(store, artifacts, clock=lambda: now)
        await store.create(job(resource=b""), queue_limit=9)
        for owner in ("ann", "bob"):
            await artifacts.put(f"{take_folder(owner)}/a/mix", b"1")
            await artifacts.put(f"{take_folder(owner)}/b/mix", b"1")
        assert (await cleaner.clean()).takes == 2  # bob's
        now += GRACE_S - 1
        assert (await cleaner.clean()).takes == 0
        await artifacts.touch(f"{take_folder('ann')}/b/mix")
        now += RECHECK_S
        assert (await cleaner.clean()).takes == 1
        assert await takes_of(artifacts) == {"b"}
        now += GRACE_S * 2
        assert (await cleaner.clean()).takes == 1


async def test_files_without_a_job_or_an_upload_are_deleted_a_day_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped conductor writes for a job that was deleted; a failover loses a job that has files."""
    async with storage(tmp_path) as (store, artifacts):
        known = await store.create(job(resource=b""), queue_limit=9)
        for name in (known.job.name, "compositions/lost", "uploads/lost"):
            await artifacts.put(f"{name}/content", b"123")
        assert (await StorageCleaner(store, artifacts).clean()).orphans == 0
        real = time.time()
        monkeypatch.setattr("segue_conductor.storage_cleaner.time.time", lambda: real + ORPHANED_S + 60)
        freed = await StorageCleaner(store, artifacts).clean()
        assert (freed.orphans, freed.artifact_bytes) == (2, 6)
        assert await artifacts.exists(f"{known.job.name}/content")


async def test_unneeded_takes_are_kept_within_the_quota_of_the_cache(tmp_path: Path) -> None:
    home = tmp_path / "home"
    flags: dict[str, object] = {"store.takes_bytes": "1GiB"}
    async with embedded(home, flags) as (_, client), storage(home) as (store, artifacts), asyncio.timeout(90):
        made = (await hear(client.compose(ASKED))).composition
        await client.delete(made.name)
        await StorageCleaner(store, artifacts, takes_bytes=1 << 30).clean()
        again = (await hear(client.compose(ASKED))).composition
        assert all(section.reused for section in again.sections)
        await client.delete(again.name)
        total = sum(each.num_bytes for each in await artifacts.list_files("takes"))
        freed = await StorageCleaner(store, artifacts, takes_bytes=total - 1).clean()
        assert freed.takes == 1
        assert freed.artifact_bytes == total - sum(each.num_bytes for each in await artifacts.list_files("takes"))
        assert len(await takes_of(artifacts)) == len(made.sections) - 1
