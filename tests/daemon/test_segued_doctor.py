"""`segued doctor` and the storage of a cluster: settings of Redis that can lose work, and a bucket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.daemon.segued_command import segued
from tests.fleet.storage import SAFE, as_flags
from tests.runtime.redis_server import running_redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.runtime.s3_server import S3Server

PASSWORD = "correct-horse"


def findings(folder: Path, *flags: str, code: int) -> dict[str, dict[str, Any]]:
    done = segued(folder, "doctor", "--json", "--home", str(folder / "home"), *flags)
    assert done.returncode == code, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return {found["check"]: found for found in map(json.loads, done.stdout.splitlines())}


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    assert findings(tmp_path, code=0)["artifacts"]["ok"]
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    (tmp_path / "file").write_bytes(b"")
    assert not findings(tmp_path, "--artifacts-path", str(tmp_path / "file"), code=1)["artifacts"]["ok"]


@pytest.mark.reference("redis-server", "versitygw")
def test_redis_and_a_bucket_that_lose_nothing_are_well(tmp_path: Path, s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    with running_redis(*SAFE, password=PASSWORD) as server:
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
        flags = as_flags({"store.backend": "redis", "store.url": url, **s3_server.flags(bucket)})
        found = findings(tmp_path, *flags, code=0)
    assert found["artifacts"]["text"] == f"the bucket {bucket} can be written, read and deleted"
    assert not [path for path in (s3_server.folder / bucket).rglob("*") if path.is_file() and "sgwtmp" not in str(path)]


@pytest.mark.reference("redis-server", "versitygw")
def test_settings_of_redis_that_lose_work_and_a_missing_bucket_are_found(tmp_path: Path, s3_server: S3Server) -> None:
    with running_redis("--maxmemory-policy", "allkeys-lru") as server:
        flags = as_flags({"store.backend": "redis", "store.url": server.url, **s3_server.flags("nowhere")})
        found = findings(tmp_path, *flags, code=1)
    assert {name for name, each in found.items() if not each["ok"]} == {"store", "artifacts"}
    assert "appendonly is no, appendfsync is everysec, maxmemory-policy is allkeys-lru" in found["store"]["text"]
    assert "redis-cli config set maxmemory-policy noeviction" in found["store"]["hint"]
