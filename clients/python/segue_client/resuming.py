"""One composition's events over any number of connections: it goes on from the last cursor, and checks what comes."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
import grpc.aio

from segue_client.errors import SegueError
from segue_client.events import Finished, Update, update_of
from segue_client.link import read_within
from segue_client.patience import Patience, passes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from segue.composer.v1 import stream_pb2
    from segue_client.checking import Place
    from segue_client.link import Link, Stub

    Response: TypeAlias = stream_pb2.ComposeResponse | stream_pb2.WatchCompositionResponse
    Call: TypeAlias = grpc.aio.UnaryStreamCall[Any, Any]

NUM_KEPT: Final = 4
"""How many cursors are kept to go back to, should the last one have been damaged on its way."""
STUCK_LIMIT_S: Final = 1800.0
END_LIMIT_S: Final = 1.0
"""How long a server may take to end a stream that is complete."""


class Resuming:
    """Opens a stream again when it breaks for a reason that passes.

    `begin` starts it the first time (Compose, with a request id that makes it safe to repeat; None: a watch of `name`
    from `cursor`); `resume` opens a watch of the named composition from a cursor.
    """

    def __init__(
        self,
        link: Link,
        begin: Callable[[Stub], Call] | None,
        resume: Callable[[Stub, str, str], Call],
        place: Place,
        *,
        cursor: str = "",
        stuck_limit_s: float = STUCK_LIMIT_S,
    ) -> None:
        self._link = link
        self._begin = begin
        self._resume = resume
        self._place = place
        self._stuck_limit_s = stuck_limit_s
        self._cursors = deque([cursor], maxlen=NUM_KEPT)
        self._repeats = False
        self._resumed = False
        self._pulse = Pulse()
        self.num_resumed = 0

    @property
    def name(self) -> str:
        """The composition's name; empty until its first event."""
        return self._place.name

    @property
    def cursor(self) -> str:
        """The place after the last event that was given out."""
        return self._cursors[-1]

    async def updates(self) -> AsyncGenerator[Update, None]:
        """Yield every event once; the last one is `finished`."""
        clock = self._link.clock
        patience = Patience(clock, self._link.patience_s)
        moved_at = clock.now()
        while True:
            async with self._link.stub() as stub:
                call = self._open(stub)
                try:
                    while response := await read_within(call, self._link.silence_s):
                        self._link.answered = True
                        update = self._take(response)
                        if update is None:
                            continue
                        patience.lives()
                        if self._pulse.moves(update):
                            patience.moved()
                            moved_at = clock.now()
                        elif clock.now() - moved_at > self._stuck_limit_s:
                            raise _stuck(self._stuck_limit_s)
                        given_at = clock.now()
                        yield update
                        # A reader may take its time; that is not the server's silence.
                        moved_at += clock.now() - given_at
                        if isinstance(update, Finished):
                            # Only the end comes now; who does not read it has cancelled the call in the server's eyes.
                            with contextlib.suppress(SegueError):
                                await read_within(call, END_LIMIT_S)
                            return
                    failure = SegueError(grpc.StatusCode.UNAVAILABLE, "the stream ended in the middle")
                except SegueError as error:
                    failure = error
                finally:
                    call.cancel()
                if passes(failure):
                    # A new connection costs little, and a dead one would cost the patience.
                    self._link.renew(stub)
            await patience.wait(self._after(failure))
            self.num_resumed += 1

    def _open(self, stub: Stub) -> Call:
        if self._begin is not None and not self._place.name:
            return self._begin(stub)
        return self._resume(stub, self._place.name, self.cursor)

    def _take(self, response: Response) -> Update | None:
        event = response.event
        if self._resumed and not self._repeats:
            # The cursor is what counts: the number of the last event may have been damaged unseen.
            self._place.sequence = min(self._place.sequence, event.sequence)
        self._resumed = False
        if self._repeats:
            rest = self._place.rest_of(event)
            if rest is None:
                return None
            event = rest
        self._place.check(response.cursor, event)
        # Only now: what was damaged at the end of a repetition begins the repetition again.
        self._repeats = False
        self._cursors.append(response.cursor)
        return update_of(response.cursor, event)

    def _after(self, failure: SegueError) -> SegueError:
        """Prepare the next try; a cursor that the server does not know is given up for the one before."""
        self._resumed = True
        if failure.reason != "INVALID_CURSOR" or len(self._cursors) < 2:
            return failure
        self._cursors.pop()
        self._repeats = True
        return SegueError(grpc.StatusCode.UNAVAILABLE, failure.message)


class Pulse:
    """Tells work that goes on from heartbeats that say nothing new."""

    def __init__(self) -> None:
        self._done: dict[tuple[str, int], float] = {}

    def moves(self, update: Update) -> bool:
        """Return whether an update shows that something got done."""
        event = update.event
        if update.kind == "checkpoint":
            # Fewer before us, or another state: each only once.
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
        f"nothing but heartbeats came for {limit_s:g} s; the composition may go on, watch it again later",
    )
