"""`segued tenant delete`: nothing of an owner is left, in rows or in files, and nothing of others is touched."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.daemon.segued_command import segued
from tests.runtime.redis_server import PROGRAM, running_redis
from tests.runtime.store_rows import LEASE_S, LIMIT, append, job, rows

from segue_composition.job_kinds import ALL
from segue_conductor.render.take_store import take_folder
from segue_runtime import errors
from segue_runtime.accounting.traffic import Traffic
from segue_runtime.artifacts import FolderArtifacts
from segue_runtime.settings import load
from segue_runtime.store import Delivered, SqliteStore, Store, Upload, UploadPart
from segue_runtime.store.pool.records import ModelKey, OfferedModel, RendererOffer, WaitingSection
from segued.serve.erasure import OwnerErasure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.runtime.redis_server import RedisServer
    from tests.runtime.s3_server import S3Server

    from segue_runtime.artifacts import ArtifactStore

GONE, KEPT = "zqxgone", "zqxkept"
"""The owners; everything of theirs has their names in it."""
KEY = ModelKey("band", "", "1")
FOLDERS = ("compositions", "separations", "uploads", "takes")
STATES = ("waiting", "running", "ended", "cancelling", "lost")


async def open_sqlite(home: Path) -> Store:
    return await SqliteStore.open(home / "segue.db")


@contextlib.asynccontextmanager
async def opened(home: Path, server: RedisServer | None = None) -> AsyncIterator[tuple[Store, ArtifactStore]]:
    """Open the stores of a home, as another process does."""
    from segue_runtime.store.redis import RedisStore

    store = await (RedisStore.open(server.url) if server else open_sqlite(home))
    artifacts = FolderArtifacts(home / "artifacts")
    try:
        yield store, artifacts
    finally:
        await artifacts.close()
        await store.close()


async def make_job(store: Store, artifacts: ArtifactStore, owner: str, number: int, state: str) -> None:
    kind = "separation" if number % 2 else "composition"
    name = f"{kind}s/{owner}{number}"
    made = job(
        name, owner, kind=kind, spec=f"prompt {owner}".encode(), resource=f"title {owner}".encode(),
        labels={"mood": owner}, request_id=f"r-{owner}-{number}", first_events=rows(f"accepted {owner}".encode()),
    )  # fmt: skip
    await store.create(made, queue_limit=LIMIT)
    await artifacts.put(f"{name}/segment", f"audio of {owner}".encode())
    if state == "waiting":
        return
    if state == "cancelling":
        await store.request_cancel(name, "user")
        return
    claimed = await store.claim_one(name, "c", 0.01 if state == "lost" else LEASE_S)
    assert claimed is not None
    await append(store, name, claimed.epoch, rows(f"lyrics {owner}".encode()), checkpoint=owner.encode())
    await store.set_progress(name, claimed.epoch, f"progress {owner}".encode())
    await store.pool.enter_line(WaitingSection(name, claimed.epoch, "verse", KEY, 0, 10))
    if state == "ended":
        delivered = Delivered(3, 40)
        await append(store, name, claimed.epoch, rows(owner.encode()), terminal=True, delivered=delivered)


async def make_upload(store: Store, artifacts: ArtifactStore, owner: str, number: int, state: str) -> None:
    name = f"uploads/{owner}{number}"
    await store.create_upload(Upload(name, owner, "audio/wav", size=8), quota_bytes=1 << 20, max_uploads=99)
    await artifacts.put(f"{name}/parts/1", owner.encode())
    await store.advance_upload(name, UploadPart(0, 8, f"{name}/parts/1"), quota_bytes=1 << 20)
    if state != "waiting":
        await store.finish_upload(name, owner.encode())
    if state == "cancelling":
        await store.discard_upload(name)


async def make_owner(store: Store, artifacts: ArtifactStore, owner: str, states: Sequence[str]) -> None:
    """Give an owner a bit of everything."""
    for number, state in enumerate(states):
        await make_job(store, artifacts, owner, number, state)
        await make_upload(store, artifacts, owner, number, state)
    await artifacts.put(f"{take_folder(owner)}/{'ab' * 32}/mix", f"take of {owner}".encode())
    await store.add_traffic({owner: Traffic(1, 2)})


async def end_running(store: Store, owner: str) -> None:
    """End the owner's cancelled jobs, as their conductor does."""
    while True:
        for each in (await store.list(owner, ALL)).jobs:
            if each.claimed_by == "c" and each.cancel_reason is not None:
                with contextlib.suppress(errors.SegueError):
                    await append(store, each.name, each.epoch, rows(owner.encode()), terminal=True)
        await asyncio.sleep(0.02)


async def erase(store: Store, artifacts: ArtifactStore, owner: str, server: RedisServer | None, home: Path) -> None:
    async with opened(home, server) as (conductors, _):
        ending = asyncio.create_task(end_running(conductors, owner))
        erased = await OwnerErasure(store, artifacts, owner, settle_s=0).run()
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
    assert erased.owner == owner


async def seen(store: Store, owner: str) -> object:
    """Return everything that the store tells of an owner."""
    jobs = (await store.list(owner, ALL, limit=100)).jobs
    logs = [await store.read(each.name, 0) for each in jobs]
    uploads = (await store.list_uploads(owner)).uploads
    parts = [await store.upload_parts(each.name) for each in uploads]
    today = (await store.usage(owner, dt_today(-1), dt_today())).days
    return (jobs, logs, uploads, parts, today, await store.stored_bytes(owner), await store.discarded_uploads(owner))


def dt_today(more_days: int = 0) -> dt.date:
    return dt.datetime.now(dt.UTC).date() + dt.timedelta(days=more_days)


def content(folder: Path) -> bytes:
    """Return the names and the bytes of all files."""
    found = b""
    for path in sorted(folder.rglob("*")):
        found += str(path.relative_to(folder)).encode() + b"\0"
        if path.is_file():
            found += path.read_bytes()
    return found


def files_of(folder: Path, owner: str = "") -> dict[str, bytes]:
    """Return the files of one owner, or all files."""
    found = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {path: each for path, each in found.items() if owner in path or take_folder(owner) in path}


@given(gone=st.lists(st.sampled_from(STATES), max_size=4), kept=st.lists(st.sampled_from(STATES), max_size=3))
@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_left_of_the_owner_and_nothing_is_missing_of_others_in_sqlite(
    gone: list[str], kept: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")

    async def run() -> None:
        async with opened(home) as (store, artifacts):
            await store.pool.offer(RendererOffer("r1", "r1:1", 2, [OfferedModel(KEY, 2, b"p")]), 60)
            await make_owner(store, artifacts, GONE, gone)
            await make_owner(store, artifacts, KEPT, kept)
            before, files = await seen(store, KEPT), files_of(home / "artifacts", KEPT)
            assert GONE.encode() in content(home)
            await erase(store, artifacts, GONE, None, home)
            assert GONE.encode() not in content(home)  # while it is open, too
            assert take_folder(GONE).encode() not in content(home)
            assert await seen(store, KEPT) == before
            assert files_of(home / "artifacts") == files
            assert len(files) == 1 + 2 * len(kept)

    asyncio.run(run())


def test_every_table_that_names_an_owner_is_erased(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as (store, artifacts):
            await store.pool.offer(RendererOffer("r1", "r1:1", 9, [OfferedModel(KEY, 9, b"p")]), 60)
            await make_owner(store, artifacts, GONE, STATES)
            with contextlib.closing(sqlite3.connect(tmp_path / "segue.db")) as cx:
                query = (
                    "SELECT m.name FROM sqlite_schema AS m JOIN pragma_table_info(m.name) AS c "
                    "WHERE m.type = 'table' AND c.name = 'owner'"
                )
                tables = [name for (name,) in cx.execute(query)]
                num_rows = "SELECT count(*) FROM {} WHERE owner = ?"
                named = [each for each in tables if cx.execute(num_rows.format(each), (GONE,)).fetchone()[0]]
                assert len(named) >= 6
                await erase(store, artifacts, GONE, None, tmp_path)
                left = {each: cx.execute(num_rows.format(each), (GONE,)).fetchone()[0] for each in tables}
                assert set(left.values()) == {0}, left

    asyncio.run(run())


@pytest.mark.reference("versitygw")
async def test_nothing_is_left_of_the_owner_in_a_bucket(tmp_path: Path, s3_server: S3Server) -> None:
    from segue_runtime.artifacts.s3 import S3Artifacts

    store = await SqliteStore.open(tmp_path / "segue.db")
    bucket = s3_server.new_bucket()
    artifacts = await asyncio.to_thread(S3Artifacts, s3_server.settings(bucket), tmp_path / "spool")
    for owner in (GONE, KEPT):
        await make_owner(store, artifacts, owner, ("ended", "waiting"))
    before = await seen(store, KEPT)
    erased = await OwnerErasure(store, artifacts, GONE, settle_s=0).run()
    assert (erased.jobs, erased.uploads, erased.takes) == (2, 2, 1)
    left = [each.key for folder in FOLDERS for each in await artifacts.list_files(folder)]
    assert len(left) == 5
    assert [key for key in left if GONE in key or take_folder(GONE) in key] == []
    assert await seen(store, KEPT) == before
    await artifacts.close()
    await store.close()


@pytest.mark.reference(PROGRAM)
def test_announcements_of_others_stay_with_their_groups(tmp_path: Path) -> None:
    async def run(server: RedisServer) -> None:
        async with opened(tmp_path, server) as (store, artifacts):
            for owner, number in ((KEPT, 0), (GONE, 0), (KEPT, 1), (GONE, 1), (KEPT, 2), (GONE, 2)):
                await make_job(store, artifacts, owner, number, "waiting")
            with server.client() as client:
                stream = "segue:announced"
                client.xgroup_create(stream, "scaler", "0")
                read: Any = client.xreadgroup("scaler", "one", {stream: ">"}, count=3)
                first = read[0][1][0][0]
                client.xack(stream, "scaler", first)
                await erase(store, artifacts, GONE, server, tmp_path)
                pending: Any = client.xpending_range(stream, "scaler", "-", "+", 9)
                assert [each["message_id"] for each in pending] == [read[0][1][2][0]]
                rest: Any = client.xreadgroup("scaler", "one", {stream: ">"}, count=9)
                assert [fields[b"name"].decode() for _, fields in rest[0][1]] == [f"compositions/{KEPT}2"]
                await make_job(store, artifacts, KEPT, 3, "waiting")
                rest = client.xreadgroup("scaler", "one", {stream: ">"}, count=9)
                assert [fields[b"name"].decode() for _, fields in rest[0][1]] == [f"separations/{KEPT}3"]

    with running_redis("--appendonly", "no") as server:
        asyncio.run(run(server))


@pytest.mark.reference(PROGRAM)
def test_nothing_is_left_of_the_owner_in_redis_and_its_files(tmp_path: Path) -> None:
    async def run(server: RedisServer) -> None:
        async with opened(tmp_path, server) as (store, artifacts):
            await store.pool.offer(RendererOffer("r1", "r1:1", 9, [OfferedModel(KEY, 9, b"p")]), 60)
            await make_owner(store, artifacts, GONE, STATES)
            await make_owner(store, artifacts, KEPT, STATES)
            before = await seen(store, KEPT)
            await erase(store, artifacts, GONE, server, tmp_path)
            assert await seen(store, KEPT) == before
            with server.client() as client:
                for key in client.scan_iter("*claimed*"):  # they end by themselves after half a minute
                    client.delete(key)
            dumped = {key: key + value for key, (value, _) in server.copy().items()}
            assert [key for key, each in dumped.items() if GONE.encode() in each] == []
            assert any(KEPT.encode() in each for each in dumped.values())
            await store.purge()  # for the keys that this test has deleted
        server.kill()
        assert GONE.encode() not in content(server.folder)
        assert GONE.encode() not in content(tmp_path)

    with running_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        asyncio.run(run(server))


def test_the_command_prints_what_it_erased_and_can_be_repeated(tmp_path: Path) -> None:
    async def make() -> None:
        async with opened(tmp_path / "home") as (store, artifacts):
            await make_owner(store, artifacts, GONE, ("ended", "waiting", "cancelling"))
            await make_owner(store, artifacts, KEPT, ("ended",))

    asyncio.run(make())
    home = ("--home", "home", "--log-audit-file", "audit.log")
    refused = segued(tmp_path, "tenant", "delete", GONE, *home)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    found = segued(tmp_path, "tenant", "delete", GONE, "--yes", "--json", *home)
    assert found.returncode == 0, found.stderr
    erased = json.loads(found.stdout)
    num_bytes = erased.pop("artifact_bytes")
    assert erased == {"owner": GONE, "cancelled": 2, "jobs": 3, "uploads": 3, "takes": 1, "usage_days": 1}
    assert num_bytes == 3 * len(f"audio of {GONE}") + 3 * len(GONE) + len(f"take of {GONE}")
    again = segued(tmp_path, "tenant", "delete", GONE, "--yes", *home)
    assert again.returncode == 0
    assert "0 uploads, 0 takes" in again.stdout
    without_file = segued(tmp_path, "tenant", "delete", GONE, "--yes", "--home", "home")
    assert '"event": "erase"' in without_file.stderr
    assert GONE.encode() not in content(tmp_path / "home")
    assert KEPT.encode() in content(tmp_path / "home")
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [(line["event"], line["by"], line["owner"], line["result"]) for line in lines] == [
        ("erase", "operator", GONE, "OK")
    ] * 2


def test_a_command_that_was_killed_is_run_again(tmp_path: Path) -> None:
    async def make() -> None:
        async with opened(tmp_path / "home") as (store, artifacts):
            await make_owner(store, artifacts, GONE, ("ended", "ended", "waiting"))

    asyncio.run(make())
    for number in (1, 2):
        killed = segued(
            tmp_path, "tenant", "delete", GONE, "--yes", "--home", "home",
            "--failpoints-active", f"tenant.after_delete=kill*{number}",
        )  # fmt: skip
        assert killed.returncode == -9
        assert GONE.encode() in content(tmp_path / "home")
    assert segued(tmp_path, "tenant", "delete", GONE, "--yes", "--home", "home").returncode == 0
    assert GONE.encode() not in content(tmp_path / "home")


async def test_work_that_does_not_end_is_refused_and_named(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, artifacts):
        await make_job(store, artifacts, GONE, 0, "running")
        with pytest.raises(errors.NotFinished, match=f"compositions/{GONE}0"):
            await OwnerErasure(store, artifacts, GONE, wait_s=0.3).run()
        assert len((await store.list(GONE, ["composition"])).jobs) == 1


async def test_new_work_of_the_owner_is_not_half_erased(tmp_path: Path) -> None:
    settings = load({"home": str(tmp_path)}, environ={}, folder=tmp_path)
    assert settings.home == tmp_path
    async with opened(tmp_path) as (store, artifacts):
        await make_job(store, artifacts, GONE, 0, "waiting")
        with pytest.raises(errors.NotFinished, match="credentials"):
            await store.erase(GONE)
        assert (await store.usage(GONE, dt_today(), dt_today())).days == []
