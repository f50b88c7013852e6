"""Update the plans in docs/planning.md: python -m benchmarks.planner_pictures."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from segue_music.picture import draw
from segue_music.plan import Brief
from segue_planner.planner import Planner

PAGE: Final = Path(__file__).parents[1] / "docs" / "planning.md"
WIDTH: Final = 100
PICTURE: Final = re.compile(
    r"(?P<head>```console\n\$ segued plan \"(?P<prompt>[^\"]+)\"(?: --seed (?P<seed>\d+))?\n)"
    r"(?P<drawn>.*?)(?P<end>```\n)",
    re.DOTALL,
)


def with_new_plans(page: str) -> str:
    """Return the page with every plan replaced by the planner's current one."""
    return PICTURE.sub(_draw, page)


def _draw(found: re.Match[str]) -> str:
    seed = None if found["seed"] is None else int(found["seed"])
    plan = Planner(Brief(prompt=found["prompt"], seed=seed)).plan()
    return found["head"] + draw(plan, WIDTH) + found["end"]


def main() -> int:
    """Update the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_new_plans(page), encoding="utf-8")
    print(f"{len(PICTURE.findall(page))} plans updated in {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
