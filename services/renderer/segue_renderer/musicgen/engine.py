"""The engine: one thread that owns the device, admits and removes jobs between steps, and streams codes out."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import torch

from segue_renderer import torch_device
from segue_renderer.backend import StepCounts
from segue_renderer.musicgen.code_stream import CodeStream
from segue_renderer.scheduler import Scheduler
from segue_renderer.torch_device import is_out_of_memory, raise_out_of_memory_at
from segue_renderer.wait_queue import OVERTAKES_PER_SLOT
from segue_runtime import errors, failpoints, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from segue_renderer.musicgen.code_stream import WindowJob
    from segue_renderer.musicgen.runner import BatchRunner
    from segue_renderer.scheduler import Ticket

DEAD_AFTER_LOSSES = 2
T = TypeVar("T")
FIRST_CHUNK_FRAMES: Final = 10
CHUNK_FRAMES: Final = 25
STEP: Final = failpoints.declare("musicgen.step", "the device is lost at the next step")
STEP_MEMORY: Final = failpoints.declare("musicgen.step_memory", "the next step runs out of memory")
JOIN_MEMORY: Final = failpoints.declare("musicgen.join_memory", "there is no memory for a request that joins")
log = logs.get("musicgen")


@dataclass(frozen=True)
class _Call:
    """Run a function between two steps."""

    work: Callable[[], Any]
    result: Future[Any]


@dataclass(frozen=True)
class _Submit:
    """Add a job to the queue."""

    stream: CodeStream


@dataclass(frozen=True)
class _Cancel:
    """Remove a job; jobs that have ended are left alone."""

    stream: CodeStream


@dataclass(frozen=True)
class _Close:
    """End the thread."""


_Command: TypeAlias = _Call | _Submit | _Cancel | _Close


@dataclass
class _Inbox:
    """Commands from other threads."""

    commands: queue.SimpleQueue[_Command] = field(default_factory=queue.SimpleQueue)
    closing: bool = False


class Engine:
    """Continuous batching over a runner's slots.

    `make_runner` is called on the engine's own thread, and again after a lost device, if that still computes. All torch
    work of the process runs on that thread, one call between two steps, so nothing competes for cores or the device.
    """

    def __init__(self, make_runner: Callable[[], BatchRunner], slots: int, device: torch.device) -> None:
        self._make_runner = make_runner
        self._device = device
        self._runner: BatchRunner | None = None
        self._scheduler = Scheduler(slots, max_overtaken=OVERTAKES_PER_SLOT * slots)
        self._streams: dict[Ticket, CodeStream] = {}
        self._calls: list[_Call] = []
        self._inbox = _Inbox()
        self._thread = threading.Thread(target=self._run, name="musicgen", daemon=True)
        self._ended: errors.SegueError | None = None
        self._num_losses = 0
        self.device_is_dead = False
        """Whether the device computes no more for this process."""
        self.counts = StepCounts()

    # for other threads

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def call(self, work: Callable[[], T]) -> T:
        """Run a function on the engine's thread, between two steps."""
        entry = _Call(work, Future())
        self._inbox.commands.put(entry)
        self._raise_ended()
        result: T = await asyncio.wrap_future(entry.result)
        return result

    def submit(self, job: WindowJob) -> CodeStream:
        """Add a job to the queue."""
        stream = CodeStream(self, job)
        self._inbox.commands.put(_Submit(stream))
        self._raise_ended()
        return stream

    def _raise_ended(self) -> None:
        if self._ended is not None:
            raise self._ended

    def cancel(self, stream: CodeStream) -> None:
        """Remove a job before the next step; jobs that have ended are left alone."""
        self._inbox.commands.put(_Cancel(stream))

    async def close(self) -> None:
        """End the thread. Waiting callers receive ShuttingDown."""
        if self._thread.is_alive():
            self._inbox.commands.put(_Close())
            await asyncio.to_thread(self._thread.join)
        self._runner = None

    def resize(self, slots: int) -> None:
        """Set the number of slots, on the engine's thread, before anything runs."""
        self._scheduler = Scheduler(slots, max_overtaken=OVERTAKES_PER_SLOT * slots)

    @property
    def runner(self) -> BatchRunner:
        """The runner, made at the first use; for the engine's thread only."""
        if self._runner is None:
            self._runner = self._make_runner()
        return self._runner

    @property
    def busy_slots(self) -> int:
        """The number of slots in use."""
        return len(self._scheduler.running)

    @property
    def healthy(self) -> bool:
        """Whether the thread runs, and the device did not fail at the last two tries."""
        return self._ended is None and not self.device_is_dead and self._num_losses < DEAD_AFTER_LOSSES

    def queue_position(self, ticket: Ticket) -> int:
        """Return a ticket's position in the queue, from 1; 0 when it runs."""
        return self._scheduler.position(ticket)

    # the thread

    def _run(self) -> None:
        ended: errors.SegueError = errors.ShuttingDown("the renderer is shutting down", retry_after_s=2)
        try:
            torch_device.use(self._device)
            with torch.inference_mode():
                while not (self._inbox.closing or self.device_is_dead):
                    self._obey_commands()
                    self._call_one()
                    self._admit_one()
                    self._step()
            if self.device_is_dead:
                ended = errors.DeviceLost("the device computes no more; the process ends", retry_after_s=1)
        except BaseException as error:
            log.exception("the engine's thread ended")
            ended = errors.InternalError(f"the engine's thread ended: {error!r}")
        self._end(ended)

    def _end(self, ended: errors.SegueError) -> None:
        # Set before the inbox is emptied: a caller that adds a command later sees it.
        self._ended = ended
        with contextlib.suppress(queue.Empty):
            while True:
                command = self._inbox.commands.get_nowait()
                if isinstance(command, _Call):
                    self._calls.append(command)
                elif isinstance(command, _Submit):
                    self._streams[command.stream.ticket] = command.stream
        for stream in list(self._streams.values()):
            stream.put(ended)
        for entry in self._calls:
            if entry.result.set_running_or_notify_cancel():
                entry.result.set_exception(ended)

    def _obey_commands(self) -> None:
        idle = not (self._calls or self._streams)
        while not self._inbox.closing:
            try:
                command = self._inbox.commands.get(block=idle)
            except queue.Empty:
                return
            idle = False
            if isinstance(command, _Call):
                self._calls.append(command)
            elif isinstance(command, _Submit):
                self._streams[command.stream.ticket] = command.stream
                self._scheduler.submit(command.stream.ticket)
            elif isinstance(command, _Cancel):
                self._leave(command.stream)
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
        except BaseException as error:  # noqa: BLE001 - the caller must receive every error
            if is_out_of_memory(error):
                self._count(out_of_memory=1)
                entry.result.set_exception(_out_of_memory(error))
            elif torch_device.is_device_failure(error):
                self._lose_device(error)
                entry.result.set_exception(_device_lost(error))
            else:
                entry.result.set_exception(error)

    def _admit_one(self) -> None:
        ticket = self._scheduler.admit()
        if ticket is None or ticket.slot is None:
            return
        stream = self._streams[ticket]
        stream.begin()
        prompt = stream.job.prompt.shape[1]
        try:
            raise_out_of_memory_at(JOIN_MEMORY)
            runner = self.runner
            known = runner.pattern.known_columns(prompt)
            stream.sent_frames, stream.column = prompt, known
            laid = runner.pattern.layout(stream.job.prompt, prompt + stream.job.new_frames)
            runner.begin(ticket.slot, laid, known, stream.job.conditions, stream.job.sampling)
            self._count(joins=1)
        except Exception as error:  # noqa: BLE001 - a device fails in many ways; the other jobs must go on
            if is_out_of_memory(error):
                self._count(out_of_memory=1)
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
            raise_out_of_memory_at(STEP_MEMORY)
            runner = self.runner
            runner.step(self._scheduler.bucket, max(stream.column for stream in streams) + runner.prefix_positions)
            self._num_losses = 0
            for stream in streams:
                stream.column += 1
                self._send_codes(stream, runner)
            # A GPU works while the host goes on. Sending waits for it now and then, so that the sum is right.
            self._count(steps=1, rows=len(streams), step_seconds=time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001 - a device fails in many ways
            if is_out_of_memory(error):
                # The step has changed nothing yet: the others can go on without the newest job.
                self._count(out_of_memory=1)
                newest = max(streams, key=lambda stream: stream.ticket.arrival)
                self._fail(newest, _out_of_memory(error))
            else:
                self._lose_device(error)

    def _send_codes(self, stream: CodeStream, runner: BatchRunner) -> None:
        job, slot = stream.job, stream.ticket.slot
        prompt = job.prompt.shape[1]
        complete = min(runner.pattern.complete_frames(stream.column), prompt + job.new_frames)
        finished = complete == prompt + job.new_frames
        due = FIRST_CHUNK_FRAMES if stream.sent_frames == prompt else CHUNK_FRAMES
        if slot is None or (not finished and complete - stream.sent_frames < due):
            return
        if not runner.is_finite(slot):
            runner.clear(slot)
            self._fail(stream, errors.RenderInvalid("the model computed values that are not numbers"))
            return
        stream.put(runner.frames(slot, stream.sent_frames, complete - stream.sent_frames))
        stream.sent_frames = complete
        if finished:
            stream.put(None)
            self._leave(stream)

    def _leave(self, stream: CodeStream) -> None:
        if self._streams.pop(stream.ticket, None) is None:
            return
        slot = stream.ticket.slot
        move = self._scheduler.leave(stream.ticket)
        if slot is not None and self._runner is not None:
            self._runner.end(slot)
        if move is not None and self._runner is not None:
            moved = self._streams[move.ticket]
            self._runner.move(move.source, move.target, moved.column + self._runner.prefix_positions)

    def _fail(self, stream: CodeStream, error: errors.SegueError) -> None:
        log.warning("a request failed", request_id=stream.request_id, error=str(error))
        stream.put(error)
        self._leave(stream)

    def _count(self, **more: float) -> None:
        # Other threads read it: each value is new, never changed.
        self.counts = replace(self.counts, **{name: getattr(self.counts, name) + by for name, by in more.items()})

    def _lose_device(self, error: BaseException) -> None:
        """End the running jobs. Waiting jobs get a new runner on the same device, if it still computes."""
        log.error("the device failed", error=f"{type(error).__name__}: {error}")
        self._runner = None
        self._num_losses += 1
        self._count(device_losses=1)
        self.device_is_dead = not torch_device.computes(self._device)
        lost = _device_lost(error)
        for ticket in list(self._scheduler.running.values()):
            self._fail(self._streams[ticket], lost)


def _device_lost(error: BaseException) -> errors.SegueError:
    return errors.DeviceLost(f"the device failed: {error}", retry_after_s=1)


def _out_of_memory(error: BaseException) -> errors.SegueError:
    return errors.OutOfMemory(f"no memory for one more request: {error}", retry_after_s=2)
