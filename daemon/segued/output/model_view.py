"""The models that can play, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from segue.renderer.v1 import renderer_pb2
from segued.output.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

COLUMNS = ("model", "backend", "same seed gives", "stems", "notes", "speed", "licence of the weights")


def write_models(profiles: Sequence[renderer_pb2.ModelProfile], console: Console) -> None:
    """Write the profiles of models as a table."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
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
        table.add_row(*(Text(plain(each)) for each in row))  # text of a renderer, not rich's markup
    console.print(table)
