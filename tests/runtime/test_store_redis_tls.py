"""A store in Redis over TLS, alone and behind Sentinel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from tests.runtime.certificates import make_certificates
from tests.runtime.redis_server import PROGRAM, free_port, running_redis
from tests.runtime.store_rows import create

from segue_runtime import errors
from segue_runtime.store.redis import RedisStore

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.reference(PROGRAM, "openssl")
PASSWORD = "correct horse"


def tls_options(folder: Path, port: int) -> list[str]:
    """Let a server listen with TLS, too; callers need no certificate."""
    return [
        "--tls-port", str(port), "--tls-auth-clients", "no",
        "--tls-cert-file", str(folder / "own.pem"), "--tls-key-file", str(folder / "own.key"),
        "--tls-ca-cert-file", str(folder / "own.pem"),
    ]  # fmt: skip


async def test_tls_trusts_the_named_certificates_only(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    port = free_port()
    with running_redis("--appendonly", "no", *tls_options(tmp_path, port)):
        store = await RedisStore.open(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/own.pem")
        await create(store)
        await store.close()
        for trusted in (f"?ssl_ca_certs={tmp_path}/other.pem", ""):
            with pytest.raises(errors.StoreUnavailable):
                await RedisStore.open(f"rediss://127.0.0.1:{port}/0{trusted}")


async def test_sentinels_lead_to_the_primary_over_tls_alone(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    port, sentinel_port = free_port(), free_port()
    with (
        running_redis("--appendonly", "no", *tls_options(tmp_path, port), password=PASSWORD) as server,
        running_redis(
            *tls_options(tmp_path, sentinel_port), "--tls-replication", "yes", password=PASSWORD, sentinel_of=port
        ),
    ):
        url = f"rediss+sentinel://:{quote(PASSWORD)}@127.0.0.1:{sentinel_port}/main/1"
        store = await RedisStore.open(f"{url}?ssl_ca_certs={tmp_path}/own.pem")
        await create(store)
        await store.close()
        with server.client() as client:
            clients: Any = client
            clients.select(1)
            assert clients.exists("segue:job:compositions/a")
        # Foreign certificates, and addresses without TLS.
        for other in (f"{url}?ssl_ca_certs={tmp_path}/other.pem", url, url.replace("rediss", "redis")):
            with pytest.raises(errors.StoreUnavailable):
                await RedisStore.open(other)
    with pytest.raises(errors.StoreUnavailable, match="is not one of"):
        await RedisStore.open(f"redis+sentinel://127.0.0.1/main?ssl_ca_certs={tmp_path}/own.pem")
