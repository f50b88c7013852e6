"""The connection to a gateway. A dead channel is replaced; calls that still use it are not cut off."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import grpc
import grpc.aio

from segue.composer.v1 import composer_pb2_grpc
from segue_client.channel import connect
from segue_client.errors import SegueError, from_rpc_error
from segue_client.transport.retry import RealClock, RetryBackoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue_client.channel import Access
    from segue_client.transport.retry import Clock

    Stub = composer_pb2_grpc.ComposerServiceAsyncStub

T = TypeVar("T")
FIRST_CONTACT_S: Final = 2.0
"""Retry limit of single calls before the first answer: probably there is no server."""


@dataclass
class _SharedChannel:
    channel: grpc.aio.Channel
    stub: Stub
    num_users: int = 0
    retired: bool = False


class StubHandle:
    """A stub for the duration of an `async with`.

    This is a class, not a generator: when a reader abandons a stream, the event loop closes all of its generators in
    any order.
    """

    def __init__(self, channel: _SharedChannel, release: Callable[[], Awaitable[None]]) -> None:
        self._channel = channel
        self._release = release

    async def __aenter__(self) -> Stub:
        self._channel.num_users += 1
        return self._channel.stub

    async def __aexit__(self, *_: object) -> None:
        self._channel.num_users -= 1
        await self._release()


class Connection:
    """Provides stubs, counts their users, and opens a new channel when the current one is dead."""

    def __init__(
        self,
        access: Access,
        *,
        patience_s: float,
        silence_s: float,
        clock: Clock | None = None,
        open_channel: Callable[[Access], grpc.aio.Channel] = connect,
    ) -> None:
        self.clock = clock or RealClock()
        self.patience_s = patience_s
        self.silence_s = silence_s
        self.answered = False
        self.metadata: tuple[tuple[str, str], ...] = (
            (("authorization", f"Bearer {access.token}"),) if access.token else ()
        )
        self._access = access
        self._open_channel = open_channel
        self._channels: list[_SharedChannel] = []
        self._current = self._open()

    def _open(self) -> _SharedChannel:
        channel = self._open_channel(self._access)
        stub = cast("Stub", composer_pb2_grpc.ComposerServiceStub(channel))
        shared = _SharedChannel(channel, stub)
        self._channels.append(shared)
        return shared

    def stub(self) -> StubHandle:
        """Return the stub as a context; its channel stays open until the context ends."""
        return StubHandle(self._current, self._close_unused)

    def renew(self, dead: Stub) -> None:
        """Use a new channel from the next call on, unless another caller has renewed it."""
        if self._current.stub is dead:
            self._current.retired = True
            self._current = self._open()

    async def _close_unused(self) -> None:
        for shared in [shared for shared in self._channels if shared.retired and not shared.num_users]:
            self._channels.remove(shared)
            await shared.channel.close()

    async def close(self) -> None:
        """Close all channels."""
        for shared in self._channels:
            await shared.channel.close()
        self._channels.clear()

    async def call(
        self,
        choose: Callable[[Stub], Callable[..., Awaitable[T]]],
        request: object,
        *,
        done: tuple[str, T] | None = None,
    ) -> T:
        """Make an idempotent unary call, and repeat it until there is an answer.

        `done` is for calls whose first answer was lost: the reason that a repetition gets, and the answer to return.
        """
        backoff = RetryBackoff(self.clock, self.patience_s if self.answered else min(FIRST_CONTACT_S, self.patience_s))
        num_tries = 0
        while True:
            num_tries += 1
            async with self.stub() as stub:
                failure = await self._try(stub, choose(stub), request)
            if not isinstance(failure, SegueError):
                return failure
            if done is not None and num_tries > 1 and failure.reason == done[0]:
                return done[1]
            await backoff.wait(failure)

    async def _try(self, stub: Stub, method: Callable[..., Awaitable[T]], request: object) -> T | SegueError:
        try:
            answer = await method(request, timeout=self.silence_s, metadata=self.metadata)
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                # The deadline is our own limit for a silent server.
                self.renew(stub)
                return silent(self.silence_s)
            # Only a Segue server sends reasons.
            self.answered = self.answered or bool(failure.reason)
            return failure
        self.answered = True
        # grpc.aio returns None for bytes that are not a message.
        return cast("Any", answer) if answer is not None else unreadable()


def silent(silence_s: float) -> SegueError:
    """Return the error for a silent server."""
    return SegueError(grpc.StatusCode.UNAVAILABLE, f"the server sent nothing for {silence_s:g} s")


def unreadable() -> SegueError:
    """Return the error for bytes that are not a message."""
    return SegueError(grpc.StatusCode.INTERNAL, "the server sent bytes that are not a message of the contract")


async def read_within(call: grpc.aio.UnaryStreamCall[Any, T], silence_s: float) -> T | None:
    """Read the next message of a stream; None at its end. Raises SegueError, also when the server is silent."""
    try:
        async with asyncio.timeout(silence_s):
            message = await call.read()
    except TimeoutError:
        raise silent(silence_s) from None
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    except asyncio.CancelledError:
        # grpc.aio reports a cancelled call, for example of a closing channel, in the same way as a cancelled task.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SegueError(grpc.StatusCode.CANCELLED, "the connection was closed") from None
    if message is grpc.aio.EOF:
        return None
    if message is None:
        raise unreadable()
    return cast("T", message)
