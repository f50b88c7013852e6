"""A plan as text: its timeline, its sections and its estimate."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

from segue_music import codec, picture
from segued.output.progress import ready_text
from segued.output.terminal import clock, write_line

if TYPE_CHECKING:
    from segue.music.v1 import music_pb2
    from segue.planner.v1.planner_pb2 import Estimate

MAX_COLUMNS = 160


def write_plan(message: music_pb2.Plan, estimate: Estimate) -> None:
    """Write a plan, with the origin of each value, to standard output."""
    width = shutil.get_terminal_size((_terminal_width() or 100, 24)).columns
    write_line(picture.draw(codec.plan_from_message(message), min(width, MAX_COLUMNS)).rstrip())
    if not estimate.HasField("render_time"):
        return
    windows = sum(section.windows for section in estimate.sections)
    model = estimate.model + (f", {windows} windows of the model" if windows else "")
    memory = f", {estimate.memory_bytes / 2**30:.1f} GiB" if estimate.memory_bytes else ""
    write_line(f"\nestimate   {clock(estimate.render_time.ToNanoseconds() / 1e9)} with {model}{memory}")
    if estimate.HasField("ready_in"):
        wait_s = estimate.queue_wait.ToNanoseconds() / 1e9
        wait = f", after {clock(wait_s)} in the queue" if wait_s else ""
        write_line(f"           {ready_text(estimate.ready_in.ToNanoseconds() / 1e9)} if it is ordered now{wait}")


def _terminal_width() -> int:
    """Return the width of the terminal; 0 without one. Standard output may be a pager, standard error is still it."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns
    return 0
