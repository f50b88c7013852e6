"""Loads the TOML tables of this package."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any


def load_table(path: str) -> dict[str, Any]:
    """Load a table by its path inside this package, for example "genres/genres.toml"."""
    return tomllib.loads(resources.files("segue_planner").joinpath(*path.split("/")).read_text(encoding="utf-8"))
