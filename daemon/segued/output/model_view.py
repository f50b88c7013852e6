"""The models that can play, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from segue.renderer.v1 import renderer_pb2
from segued.output.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

COLUMNS = ("model", "backend", "state", "free", "memory", "same seed", "abilities", "speed", "licence")
STATES = {
    renderer_pb2.MODEL_STATE_UNSPECIFIED: "warm",
    renderer_pb2.MODEL_STATE_COLD: "cold",
    renderer_pb2.MODEL_STATE_LOADING: "loading",
    renderer_pb2.MODEL_STATE_WARM: "warm",
    renderer_pb2.MODEL_STATE_FAILED: "failed",
}


def write_models(
    profiles: Sequence[renderer_pb2.ModelProfile],
    statuses: Mapping[str, renderer_pb2.ModelStatus],
    console: Console,
) -> None:
    """Write the profiles of models with their states as a table, and the reason of each that has failed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in COLUMNS:
        table.add_column(name, overflow="fold")  # a licence is never cut
    for profile in profiles:
        status = statuses.get(profile.model, renderer_pb2.ModelStatus())
        exact = profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
        row = (
            profile.model,
            profile.backend,
            state_of(status),
            f"{max(0, status.slots - status.busy_slots)} of {status.slots}",
            size(status.memory_bytes) if status.memory_bytes else "-",
            "same bytes" if exact else "same music",
            ", ".join(abilities_of(profile)) or "-",
            f"{profile.real_time_factor:g}x" if profile.real_time_factor else "-",
            profile.weights_license or "-",
        )
        table.add_row(*(Text(plain(each)) for each in row))  # text of a renderer, not rich's markup
    console.print(table)
    for profile in profiles:
        reason = statuses.get(profile.model, renderer_pb2.ModelStatus()).reason
        if reason:
            console.print(Text(plain(f"{profile.model}: {reason}")), soft_wrap=True)


def abilities_of(profile: renderer_pb2.ModelProfile) -> list[str]:
    """Return what a model can do, for people: "stems", "lyrics in de en", "context on both sides"."""
    before, after = profile.HasField("conditioning"), profile.HasField("following")
    sides = "on both sides" if before and after else "before" if before else "after"
    languages = f" in {' '.join(profile.lyric_languages)}" if profile.lyric_languages else ""
    found = {
        "stems": bool(profile.layers),
        "notes": profile.gives_notes,
        f"lyrics{' on vowels' if profile.sings_vowels else ''}{languages}": profile.uses_lyrics,
        f"context {sides}": before or after,
        "audio at the end": profile.audio_at_end,
    }
    return [text for text, is_able in found.items() if is_able]


def state_of(status: renderer_pb2.ModelStatus) -> str:
    """Return a state for people: "loading: weights, 12 s left"."""
    state = STATES.get(status.state, "unknown")
    shown = f"{state}: {status.loading_step}" if status.loading_step else state
    if not status.HasField("load_time"):
        return shown
    return f"{shown}, {status.load_time.ToSeconds()} s {'left' if state == 'loading' else 'to load'}"


def size(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 2**20:.1f} MiB" if count < 1 << 30 else f"{count / 2**30:.2f} GiB"
