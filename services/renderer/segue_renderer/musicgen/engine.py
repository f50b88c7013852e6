"""The engine: one thread that owns the device, joins and leaves requests between steps, and hands codes out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from segue_renderer.musicgen.code_stream import Stream
from segue_renderer.scheduler import Scheduler
from segue_renderer.wait_queue import PATIENCE
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.code_stream import Job
    from segue_renderer.musicgen.runner import Runner
    from segue_renderer.scheduler import Ticket

T = TypeVar("T")
FIRST_CHUNK_FRAMES: Final = 10
CHUNK_FRAMES: Final = 25
STEP: Final = failpoints.declare("musicgen.step", "the device is lost at the next step")
STEP_MEMORY: Final = failpoints.declare("musicgen.step_memory", "the next step runs out of memory")
JOIN_MEMORY: Final = failpoints.declare("musicgen.join_memory", "there is no memory for a request that joins")
log = logs.get("musicgen")


@dataclass
class _Call:
    work: Callable[[], Any]
    result: Future[Any]


@dataclass
class _Inbox:
    """What other threads ask for."""

    commands: queue.SimpleQueue[tuple[str, Any]] = field(default_factory=queue.SimpleQueue)
    closing: bool = False


class Engine:
    """Continuous batching over a runner's slots.

    `make_runner` is called on the engine's own thread, again after the device was lost. All torch work of the process
    runs on that thread, one call between two steps, so nothing competes for cores or device.
    """

    def __init__(self, make_runner: Callable[[], Runner], slots: int) -> None:
        self._make_runner = make_runner
        self._runner: Runner | None = None
        self._scheduler = Scheduler(slots, max_overtaken=PATIENCE * slots)
        self._streams: dict[Ticket, Stream] = {}
        self._calls: list[_Call] = []
        self._inbox = _Inbox()
        self._thread = threading.Thread(target=self._run, name="musicgen", daemon=True)
        self._ended: errors.SegueError | None = None
        self.num_steps = 0
        self.num_rows = 0
        self.step_seconds = 0.0

    # for other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def call(self, work: Callable[[], T]) -> T:
        """Run something on the engine's thread, between two steps."""
        entry = _Call(work, Future())
        self._inbox.commands.put(("call", entry))
        self._raise_ended()
        result: T = await asyncio.wrap_future(entry.result)
        return result

    def submit(self, job: Job) -> Stream:
        """Put a job into the line."""
        stream = Stream(self, job)
        self._inbox.commands.put(("submit", stream))
        self._raise_ended()
        return stream

    def _raise_ended(self) -> None:
        if self._ended is not None:
            raise self._ended

    def cancel(self, stream: Stream) -> None:
        """Take a job out before the next step; what has ended is left alone."""
        self._inbox.commands.put(("cancel", stream))

    async def close(self) -> None:
        """End the thread; whoever still waits is told."""
        if self._thread.is_alive():
            self._inbox.commands.put(("close", None))
            await asyncio.to_thread(self._thread.join)

    def resize(self, slots: int) -> None:
        """Set the number of slots, on the engine's thread, before anything runs."""
        self._scheduler = Scheduler(slots, max_overtaken=PATIENCE * slots)

    @property
    def runner(self) -> Runner:
        """The runner, made when it is needed; on the engine's thread only."""
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    @property
    def busy_slots(self) -> int:
        """How many slots are at work."""
        return len(self._scheduler.running)

    def place(self, ticket: Ticket) -> int:
        """Say which place in the line a ticket has."""
        return self._scheduler.position(ticket)

    # the thread

    def _run(self) -> None:
        ended: errors.SegueError = errors.ShuttingDown("the renderer is being stopped", retry_after_s=2)
        try:
            with torch.inference_mode():
                while not self._inbox.closing:
                    self._take_commands()
                    self._call_one()
                    self._admit_one()
                    self._step()
        except BaseException as error:
            log.exception("the engine's thread ended")
            ended = errors.InternalError(f"the engine's thread ended: {error!r}")
        self._end(ended)

    def _end(self, ended: errors.SegueError) -> None:
        # Before the inbox is emptied: whoever puts something in later sees it.
        self._ended = ended
        with contextlib.suppress(queue.Empty):
            while True:
                name, subject = self._inbox.commands.get_nowait()
                if name == "call":
                    self._calls.append(subject)
                elif name == "submit":
                    self._streams[subject.ticket] = subject
        for stream in list(self._streams.values()):
            stream.put(ended)
        for entry in self._calls:
            if entry.result.set_running_or_notify_cancel():
                entry.result.set_exception(ended)

    def _take_commands(self) -> None:
        idle = not (self._calls or self._streams)
        while not self._inbox.closing:
            try:
                name, subject = self._inbox.commands.get(block=idle)
            except queue.Empty:
                return
            idle = False
            if name == "call":
                self._calls.append(subject)
            elif name == "submit":
                self._streams[subject.ticket] = subject
                self._scheduler.submit(subject.ticket)
            elif name == "cancel":
                self._leave(subject)
            else:
                self._inbox.closing = True

    def _call_one(self) -> None:
        if not self._calls:
            return
        entry = self._calls.pop(0)
        if not entry.result.set_running_or_notify_cancel():
            return
        try:
            entry.result.set_result(entry.work())
        except BaseException as error:  # noqa: BLE001 - whoever asked must hear of it
            entry.result.set_exception(_out_of_memory(error) if is_out_of_memory(error) else error)

    def _admit_one(self) -> None:
        ticket = self._scheduler.admit()
        if ticket is None or ticket.slot is None:
            return
        stream = self._streams[ticket]
        stream.begin()
        prompt = stream.job.prompt.shape[1]
        try:
            trip(JOIN_MEMORY)
            runner = self.runner
            known = runner.pattern.known_columns(prompt)
            stream.sent_frames, stream.column = prompt, known
            laid = runner.pattern.layout(stream.job.prompt, prompt + stream.job.new_frames)
            runner.begin(ticket.slot, laid, known, stream.job.conditions, stream.job.sampling)
        except Exception as error:  # noqa: BLE001 - a device fails in many ways; others must live on
            if is_out_of_memory(error):
                self._fail(stream, _out_of_memory(error))
            else:
                self._lose_device(error)

    def _step(self) -> None:
        if not self._scheduler.running:
            return
        streams = [self._streams[ticket] for ticket in self._scheduler.running.values()]
        began = time.perf_counter()
        try:
            failpoints.hit(STEP)
            trip(STEP_MEMORY)
            runner = self.runner
            runner.step(self._scheduler.bucket, max(stream.column for stream in streams) + runner.prefix_positions)
            self.num_steps, self.num_rows = self.num_steps + 1, self.num_rows + len(streams)
            self.step_seconds += time.perf_counter() - began
            for stream in streams:
                stream.column += 1
                self._hand_out(stream, runner)
        except Exception as error:  # noqa: BLE001 - a device fails in many ways
            if is_out_of_memory(error):
                # The step changed nothing yet: without the newest request the others go on.
                newest = max(streams, key=lambda stream: stream.ticket.arrival)
                self._fail(newest, _out_of_memory(error))
            else:
                self._lose_device(error)

    def _hand_out(self, stream: Stream, runner: Runner) -> None:
        job, slot = stream.job, stream.ticket.slot
        prompt = job.prompt.shape[1]
        complete = min(runner.pattern.complete_frames(stream.column), prompt + job.new_frames)
        finished = complete == prompt + job.new_frames
        due = FIRST_CHUNK_FRAMES if stream.sent_frames == prompt else CHUNK_FRAMES
        if slot is None or (not finished and complete - stream.sent_frames < due):
            return
        if not runner.is_finite(slot):
            runner.clear(slot)
            self._fail(stream, errors.RenderInvalid("the model gave values that are not numbers"))
            return
        stream.put(runner.frames(slot, stream.sent_frames, complete - stream.sent_frames))
        stream.sent_frames = complete
        if finished:
            stream.put(None)
            self._leave(stream)

    def _leave(self, stream: Stream) -> None:
        if self._streams.pop(stream.ticket, None) is None:
            return
        move = self._scheduler.leave(stream.ticket)
        if move is not None and self._runner is not None:
            moved = self._streams[move.ticket]
            self._runner.move(move.source, move.target, moved.column + self._runner.prefix_positions)

    def _fail(self, stream: Stream, error: errors.SegueError) -> None:
        log.warning("a request failed", error=str(error))
        stream.put(error)
        self._leave(stream)

    def _lose_device(self, error: Exception) -> None:
        """End what was running; who waits gets a fresh start on the same device, if it still works."""
        log.error("the device failed", error=f"{type(error).__name__}: {error}")
        self._runner = None
        lost = errors.DeviceLost(f"the device failed: {error}", retry_after_s=1)
        for ticket in list(self._scheduler.running.values()):
            self._fail(self._streams[ticket], lost)


def trip(place: str) -> None:
    """Run out of memory here when a test says so."""
    try:
        failpoints.hit(place)
    except failpoints.FailpointError as error:
        raise torch.OutOfMemoryError(str(error)) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory from other failures; on the CPU torch raises a plain RuntimeError for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _out_of_memory(error: BaseException) -> errors.SegueError:
    return errors.OutOfMemory(f"no memory for one more request: {error}", retry_after_s=2)
