"""Shows the progress of a composition: bars on a terminal, lines in a log, JSON for scripts."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Protocol

from google.protobuf import json_format
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from segue.composer.v1 import composition_pb2
from segued.output.progress import (
    CompositionProgress,
    failure_lines,
    queue_line,
    ready_text,
    result_lines,
    waiting_line,
)
from segued.output.terminal import clock, console, plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from segue.composer.v1.composition_pb2 import Composition
    from segue_client import Update

STATE_WORDS = {
    composition_pb2.STATE_UNSPECIFIED: "starting",
    composition_pb2.STATE_QUEUED: "waiting",
    composition_pb2.STATE_PLANNING: "planning",
    composition_pb2.STATE_RENDERING: "playing",
    composition_pb2.STATE_MASTERING: "mastering",
}


class ProgressDisplay(Protocol):
    """Shows updates while its context is open, and the result afterwards."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, update: Update) -> None:
        """Show an update."""
        ...

    def show_result(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Show the finished composition and its files."""
        ...

    def show_failure(self, composition: Composition) -> None:
        """Show where a composition failed, and what is left of it."""
        ...


def make_display(*, as_json: bool, quiet: bool, color: str) -> ProgressDisplay:
    """Choose the display."""
    if as_json:
        return JsonDisplay()
    if quiet:
        return NoDisplay()
    return BarDisplay(color) if sys.stderr.isatty() else LineDisplay()


class NoDisplay:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, update: Update) -> None:
        """Show nothing."""

    def show_result(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Show nothing."""

    def show_failure(self, composition: Composition) -> None:
        """Show nothing: the last event has it for those who read it."""


class JsonDisplay(NoDisplay):
    """Writes one JSON object a line: each event without its audio, then the result with the files."""

    def show(self, update: Update) -> None:
        """Write an event."""
        content = json_format.MessageToDict(update.event, preserving_proto_field_name=True)
        if "audio" in content:
            content["audio"].pop("data", None)
        print(json.dumps({"cursor": update.cursor, **content}), flush=True)  # noqa: T201 - the command's output

    def show_result(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write the result."""
        result = {
            "composition": composition.name,
            "state": composition_pb2.State.Name(composition.state).removeprefix("STATE_"),
            "files": [str(path) for path in written],
            "seconds": round(seconds, 3),
        }
        print(json.dumps(result), flush=True)  # noqa: T201


class LineDisplay(NoDisplay):
    """Writes a line for each important event to standard error."""

    def __init__(self) -> None:
        self._progress = CompositionProgress()

    def show(self, update: Update) -> None:
        """Write a line, if the update needs one."""
        line = self._progress.add(update)
        for each in (line, *self._progress.new_warnings()):
            if each:
                print(plain(each), file=sys.stderr, flush=True)  # noqa: T201

    def show_failure(self, composition: Composition) -> None:
        """Write the failure."""
        for line in failure_lines(composition):
            print(plain(line), file=sys.stderr, flush=True)  # noqa: T201

    def show_result(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write the result."""
        for line in result_lines(composition, written, seconds, self._progress):
            print(plain(line), file=sys.stderr, flush=True)  # noqa: T201


class BarDisplay(NoDisplay):
    """Draws a live bar for each section on standard error."""

    def __init__(self, color: str) -> None:
        self._progress = CompositionProgress()
        self._console = console(color, stderr=True)
        self._live = Live(console=self._console, refresh_per_second=12, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        # After an error, too: a warning may be its reason.
        for line in self._progress.new_warnings():
            self._console.print(plain(line), markup=False)

    def show(self, update: Update) -> None:
        """Apply the update; the live display draws it."""
        self._progress.add(update)

    def show_result(self, composition: Composition, written: Sequence[Path], seconds: float) -> None:
        """Write the result."""
        for line in result_lines(composition, written, seconds, self._progress):
            self._console.print(plain(line), markup=False)

    def show_failure(self, composition: Composition) -> None:
        """Write the failure."""
        for line in failure_lines(composition):
            self._console.print(plain(line), markup=False)

    def _draw(self) -> Group:
        progress = self._progress
        table = Table.grid(padding=(0, 1))
        first_frame = 0
        for section_id, label in progress.labels.items():
            fraction = progress.fractions.get(section_id, 0.0)
            if section_id in progress.joined:
                mark = Text("●", "green")
            else:
                mark = Text("◐", "cyan") if fraction else Text("○", "dim")
            bar = ProgressBar(total=1.0, completed=1.0 if section_id in progress.joined else fraction, width=28)
            position = Text(clock(first_frame / progress.rate), "dim")
            text = Text(progress.section_text(section_id), "dim", no_wrap=True, overflow="ellipsis")
            table.add_row(mark, Text(label), bar, position, text)
            first_frame += progress.lengths[section_id]
        return Group(Text(progress.heading, "bold"), table, Text(self._status(), "dim"))

    def _status(self) -> str:
        progress = self._progress
        if progress.queue_position:
            return queue_line(progress.queue_position, progress.seconds_left)
        if progress.waiting_for:
            return plain(waiting_line(progress.waiting_for))
        word = STATE_WORDS.get(progress.state, "")
        if not word:
            return ""  # finished: the lines of the result follow
        first = f", first sound after {progress.first_audio_s:.2f} s" if progress.first_audio_s is not None else ""
        ready = ready_text(progress.seconds_left)
        return f"{word} {time.monotonic() - progress.began:.0f} s{first}{', ' if ready else ''}{ready}"
