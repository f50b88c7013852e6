"""How a composition comes along: bars on a terminal, lines in a log, JSON for scripts."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Protocol

from google.protobuf import json_format
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_music import codec, theory, timing
from segued.show import clock, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Update

WORDS = {
    composition_pb2.STATE_UNSPECIFIED: "starting",
    composition_pb2.STATE_QUEUED: "waiting",
    composition_pb2.STATE_PLANNING: "planning",
    composition_pb2.STATE_RENDERING: "playing",
    composition_pb2.STATE_MASTERING: "mastering",
}


class Progress(Protocol):
    """Shows updates between `with` and its end, and the result after it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, update: Update) -> None:
        """Show what happened."""
        ...

    def done(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Show the result."""
        ...


def make_progress(*, as_json: bool, quiet: bool) -> Progress:
    """Choose how to show it."""
    if as_json:
        return JsonProgress()
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, update: Update) -> None:
        """Show nothing."""

    def done(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Show nothing."""


class JsonProgress(Silent):
    """One JSON object a line: each event without its audio, then the files."""

    def show(self, update: Update) -> None:
        """Write an event."""
        event = update.event
        content = json_format.MessageToDict(event, preserving_proto_field_name=True)
        if "audio" in content:
            content["audio"].pop("data", None)
        print(json.dumps({"cursor": update.cursor, **content}), flush=True)  # noqa: T201 - the command's output

    def done(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write what was made."""
        result = {
            "composition": composition.name,
            "state": composition_pb2.State.Name(composition.state).removeprefix("STATE_"),
            "files": [str(path) for path in written],
            "seconds": round(seconds, 3),
        }
        print(json.dumps(result), flush=True)  # noqa: T201


class Board:
    """What is known of a composition so far."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.first_audio_s: float | None = None
        self.state = composition_pb2.STATE_UNSPECIFIED
        self.queue_position = 0
        self.heading = ""
        self.labels: dict[str, str] = {}
        self.lengths: dict[str, int] = {}
        self.fractions: dict[str, float] = {}
        self.joined: set[str] = set()
        self.rate = 48_000
        self.notes: list[str] = []

    def take(self, update: Update) -> str:
        """Note an update; returns a line about it when it is worth one."""
        event = update.event
        note = getattr(self, f"_{update.kind}", None)
        return note(event) if note else ""

    def _checkpoint(self, event: stream_pb2.CompositionEvent) -> str:
        self.state = event.checkpoint.state
        self.queue_position = event.checkpoint.queue_position
        return f"waiting, place {self.queue_position} in the queue" if self.queue_position else ""

    def _accepted(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state = composition_pb2.STATE_QUEUED
        return ""

    def _started(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state, self.queue_position = composition_pb2.STATE_PLANNING, 0
        return ""

    def _planned(self, event: stream_pb2.CompositionEvent) -> str:
        plan = codec.plan_from_message(event.planned.plan)
        self.state, self.rate = composition_pb2.STATE_RENDERING, plan.sample_rate
        bpm = timing.bpm_from_quarters(plan.quarters_per_minute, plan.metre)
        self.heading = plain(
            f"{plan.title or 'A piece'}: {clock(plan.frames / plan.sample_rate)}, {bpm:g} bpm, "
            f"{plan.metre.beats}/{plan.metre.unit}, {theory.key_name(plan.key)}, {plan.genre}, seed {plan.seed}"
        )
        specs = [item.spec for item in plan.sections]
        # Each whole at once, and the lengths first: another thread may be drawing.
        self.lengths = {spec.section_id: spec.frames + spec.tail_frames for spec in specs}
        self.labels = {spec.section_id: plain(spec.label) or spec.section_id for spec in specs}
        self.notes += [warning.text for warning in plan.warnings]
        return self.heading

    def _section_progress(self, event: stream_pb2.CompositionEvent) -> str:
        self.fractions[event.section_progress.section_id] = event.section_progress.fraction_done
        return ""

    def _section_finished(self, event: stream_pb2.CompositionEvent) -> str:
        self.fractions[event.section_finished.section_id] = 1.0
        self.notes += [warning.text for warning in event.section_finished.rendered.warnings]
        return ""

    def _section_retried(self, event: stream_pb2.CompositionEvent) -> str:
        retried = event.section_retried
        text = f"{self.labels.get(retried.section_id, retried.section_id)} is tried again: {retried.error.message}"
        self.notes.append(text)
        return text

    def _section_mixed(self, event: stream_pb2.CompositionEvent) -> str:
        section_id = event.section_mixed.section_id
        self.joined.add(section_id)
        done = sum(self.lengths.get(each, 0) for each in self.joined) / self.rate
        return f"{self.labels.get(section_id, section_id)} is there ({clock(done)} so far)"

    def _audio(self, _event: stream_pb2.CompositionEvent) -> str:
        if self.first_audio_s is None:
            self.first_audio_s = time.monotonic() - self.began
            return f"first sound after {self.first_audio_s:.2f} s"
        return ""

    def _draft_finished(self, _event: stream_pb2.CompositionEvent) -> str:
        self.state = composition_pb2.STATE_MASTERING
        return "mastering"

    def _finished(self, event: stream_pb2.CompositionEvent) -> str:
        self.state = event.finished.composition.state
        return ""

    def _degraded(self, event: stream_pb2.CompositionEvent) -> str:
        self.notes.append(event.degraded.text)
        return f"degraded: {event.degraded.text}"


class Lines(Silent):
    """A line for what matters, on standard error."""

    def __init__(self) -> None:
        self._board = Board()

    def show(self, update: Update) -> None:
        """Write a line if there is one."""
        line = self._board.take(update)
        if line:
            print(plain(line), file=sys.stderr, flush=True)  # noqa: T201

    def done(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write the result."""
        for line in result_lines(composition, written, seconds, self._board):
            print(plain(line), file=sys.stderr, flush=True)  # noqa: T201


class Bars(Silent):
    """A live bar for each section, on standard error."""

    def __init__(self) -> None:
        self._board = Board()
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=12, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, update: Update) -> None:
        """Note it; the live display draws it."""
        self._board.take(update)

    def done(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write the result."""
        for line in result_lines(composition, written, seconds, self._board):
            self._console.print(plain(line), markup=False)

    def _draw(self) -> Group:
        board = self._board
        table = Table.grid(padding=(0, 1))
        at = 0
        for section_id, label in board.labels.items():
            fraction = board.fractions.get(section_id, 0.0)
            if section_id in board.joined:
                mark = Text("●", "green")
            else:
                mark = Text("◐", "cyan") if fraction else Text("○", "dim")
            bar = ProgressBar(total=1.0, completed=1.0 if section_id in board.joined else fraction, width=28)
            table.add_row(mark, Text(label), bar, Text(clock(at / board.rate), "dim"))
            at += board.lengths[section_id]
        return Group(Text(board.heading, "bold"), table, Text(self._status(), "dim"))

    def _status(self) -> str:
        board = self._board
        if board.queue_position:
            return f"waiting, place {board.queue_position} in the queue"
        word = WORDS.get(board.state, "")
        if not word:
            return ""  # the end: the result's own line follows
        first = f", first sound after {board.first_audio_s:.2f} s" if board.first_audio_s is not None else ""
        return f"{word} {time.monotonic() - board.began:.0f} s{first}"


def result_lines(composition: Composition, written: Sequence[Path], seconds: float, board: Board) -> list[str]:
    """Say what was made, where it is, and what was done otherwise than asked."""
    frames, rate = composition.plan.frames, composition.plan.sample_rate or 48_000
    loudness = composition.mastered.loudness
    parts = [clock(frames / rate)]
    if loudness.HasField("integrated_lufs"):
        parts.append(f"{loudness.integrated_lufs:.1f} LUFS")
    if loudness.HasField("true_peak_dbtp"):
        parts.append(f"{loudness.true_peak_dbtp:.1f} dBTP")
    parts.append(f"made in {seconds:.1f} s")
    if board.first_audio_s is not None:
        parts.append(f"first sound after {board.first_audio_s:.2f} s")
    lines = [f"{', '.join(str(path) for path in written)}: {', '.join(parts)}"]
    lines += [f"note: {text}" for text in dict.fromkeys(board.notes)]
    lines += [f"degraded: {each.text}" for each in composition.degradations]
    return lines
