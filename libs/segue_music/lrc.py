"""Writes the words of a plan as an LRC file: each line with the time at which it is planned to be sung."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from segue_music.timing import tempo_map

if TYPE_CHECKING:
    from collections.abc import Iterator

    from segue_music.plan import Plan

TIME: Final = re.compile(r"[\[<](\d+:\d[\d.:]*)[\]>]")
"""What a player would read as a time inside a line."""


def lrc_file(plan: Plan, software: str) -> str:
    """Return the file. `software` is the program that wrote it. A pause after a line has an empty line."""
    tags = {
        "ti": plan.title,
        "la": next((item.spec.lyrics.language for item in plan.sections if item.spec.lyrics), ""),
        "length": _clock(plan.frames, plan.sample_rate),
        "re": software,
    }
    lines = [f"[{name}:{text.replace(']', ')')}]" for name, text in tags.items() if text]
    end = 0
    for first, last, text in sung_lines(plan):
        if lines and end and first > end:
            lines.append(f"[{_clock(end, plan.sample_rate)}]")
        shown = TIME.sub(r"(\1)", text)
        lines.append(f"[{_clock(first, plan.sample_rate)}]{shown}")
        end = last
    if 0 < end < plan.frames:
        lines.append(f"[{_clock(end, plan.sample_rate)}]")
    return "".join(f"{line}\n" for line in lines)


def sung_lines(plan: Plan) -> Iterator[tuple[int, int, str]]:
    """Return the first frame, the frame after the last one, and the text of every line of a complete plan."""
    for item in plan.sections:
        if item.spec.lyrics is None:
            continue
        clock = tempo_map(item.spec)
        for line in item.spec.lyrics.lines:
            first, end = (
                item.first_frame + clock.frame(tick, plan.sample_rate)
                for tick in (line.start_tick, line.start_tick + line.ticks)
            )
            yield first, end, line.text


def _clock(frame: int, sample_rate: int) -> str:
    """Format a time as "01:04.25"."""
    hundredths = frame * 100 // sample_rate
    return f"{hundredths // 6000:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"
