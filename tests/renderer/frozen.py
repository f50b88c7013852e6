"""Stored plans: the digests of the band must not depend on changes of the planner.

`python -m tests.renderer.frozen --write` makes them again; golden.json must then be written again, too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from segue.music.v1 import music_pb2
from segue_music import codec
from segue_music.plan import Brief, Plan, Role
from segue_planner.planner import Planner

FILE = Path(__file__).with_name("plans.json")
BRIEFS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lofi, 8 seconds, 84 bpm", {"seed": 11}),
    ("house, 8 seconds, 124 bpm", {"seed": 11}),
    ("swing jazz trio with saxophone, 8 seconds, 140 bpm", {"seed": 11}),
    ("cinematic strings and choir, 9 seconds, 90 bpm, 3/4", {"seed": 11}),
    ("folk guitar and flute, 8 seconds, 100 bpm, 6/8", {"seed": 11}),
    ("hard rock, 7 seconds, 138 bpm", {"seed": 11}),
    ("lofi, 20 seconds, 88 bpm", {"seed": 3}),
    ("house with vocals, 20 seconds, 124 bpm", {"seed": 3}),
    ("lofi, 12 seconds, 88 bpm", {"seed": 3}),
    ("lofi, 1500 seconds, 88 bpm", {"seed": 3, "form": (Role.MOTIF,)}),
    ("folk, 24 seconds, 80 bpm", {"seed": 5}),
    ("pop, 16 seconds", {"seed": 9}),
    ("pop with a theremin, 8 seconds", {"seed": 9, "instruments": ("theremin",)}),
)


def name_of(prompt: str, given: dict[str, Any]) -> str:
    """Return the key of a stored plan."""
    return f"{prompt} {sorted(given.items())!r}"


def load() -> dict[str, Plan]:
    """Return the plans by their keys."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        key: codec.plan_from_message(json_format.ParseDict(each, music_pb2.Plan())) for key, each in content.items()
    }


def main() -> None:
    """Write the plans, one a line."""
    lines = []
    for prompt, given in BRIEFS:
        plan = Planner(Brief(prompt=prompt, **given)).plan()
        content = codec.canonical_json(codec.plan_to_message(plan)).decode()
        lines.append(f"{json.dumps(name_of(prompt, given))}:{content}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--write" in sys.argv:
        FILE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
