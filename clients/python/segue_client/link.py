"""The way to a gateway: a connection that is replaced when it is dead, without cutting those who still use it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import grpc
import grpc.aio

from segue.composer.v1 import composer_pb2_grpc
from segue_client.channel import connect
from segue_client.errors import SegueError, from_rpc_error
from segue_client.patience import Patience, RealClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from segue_client.channel import Access
    from segue_client.patience import Clock

    Stub = composer_pb2_grpc.ComposerServiceAsyncStub

T = TypeVar("T")
FIRST_CONTACT_S: Final = 2.0
"""Who was never answered by a server gives a single call up after this time: probably there is none."""


@dataclass
class _Line:
    channel: grpc.aio.Channel
    stub: Stub
    num_users: int = 0
    retired: bool = False


class Loan:
    """A stub for the length of an `async with`.

    A class, not a generator: a stream that its reader left half-read is closed by the loop at its end, together with
    every generator in it and in any order.
    """

    def __init__(self, line: _Line, give_back: Callable[[], Awaitable[None]]) -> None:
        self._line = line
        self._give_back = give_back

    async def __aenter__(self) -> Stub:
        self._line.num_users += 1
        return self._line.stub

    async def __aexit__(self, *_: object) -> None:
        self._line.num_users -= 1
        await self._give_back()


class Link:
    """Lends stubs, counts who uses them, and opens a new connection when one was found dead."""

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
        self._lines: list[_Line] = []
        self._line = self._open()

    def _open(self) -> _Line:
        channel = self._open_channel(self._access)
        stub = cast("Stub", composer_pb2_grpc.ComposerServiceStub(channel))
        line = _Line(channel, stub)
        self._lines.append(line)
        return line

    def stub(self) -> Loan:
        """Lend the stub; its connection stays open until it is given back."""
        return Loan(self._line, self._close_unused)

    def renew(self, dead: Stub) -> None:
        """Let the next call take a new connection, unless somebody else saw to that already."""
        if self._line.stub is dead:
            self._line.retired = True
            self._line = self._open()

    async def _close_unused(self) -> None:
        for line in [line for line in self._lines if line.retired and not line.num_users]:
            self._lines.remove(line)
            await line.channel.close()

    async def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            await line.channel.close()
        self._lines.clear()

    async def call(
        self,
        choose: Callable[[Stub], Callable[..., Awaitable[T]]],
        request: object,
        *,
        done: tuple[str, T] | None = None,
    ) -> T:
        """Make a unary call that does no harm when it is made twice; it is repeated until it was answered.

        `done` is the reason that a repetition gets when the first try worked and only its answer was lost, and what
        the answer was.
        """
        patience = Patience(self.clock, self.patience_s if self.answered else min(FIRST_CONTACT_S, self.patience_s))
        num_tries = 0
        while True:
            num_tries += 1
            async with self.stub() as stub:
                failure = await self._try(stub, choose(stub), request)
            if not isinstance(failure, SegueError):
                return failure
            if done is not None and num_tries > 1 and failure.reason == done[0]:
                return done[1]
            await patience.wait(failure)

    async def _try(self, stub: Stub, method: Callable[..., Awaitable[T]], request: object) -> T | SegueError:
        try:
            answer = await method(request, timeout=self.silence_s, metadata=self.metadata)
        except grpc.RpcError as error:
            failure = from_rpc_error(error)
            if failure.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                # The deadline is ours: it is how long a living server may say nothing.
                self.renew(stub)
                return silent(self.silence_s)
            # Only a Segue server gives reasons.
            self.answered = self.answered or bool(failure.reason)
            return failure
        self.answered = True
        # grpc.aio gives None for bytes that are no message.
        return cast("Any", answer) if answer is not None else unreadable()


def silent(silence_s: float) -> SegueError:
    """Return the error for a server that says nothing."""
    return SegueError(grpc.StatusCode.UNAVAILABLE, f"the server said nothing for {silence_s:g} s")


def unreadable() -> SegueError:
    """Return the error for bytes that are no message."""
    return SegueError(grpc.StatusCode.INTERNAL, "the server sent bytes that are no message of the contract")


async def read_within(call: grpc.aio.UnaryStreamCall[Any, T], silence_s: float) -> T | None:
    """Read the next message of a stream; None at its end. Raises SegueError, also when nothing comes in time."""
    try:
        async with asyncio.timeout(silence_s):
            message = await call.read()
    except TimeoutError:
        raise silent(silence_s) from None
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
    except asyncio.CancelledError:
        # grpc.aio ends a call that somebody cancelled, a closing channel say, in the same way as a cancelled task.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise SegueError(grpc.StatusCode.CANCELLED, "the connection was closed") from None
    if message is grpc.aio.EOF:
        return None
    if message is None:
        raise unreadable()
    return cast("T", message)
