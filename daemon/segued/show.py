"""Plans, reports and models as people read them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from segue.analyzer.v1 import analyzer_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec, theory, timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from segue.music.v1 import music_pb2
    from segue.planner.v1.planner_pb2 import Estimate

BAR = "▁▂▃▄▅▆▇█"


def say(text: str) -> None:
    """Write a command's output."""
    sys.stdout.write(text + "\n")


def clock(seconds: float) -> str:
    """Write a length as 1:02.5."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"


def plan(message: music_pb2.Plan, estimate: Estimate | None = None) -> None:
    """Print a plan: what the prompt was read as, and the sections."""
    console = Console()
    found = codec.plan_from_message(message)
    bpm = timing.bpm_from_quarters(found.quarters_per_minute, found.metre)
    rate = message.sample_rate or 48_000
    console.print(
        f"[bold]{found.title or 'a piece'}[/bold]  {clock(message.frames / rate)}  {bpm:g} bpm  "
        f"{found.metre.beats}/{found.metre.unit}  {theory.key_name(found.key)}  {found.genre}  seed {found.seed}",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("section", no_wrap=True, min_width=10)
    table.add_column("start", justify="right", no_wrap=True, min_width=6)
    table.add_column("bars", justify="right", no_wrap=True, min_width=4)
    table.add_column("energy", no_wrap=True, min_width=8)
    table.add_column("chords", max_width=30)
    table.add_column("who plays", max_width=44)
    for item in found.sections:
        spec = item.spec
        chords = " ".join(dict.fromkeys(theory.chord_name(chord) for chord in spec.chords))
        who = ", ".join(dict.fromkeys(name for layer in spec.layers for name in layer.instruments))
        start = clock(item.first_frame / rate)
        table.add_row(spec.label or spec.section_id, start, str(spec.bars), bars(spec.energy), chords, who)
    console.print(table)
    origins = {
        origin: [f"{each.field} {each.value}" + (f' ("{each.words}")' if each.words else "") for each in found.readings
                 if each.origin.name == origin]
        for origin in ("CALLER", "PROMPT", "SEED", "DEFAULT")
    }  # fmt: skip
    for origin, texts in origins.items():
        if texts:
            console.print(f"[dim]{origin.lower():8}[/dim] {', '.join(texts)}", highlight=False)
    for warning in found.warnings:
        console.print(f"[yellow]warning[/yellow]  {warning.text}", highlight=False)
    if estimate is not None and estimate.HasField("render_time"):
        console.print(
            f"[dim]estimate[/dim] {clock(estimate.render_time.ToNanoseconds() / 1e9)} with {estimate.model}",
            highlight=False,
        )


def bars(values: Sequence[float], width: int = 8) -> str:
    """Draw numbers of 0 to 1 as a row of blocks."""
    if not values:
        return ""
    picked = [values[index * len(values) // min(width, len(values))] for index in range(min(width, len(values)))]
    return "".join(BAR[min(len(BAR) - 1, int(value * len(BAR)))] for value in picked)


def report(message: analyzer_pb2.Report) -> None:
    """Print what was measured."""
    console = Console()
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
    for name, value in rows:
        console.print(f"[dim]{name:16}[/dim] {value}", highlight=False)


def _key_type() -> type:
    from segue_music.plan import Key

    return Key


def models(profiles: Sequence[renderer_pb2.ModelProfile]) -> None:
    """Print what can be played."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("model", "backend", "same seed gives", "stems", "notes", "speed", "licence of the weights"):
        table.add_column(name)
    for profile in profiles:
        exact = profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
        table.add_row(
            profile.model,
            profile.backend,
            "the same bytes" if exact else "the same music",
            "yes" if profile.layers else "no",
            "yes" if profile.gives_notes else "no",
            f"{profile.real_time_factor:g} x real time" if profile.real_time_factor else "-",
            profile.weights_license or "no weights",
        )
    Console().print(table)
