"""Plans, reports and models as people read them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from segue.analyzer.v1 import analyzer_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec, picture, theory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.music.v1 import music_pb2
    from segue.planner.v1.planner_pb2 import Estimate

WIDEST = 160
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control signs but the end of a line, and those that turn the direction of writing."""


def plain(text: str) -> str:
    """Return words as words: what a terminal would obey becomes �."""
    return OBEYED.sub("�", text)


def say(text: str) -> None:
    """Write a command's output."""
    sys.stdout.write(plain(text) + "\n")


def clock(seconds: float) -> str:
    """Write a length as 1:02.5."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def plan(message: music_pb2.Plan, estimate: Estimate | None = None) -> None:
    """Print a plan: its timeline, its sections, and where each value comes from."""
    width = shutil.get_terminal_size((_terminal_width() or 100, 24)).columns
    say(picture.draw(codec.plan_from_message(message), min(width, WIDEST)).rstrip())
    if estimate is not None and estimate.HasField("render_time"):
        windows = sum(section.windows for section in estimate.sections)
        model = estimate.model + (f", {windows} windows of the model" if windows else "")
        memory = f", {estimate.memory_bytes / 2**30:.1f} GiB" if estimate.memory_bytes else ""
        wait_s = estimate.queue_wait.ToNanoseconds() / 1e9
        wait = f", after {clock(wait_s)} in the queue" if wait_s else ""
        say(f"\nestimate   {clock(estimate.render_time.ToNanoseconds() / 1e9)} with {model}{memory}{wait}")


def _terminal_width() -> int:
    """Return the width of the terminal that shows it in the end, if only by way of a pager; 0: there is none."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns
    return 0


def report(message: analyzer_pb2.Report) -> None:
    """Print what was measured: on a terminal as a table, for other programs a line a value."""
    rows, console = _rows(message), Console()
    if not console.is_terminal:
        for name, value in rows:
            say(f"{name:16} {value}")
        return
    table = Table.grid(Column(style="dim", min_width=16), Column(overflow="fold"), padding=(0, 1))
    for name, value in rows:
        table.add_row(name, Text(plain(value)))
    console.print(table, highlight=False)


def _rows(message: analyzer_pb2.Report) -> list[tuple[str, str]]:
    rate = message.format.sample_rate or 48_000
    rows = [("length", f"{clock(message.frames / rate)} ({message.frames} frames at {rate} Hz)")]
    loudness = message.loudness
    if loudness.HasField("integrated_lufs"):
        rows.append(("loudness", f"{loudness.integrated_lufs:.1f} LUFS"))
    if loudness.HasField("range_lu"):
        rows.append(("range", f"{loudness.range_lu:.1f} LU"))
    if loudness.HasField("true_peak_dbtp"):
        rows.append(("true peak", f"{loudness.true_peak_dbtp:.1f} dBTP"))
    if message.HasField("tempo"):
        tempo = message.tempo
        rows.append(("tempo", f"{tempo.quarters_per_minute:.1f} quarters a minute ({tempo.confidence:.0%} sure)"))
        rows.append(("beats", f"{len(tempo.beats)}, {len(tempo.downbeats)} of them downbeats"))
    if message.HasField("key"):
        name = theory.key_name(codec.from_message(_key_type(), message.key.key))
        rows.append(("key", f"{name}, {message.key.camelot} ({message.key.confidence:.0%} sure)"))
    rows.append(("brightness", f"{message.brightness_hz:.0f} Hz"))
    if message.HasField("stereo_correlation"):
        rows.append(("stereo", f"correlation {message.stereo_correlation:.2f}"))
    silence = (message.leading_silence_frames / rate, message.trailing_silence_frames / rate)
    rows.append(("silence", f"{silence[0]:.2f} s before, {silence[1]:.2f} s after"))
    for fault in message.faults:
        kind = analyzer_pb2.FaultKind.Name(fault.kind).removeprefix("FAULT_KIND_").lower()
        rows.append((f"fault: {kind}", f"at {clock(fault.first_frame / rate)}: {fault.text}"))
    return rows


def _key_type() -> type:
    from segue_music.elements import Key

    return Key


def models(profiles: Sequence[renderer_pb2.ModelProfile]) -> None:
    """Print what can be played."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "backend", "same seed gives", "stems", "notes", "speed", "licence of the weights"):
        table.add_column(name)
    for profile in profiles:
        exact = profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
        row = (
            profile.model,
            profile.backend,
            "the same bytes" if exact else "the same music",
            "yes" if profile.layers else "no",
            "yes" if profile.gives_notes else "no",
            f"{profile.real_time_factor:g} x real time" if profile.real_time_factor else "-",
            profile.weights_license or "no weights",
        )
        table.add_row(*(Text(plain(each)) for each in row))  # a renderer's words, not rich's markup
    Console().print(table)
