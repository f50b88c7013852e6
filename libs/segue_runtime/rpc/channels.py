"""Channels to the other roles. Every call carries the request id, the token and the remaining time.

The channel is wrapped because grpc.aio's client interceptors wrap every streamed message, and do not reliably forward
the cancellation of a stream.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from segue_runtime import scope
from segue_runtime.rpc.addresses import is_loopback, is_unix
from segue_runtime.rpc.admission.role_tokens import RoleAccess
from segue_runtime.rpc.limits import LOOKAHEAD_BYTES, MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from google.protobuf.descriptor import ServiceDescriptor

    from segue_runtime.settings import PeersSettings

MAX_ATTEMPTS = 4
RECONNECT_MS = 1600
"""The longest pause between two tries to connect; gRPC varies it by a fifth."""


class ChannelError(Exception):
    """An address that must not be called with these settings; the text says what to do."""


def channel_options(
    services: Sequence[ServiceDescriptor] = (), *, proxy: bool = False, keepalive_s: float = 8
) -> list[tuple[str, int | str]]:
    """Return the options of a channel; unary methods of `services` are retried while the peer is unavailable."""
    answer_ms = round(keepalive_s * 500)
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", answer_ms),
        ("grpc.http2.ping_timeout_ms", answer_ms),  # without it, a dead connection goes unnoticed for a minute
        ("grpc.keepalive_permit_without_calls", 1),
        # By default the pauses grow to two minutes: a role that was away for long would stay away for minutes more.
        ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS // 4),
        ("grpc.max_reconnect_backoff_ms", RECONNECT_MS),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ("grpc.enable_http_proxy", int(proxy)),
        ("grpc.service_config", json.dumps(service_config(services))),
    ]


def service_config(services: Sequence[ServiceDescriptor]) -> dict[str, object]:
    """Return gRPC's service config: round robin, and retries of unary calls. Streams resume by cursor instead."""
    names = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if not method.client_streaming and not method.server_streaming
    ]
    retry = {
        "maxAttempts": MAX_ATTEMPTS,
        "initialBackoff": "0.3s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    return config | ({"methodConfig": [{"name": names, "retryPolicy": retry}]} if names else {})


def connect(
    address: str,
    access: RoleAccess | None = None,
    *,
    services: Sequence[ServiceDescriptor] = (),
    server_name: str = "",
    own_connection: bool = False,
) -> Channel:
    """Open a channel to HOST:PORT, dns:///HOST:PORT or unix:PATH. It connects with the first call.

    `server_name` is the name in the server's certificate, if that is not the host of the address. Channels to one
    address share a connection, except with `own_connection`.
    """
    access = access or RoleAccess()
    peers = access.peers
    inside = is_loopback(address)
    options = channel_options(services, proxy=not inside and peers.tls, keepalive_s=peers.keepalive_s)
    if server_name:
        options += [("grpc.default_authority", server_name), ("grpc.ssl_target_name_override", server_name)]
    if own_connection:
        options.append(("grpc.use_local_subchannel_pool", 1))
    if peers.tls and not is_unix(address):
        return Channel(grpc.aio.secure_channel(address, _credentials(peers), options), access.token)
    if access.token and not inside and not access.is_closed_network:
        raise ChannelError(
            f"{address}: a token is not sent without TLS; set peers.tls, or use --insecure on a closed network"
        )
    return Channel(grpc.aio.insecure_channel(address, options), access.token)


def _credentials(peers: PeersSettings) -> grpc.ChannelCredentials:
    def read(path: Path | None) -> bytes | None:
        return path.read_bytes() if path else None

    return grpc.ssl_channel_credentials(read(peers.tls_ca), read(peers.tls_key), read(peers.tls_cert))


class Channel(grpc.aio.Channel):
    """A channel whose calls carry request id and deadline of the current scope, and a token."""

    def __init__(self, inner: grpc.aio.Channel, token: str = "") -> None:
        self._inner = inner
        self._token = token

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._with_scope(self._inner.unary_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._with_scope(self._inner.unary_stream(method, *args, **kwargs))

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._with_scope(self._inner.stream_unary(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._with_scope(self._inner.stream_stream(method, *args, **kwargs))

    def _with_scope(self, callable_: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any = None, *, timeout: float | None = None, metadata: Any = None, **kwargs: Any) -> Any:
            here = scope.current()
            sent = [*(metadata or ())]
            if not any(key == scope.REQUEST_ID_KEY for key, _ in sent):
                sent.append((scope.REQUEST_ID_KEY, here.request_id if here else scope.new_request_id()))
            if self._token and not any(key == "authorization" for key, _ in sent):
                sent.append(("authorization", f"Bearer {self._token}"))
            # A float even when it is 0: for grpc.aio the integer 0 means no deadline.
            limit_s = scope.shortest(timeout, here.remaining_s() if here else None)
            return callable_(request, timeout=limit_s, metadata=tuple(sent), **kwargs)

        return call

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - the base class's signature
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close(None)
