"""Instruments, their layers and the phrases that name them, read from instruments.toml."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from segue_music.elements import LayerKind
from segue_planner.tables import load_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PATH = "prompt/word_list/instruments.toml"
WHOLE = "whole"
"""The table of names that stand for a whole layer."""


@cache
def instruments() -> Mapping[str, LayerKind]:
    """Return the layer of every instrument."""
    return {name: LayerKind[kind] for kind, names in load_table(PATH).items() if kind != WHOLE for name in names}


@cache
def whole_layers() -> Mapping[str, LayerKind]:
    """Return the names that stand for a whole layer, for example "drums"."""
    return {name: LayerKind[kind] for kind, names in load_table(PATH)[WHOLE].items() for name in names}


def instrument_phrases() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield each instrument with the phrases that name it."""
    for kind, names in load_table(PATH).items():
        if kind != WHOLE:
            yield from names.items()
