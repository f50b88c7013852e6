"""The events of one composition over any number of connections: resumed at the last cursor, and checked."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import grpc.aio

from segue_client.errors import SegueError
from segue_client.events import Finished, Update, update_of
from segue_client.transport.connection import read_within
from segue_client.transport.retry import RetryBackoff, is_temporary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from segue.composer.v1 import stream_pb2
    from segue_client.transport.connection import Connection, Stub
    from segue_client.transport.stream_check import StreamPosition

    Response: TypeAlias = stream_pb2.ComposeResponse | stream_pb2.WatchCompositionResponse
    Call: TypeAlias = grpc.aio.UnaryStreamCall[Any, Any]

NUM_KEPT: Final = 4
"""Number of cursors that are kept, in case the last one is damaged."""
STUCK_LIMIT_S: Final = 1800.0
END_LIMIT_S: Final = 1.0
"""Longest wait for the end of a stream after its last event."""


class ResumingStream:
    """A stream that is opened again after a temporary failure.

    `begin` opens it the first time: Compose, whose request id makes a repetition safe. None means a watch of the
    composition from `cursor`. `resume` opens a watch of a named composition from a cursor.
    """

    def __init__(
        self,
        connection: Connection,
        begin: Callable[[Stub], Call] | None,
        resume: Callable[[Stub, str, str], Call],
        position: StreamPosition,
        *,
        cursor: str = "",
        stuck_limit_s: float = STUCK_LIMIT_S,
    ) -> None:
        self._connection = connection
        self._begin = begin
        self._resume = resume
        self._position = position
        self._stuck_limit_s = stuck_limit_s
        self._cursors = deque([cursor], maxlen=NUM_KEPT)
        self._repeats = False
        self._resumed = False
        self._progress = ProgressTracker()
        self.num_resumed = 0

    @property
    def name(self) -> str:
        """The composition's name; empty until its first event."""
        return self._position.name

    @property
    def cursor(self) -> str:
        """The cursor of the last event."""
        return self._cursors[-1]

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield every event once; the last one is `finished`."""
        clock = self._connection.clock
        backoff = RetryBackoff(clock, self._connection.patience_s)
        moved_at = clock.now()
        while True:
            async with self._connection.stub() as stub:
                call = self._open(stub)
                try:
                    while response := await read_within(call, self._connection.silence_s):
                        self._connection.answered = True
                        update = self._checked_update(response)
                        if update is None:
                            continue
                        backoff.record_message()
                        if self._progress.is_progress(update):
                            backoff.record_progress()
                            moved_at = clock.now()
                        elif clock.now() - moved_at > self._stuck_limit_s:
                            raise _stuck(self._stuck_limit_s)
                        given_at = clock.now()
                        yield update
                        # The time of a slow reader is not silence of the server.
                        moved_at += clock.now() - given_at
                        if isinstance(update, Finished):
                            # Read the end of the stream as well: otherwise the server sees a cancelled call.
                            with contextlib.suppress(SegueError):
                                await read_within(call, END_LIMIT_S)
                            return
                    failure = SegueError(grpc.StatusCode.UNAVAILABLE, "the stream ended before its last event")
                except SegueError as error:
                    failure = error
                finally:
                    call.cancel()
                if is_temporary(failure):
                    # A new channel costs little; retries on a dead one would use up the limit.
                    self._connection.renew(stub)
            await backoff.wait(self._after(failure))
            self.num_resumed += 1

    def _open(self, stub: Stub) -> Call:
        if self._begin is not None and not self._position.name:
            return self._begin(stub)
        return self._resume(stub, self._position.name, self.cursor)

    def _checked_update(self, response: Response) -> Update | None:
        event = response.event
        if self._resumed and not self._repeats:
            # The cursor decides: the sequence number of the last event may be damaged without notice.
            self._position.sequence = min(self._position.sequence, event.sequence)
        self._resumed = False
        if self._repeats:
            rest = self._position.without_known(event)
            if rest is None:
                return None
            event = rest
        self._position.check(response.cursor, event)
        # Only after the check: damage at the end of a repetition must repeat it again.
        self._repeats = False
        self._cursors.append(response.cursor)
        return update_of(response.cursor, event)

    def _after(self, failure: SegueError) -> SegueError:
        """Prepare the next retry; an unknown cursor is replaced by the one before it."""
        self._resumed = True
        if failure.reason != "INVALID_CURSOR" or len(self._cursors) < 2:
            return failure
        self._cursors.pop()
        self._repeats = True
        return SegueError(grpc.StatusCode.UNAVAILABLE, failure.message)


class ProgressTracker:
    """Distinguishes progress of the work from heartbeats without news."""

    def __init__(self) -> None:
        self._done: dict[tuple[str, int], float] = {}

    def is_progress(self, update: Update) -> bool:
        """Return whether an update shows progress."""
        event = update.event
        if update.kind == "checkpoint":
            # A better queue position, or a new state; each counts once.
            return self._is_more((f"state {event.checkpoint.state}", 0), -float(event.checkpoint.queue_position))
        if update.kind == "section_progress":
            progress = event.section_progress
            return self._is_more((progress.section_id, event.plan_version), progress.fraction_done)
        self._done.clear()
        return True

    def _is_more(self, key: tuple[str, int], value: float) -> bool:
        if key in self._done and value <= self._done[key]:
            return False
        self._done[key] = value
        return True


def _stuck(limit_s: float) -> SegueError:
    return SegueError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"no progress for {limit_s:g} s, only heartbeats; the composition may go on, watch it again later",
    )
