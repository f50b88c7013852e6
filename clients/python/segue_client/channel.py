"""Opens a channel to a gateway, with the options that audio streams need."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

if TYPE_CHECKING:
    from pathlib import Path

MAX_MESSAGE_BYTES = 1 << 20
# segue_client.transport.retry repeats calls. It knows more than a channel: what was damaged, and since when.
SERVICE_CONFIG: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}


@dataclass(frozen=True, slots=True)
class Access:
    """The address of a gateway and the credentials for it. Without TLS, a token goes to loopback or a Unix socket only.

    `tls_ca` are the certificates to trust instead of the system's. `tls_cert` and `tls_key` are a client certificate,
    for servers that require one. All are PEM files, and each of them turns TLS on.
    """

    target: str = "127.0.0.1:7300"
    token: str = ""
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both, or neither")

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the credentials for TLS; None without TLS."""
        if not (self.tls or self.tls_ca or self.tls_cert):
            return None
        trusted, key, own = [path.read_bytes() if path else None for path in (self.tls_ca, self.tls_key, self.tls_cert)]
        return grpc.ssl_channel_credentials(trusted, key, own)


def connect(access: Access) -> grpc.aio.Channel:
    """Open a channel. It sends nothing before the first call."""
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Without this, channels to one address share a connection: a new channel would be as dead as the old one.
        ("grpc.use_local_subchannel_pool", 1),
        # Short pauses between attempts to connect: by default they grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # By default, a stream without a reader is buffered completely, here and in the server.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 1 << 20),
        ("grpc.enable_http_proxy", int(not is_local(access.target))),
        ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ]
    credentials = access.credentials()
    if credentials is not None:
        return grpc.aio.secure_channel(access.target, credentials, options)
    if access.token and not is_local(access.target):
        message = f"{access.target}: a token needs TLS, except on this machine"
        raise ValueError(message)
    return grpc.aio.insecure_channel(access.target, options)


def is_local(target: str) -> bool:
    """Return whether a target is certainly this machine."""
    if target.startswith("unix:"):
        return True
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
