"""The limits of a server, which count after authentication, and what happens to calls that are refused."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from segue_runtime import logs
from segue_runtime.callers import EVERY_GRANT, LOCAL, Caller, Grant, listed
from segue_runtime.errors import PermissionDenied, TooManyCalls
from segue_runtime.rpc.admission.authentication import NoAuth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from segue_runtime.errors import SegueError
    from segue_runtime.rpc.admission.authentication import Authenticator, Connection
    from segue_runtime.tenants import RequestRates

# Probes and grpcurl use these without a token; they reveal nothing about compositions.
OPEN_SERVICES = frozenset(
    {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection"}
)
STRANGER: Final = Caller("", frozenset())
OF_ROLES: Final = frozenset({Grant.ROLE})
RETRY_S = 1.0
FREE_FAILURES = 5
FORGET_S = 60.0
SLOW_DOWN_S = 1.0
MAX_PEERS = 4096
MAX_DELAYED = 1000


class Admission:
    """Admits callers with a token to `max_calls` calls, and strangers to `max_watches` open streams of each address.

    Calls of health and reflection need no token. Those that end at once have no limit, so that probes are answered
    however many calls are open. `grants` names by service and method the grants of which one suffices; ADMIN always
    does. Services without an entry are for roles. A server for calls within one
    process has no limits, and its callers may do everything.
    """

    def __init__(
        self,
        of_users: Authenticator | None = None,
        of_roles: Authenticator | None = None,
        *,
        max_calls: int | None = None,
        max_watches: int | None = None,
        grants: Mapping[str, Mapping[str, frozenset[Grant]]] = MappingProxyType({}),
        rates: RequestRates | None = None,
    ) -> None:
        itself = NoAuth(Caller(LOCAL, EVERY_GRANT))
        self._of_users = of_users or itself
        self._of_roles = of_roles or itself
        self._grants = grants
        self._rates = rates
        self._max_calls = max_calls
        self._max_watches = max_watches
        self._num_calls = 0
        self._watches: Counter[str] = Counter()
        self._failures = TokenFailures()
        self._refusals = logs.BoundedLog(logs.get("rpc"))

    async def caller(self, service: str, metadata: Mapping[str, str | bytes], connection: Connection) -> Caller:
        """Return who calls a service, or raise Unauthenticated."""
        if service in OPEN_SERVICES:
            return STRANGER
        return await (self._of_users if service in self._grants else self._of_roles)(metadata, connection)

    def is_for_users(self, service: str) -> bool:
        """Return whether users call a service, and not roles or probes."""
        return service in self._grants

    def check(self, caller: Caller, service: str, method: str) -> None:
        """Raise PermissionDenied if the caller has no grant that suffices for a method."""
        if service in OPEN_SERVICES:
            return
        needed = self._grants[service].get(method, frozenset()) if service in self._grants else OF_ROLES
        accepted = needed | {Grant.ADMIN} if service in self._grants else needed
        if caller.grants.isdisjoint(accepted):
            raise PermissionDenied(
                f"{method} needs the grant {listed(needed, ' or ')}; your credentials have {listed(caller.grants)}",
                metadata={"method": f"{service}/{method}", "grant": listed(needed)},
            )

    def count(self, owner: str, service: str) -> None:
        """Count a call of a user, or raise QuotaExceeded when the owner sends too many in a minute."""
        if self._rates is not None and service in self._grants:
            self._rates.take(owner)

    @contextmanager
    def admitted(self, service: str, peer: str, *, is_stream: bool) -> Iterator[None]:
        """Count a call while it is open, or raise TooManyCalls."""
        if service not in OPEN_SERVICES:
            if self._max_calls is not None and self._num_calls >= self._max_calls:
                raise TooManyCalls(
                    f"this server has {self._max_calls} open calls; try again later", retry_after_s=RETRY_S
                )
            self._num_calls += 1
            try:
                yield
            finally:
                self._num_calls -= 1
        elif is_stream:
            if self._max_watches is not None and self._watches[peer] >= self._max_watches:
                raise TooManyCalls(
                    f"your address has {self._max_watches} open streams of health and reflection; close some",
                    retry_after_s=RETRY_S,
                )
            self._watches[peer] += 1
            try:
                yield
            finally:
                self._watches[peer] -= 1
                if not self._watches[peer]:
                    del self._watches[peer]
        else:
            yield

    async def slow_down(self, peer: str) -> None:
        """Wait before a refused token is answered, when the address sent several."""
        await self._failures.slow_down(peer)

    def refused(self, peer: str, owner: str, method: str, error: SegueError) -> None:
        """Log a refusal, at a bounded rate."""
        self._refusals.warning("refused", peer=peer, owner=owner, method=method, reason=error.reason)


class TokenFailures:
    """Wrong tokens by address, of the last minute and of a bounded number of addresses."""

    def __init__(self) -> None:
        self._by_peer: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._num_delayed = 0

    @property
    def num_peers(self) -> int:
        """The number of remembered addresses."""
        return len(self._by_peer)

    async def slow_down(self, peer: str) -> None:
        """Count a failure; wait if there were several. Beyond MAX_DELAYED waiting calls nothing waits."""
        now = time.monotonic()
        number, last = self._by_peer.pop(peer, (0, now))
        number = 1 if now - last > FORGET_S else number + 1
        self._by_peer[peer] = (number, now)
        if len(self._by_peer) > MAX_PEERS:
            self._by_peer.popitem(last=False)
        if number <= FREE_FAILURES or self._num_delayed >= MAX_DELAYED:
            return
        self._num_delayed += 1
        try:
            await asyncio.sleep(SLOW_DOWN_S)
        finally:
            self._num_delayed -= 1
