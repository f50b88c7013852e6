"""Stores of other releases: an older one is migrated, a newer one is refused and left as it is."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from importlib import metadata
from pathlib import Path

import pytest
from tests.daemon.segued_command import segued
from tests.runtime.store_rows import job, rows

from segue_runtime import errors
from segue_runtime.store import SqliteStore, schema
from segue_runtime.store.schema import VERSION, open_writer

VERSION_1 = Path(__file__).with_name("store_version_1.sql")
SHAPE = "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


def old_store(path: Path) -> None:
    """A store of version 1 with one job, its event, its request, a take, and an upload."""
    with contextlib.closing(sqlite3.connect(path)) as cx:
        cx.executescript("PRAGMA auto_vacuum = INCREMENTAL;\n" + VERSION_1.read_text())
        cx.executescript(
            """
            INSERT INTO jobs (name, kind, owner, request_id, labels, spec, resource, state, epoch, claims,
                last_sequence, created, finished, expires, time_limit_s)
            VALUES ('compositions/a', 'composition', 'ann', 'r1', '{"mood": "calm"}', x'01', x'02', 'SUCCEEDED', 3, 1,
                1, 10, 20, 1e12, 5);
            INSERT INTO jobs (name, kind, owner, labels, spec, resource, state, cancel_reason, created)
            VALUES ('compositions/w1', 'composition', 'ann', '{}', x'01', x'02', 'QUEUED', NULL, 10),
                ('compositions/w2', 'composition', 'bob', '{}', x'01', x'02', 'QUEUED', NULL, 10),
                ('compositions/w3', 'composition', 'bob', '{}', x'01', x'02', 'QUEUED', 'user', 10);
            INSERT INTO events VALUES (1, 1, 11, 'event', x'03');
            INSERT INTO requests VALUES ('ann', 'r1', x'64', 1);
            INSERT INTO takes VALUES ('ann', 'k', 'mix', 'takes/1', 0, 9, x'05', 480, '{}');
            INSERT INTO uploads VALUES ('uploads/u', 'ann', 'audio/flac', 4, 4, x'06', 1, 10);
            INSERT INTO uploads VALUES ('uploads/a', 'ann', 'audio/flac', 3, 4, NULL, 0, 20);
            """
        )


def shape(path: Path) -> list[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(path)) as cx:
        return [
            (kind, name, re.sub(r"\s*([,()])\s*", r"\1", " ".join(sql.split())))
            for kind, name, sql in cx.execute(SHAPE)
        ]


async def test_a_store_of_version_1_is_migrated_with_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    old_store(path)
    for _ in range(2):  # the second time there is nothing to migrate
        store = await SqliteStore.open(path)
        found = await store.get("compositions/a")
        assert found is not None
        assert (found.owner, found.labels, found.spec, found.resource) == ("ann", {"mood": "calm"}, b"\x01", b"\x02")
        assert (found.state, found.epoch, found.created, found.finished) == ("SUCCEEDED", 3, 10, 20)
        assert [event.payload for event in await store.read("compositions/a", 0)] == [b"\x03"]
        waiting = [f"compositions/w{number}" for number in (3, 1, 2)]
        assert await store.queue_positions(waiting) == {name: place for place, name in enumerate(waiting, start=1)}
        again = await store.create(job("compositions/b", request_id="r1"), queue_limit=9)
        assert (again.is_new, again.job.name) == (False, "compositions/a")
        upload = await store.get_upload("uploads/u")
        assert upload is not None
        assert (upload.offset, upload.digest, upload.finished) == (4, b"\x06", True)
        # Nothing says where the parts of an unfinished upload end: it begins again.
        page = await store.list_uploads("ann")
        assert [(each.name, each.offset) for each in page.uploads] == [("uploads/a", 0), ("uploads/u", 4)]
        await store.close()


async def test_a_migrated_store_is_like_a_new_one(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    old_store(old)
    for path in (old, new):
        store = await SqliteStore.open(path)
        await store.create(job("compositions/c", first_events=rows(b"1")), queue_limit=9)
        await store.close()
        with contextlib.closing(sqlite3.connect(path)) as cx:
            assert cx.execute("PRAGMA user_version").fetchone() == (VERSION,)
            assert cx.execute("SELECT release FROM schema_release").fetchall() == [(metadata.version("segue"),)]
            assert cx.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert shape(old) == shape(new)


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segue.db"
    old_store(path)
    before = shape(path)
    monkeypatch.setattr("segue_runtime.store.schema.MIGRATIONS", {**schema.MIGRATIONS, 2: "DROP TABLE nothing;"})
    with pytest.raises(sqlite3.OperationalError):
        open_writer(path)
    assert shape(path) == before


def newer_store(path: Path, *, release: str | None) -> bytes:
    with contextlib.closing(sqlite3.connect(path)) as cx:
        cx.execute("CREATE TABLE jobs (name TEXT)")
        if release is not None:
            cx.execute("CREATE TABLE schema_release (release TEXT NOT NULL)")
            cx.execute("INSERT INTO schema_release VALUES (?)", (release,))
        cx.execute(f"PRAGMA user_version = {VERSION + 1}")
        cx.commit()
    return path.read_bytes()


@pytest.mark.parametrize("release", ["9.1.0", None])
async def test_a_store_of_a_newer_release_is_refused_and_left_as_it_is(tmp_path: Path, release: str | None) -> None:
    path = tmp_path / "segue.db"
    before = newer_store(path, release=release)
    with pytest.raises(errors.StoreUnavailable, match=release or "a newer release") as refused:
        await SqliteStore.open(path)
    assert str(path) in refused.value.message
    assert metadata.version("segue") in refused.value.message
    assert refused.value.retry_after_s is None
    assert path.read_bytes() == before


def test_segued_refuses_a_newer_store_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    newer_store(tmp_path / "home" / "segue.db", release="9.1.0")
    ended = segued(tmp_path, "serve", "--home", "home", "--listen", "127.0.0.1:0", "--log-level", "error")
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "written by Segue 9.1.0" in line


def test_a_file_that_is_no_store_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "segue.db").write_bytes(b"not a database, " * 100)
    ended = segued(tmp_path, "serve", "--home", "home", "--listen", "127.0.0.1:0", "--log-level", "error")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


async def test_a_store_damaged_while_it_is_open_does_not_answer(tmp_path: Path) -> None:
    path = tmp_path / "segue.db"
    store = await SqliteStore.open(path)
    await store.create(job("compositions/a"), queue_limit=9)
    await store.close()
    store = await SqliteStore.open(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))
    with pytest.raises(errors.StoreUnavailable, match="damaged"):
        await store.get("compositions/a")
    await store.close()


async def test_the_check_of_a_large_store_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "segue.db"
    await (await SqliteStore.open(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as cx, cx:
        cx.executemany("INSERT INTO turns VALUES (2, ?, 1)", [(f"owner {n}",) for n in range(20_000)])
    monkeypatch.setattr(schema, "CHECK_S", 0.0)
    monkeypatch.setattr(schema, "STEPS_BETWEEN", 1)
    store = await SqliteStore.open(path)
    assert await store.get_upload("uploads/1") is None
    await store.close()
