"""A PNG picture of a report: one lane below the other over the same time axis.

What was not found has no lane. A picture is as wide as its time needs, and no wider than MAX_WIDTH.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segue.music.v1 import music_pb2
from segue_music import codec, theory
from segue_music.elements import Key
from segued.output.terminal import clock, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from segue.analyzer.v1.analyzer_pb2 import Report

    Box = tuple[float, float, str, int]
    """The first and the last second, a text, and the number of a colour."""
    Points = Sequence[tuple[float, float]]

LEFT, RIGHT, GAP = 92, 56, 10
FEWEST_COLUMNS: Final = 1000
MOST_COLUMNS: Final = 1800
COLUMNS_PER_SECOND: Final = 8
TITLE_HEIGHT, AXIS_HEIGHT, BOXES_HEIGHT, CURVE_HEIGHT, WAVE_HEIGHT = 30, 24, 24, 72, 120
PAPER, INK, FAINT, GRID = (255, 255, 255), (32, 36, 44), (120, 126, 138), (228, 230, 235)
WAVE, BEAT, BAR, FAULT = (74, 124, 180), (196, 204, 216), (222, 120, 40), (204, 30, 50)
CURVE: Final = (30, 90, 150)
COLOURS: Final = (
    (250, 216, 160), (190, 222, 190), (188, 212, 240), (238, 196, 204), (214, 200, 236), (226, 226, 178),
    (180, 226, 226), (240, 206, 180), (204, 214, 180), (224, 196, 228), (200, 200, 208), (250, 232, 200),
)  # fmt: skip
TICKS_S: Final = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
TICK_COLUMNS: Final = 80
"""The least distance between two labels of the time axis."""
BEAT_COLUMNS: Final = 4
"""Beats and bars that are closer than this are not drawn: they would be a grey area."""
FONT: Final = ImageFont.load_default(12)
TITLE_FONT: Final = ImageFont.load_default(14)


@dataclass
class _Canvas:
    """A picture that grows downwards."""

    seconds: float
    columns: int
    lanes: list[tuple[int, str, Callable[[ImageDraw.ImageDraw, int], None]]] = field(default_factory=list)

    def x(self, second: float) -> float:
        """Return the column of a moment."""
        return LEFT + min(max(second / self.seconds, 0.0), 1.0) * self.columns

    def add(self, height: int, name: str, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> None:
        """Add a lane; `draw` gets its upper edge."""
        self.lanes.append((height, name, draw))

    def image(self, title: str) -> Image.Image:
        """Draw all lanes."""
        height = TITLE_HEIGHT + AXIS_HEIGHT + sum(each + GAP for each, _, _ in self.lanes)
        image = Image.new("RGB", (LEFT + self.columns + RIGHT, height), PAPER)
        pen = ImageDraw.Draw(image)
        pen.text((LEFT, 8), title, INK, TITLE_FONT)
        top = TITLE_HEIGHT + AXIS_HEIGHT
        for second, text in self._ticks():
            pen.line((self.x(second), top - 6, self.x(second), height), GRID)
            pen.text((self.x(second) + 3, TITLE_HEIGHT + 4), text, FAINT, FONT)
        for lane_height, name, draw in self.lanes:
            pen.text((8, top + lane_height / 2 - 7), name, INK, FONT)
            draw(pen, top)
            top += lane_height + GAP
        return image

    def _ticks(self) -> Iterator[tuple[float, str]]:
        wanted = self.seconds * TICK_COLUMNS / self.columns
        step = next((each for each in TICKS_S if each >= wanted), TICKS_S[-1])
        for index in range(int(self.seconds / step) + 1):
            second = index * step
            hours, rest = divmod(int(second), 3600)
            minutes = f"{hours}:{rest // 60:02}" if hours else f"{rest // 60}"
            yield second, f"{minutes}:{rest % 60:02}" + (f".{second % 1:.1f}"[2:] if step < 1 else "")

    # Kinds of lanes.

    def boxes(self, name: str, boxes: Iterable[Box]) -> None:
        """Add a lane of spans with a text each, which is left out where it has no room."""
        found = list(boxes)
        if not found:
            return

        def draw(pen: ImageDraw.ImageDraw, top: int) -> None:
            for first_s, end_s, text, colour in found:
                left, right = self.x(first_s), max(self.x(end_s) - 1, self.x(first_s) + 1)
                pen.rectangle((left, top, right, top + BOXES_HEIGHT), COLOURS[colour % len(COLOURS)])
                if pen.textlength(text, FONT) + 6 <= right - left:
                    pen.text((left + 4, top + 5), text, INK, FONT)

        self.add(BOXES_HEIGHT, name, draw)

    def curve(self, name: str, runs: Sequence[Points], low: float, high: float, unit: str = "") -> None:
        """Add a lane with a curve, which ends where a value is missing, and the values of its edges."""
        if not any(runs) or not high > low:
            return

        def y(value: float, top: int) -> float:
            return top + (1 - (min(max(value, low), high) - low) / (high - low)) * CURVE_HEIGHT

        def draw(pen: ImageDraw.ImageDraw, top: int) -> None:
            for edge in (low, (low + high) / 2, high):
                at = y(edge, top)
                pen.line((LEFT, at, LEFT + self.columns, at), GRID)
                pen.text((LEFT + self.columns + 4, at - 7), f"{edge:.4g}{unit}", FAINT, FONT)
            for run in runs:
                places = [(self.x(second), y(value, top)) for second, value in run]
                if len(places) == 1:
                    places.append((places[0][0] + 1, places[0][1]))
                if places:
                    pen.line(places, CURVE, 2)

        self.add(CURVE_HEIGHT, name, draw)


def draw_report(report: Report, picture: Path, name: str) -> None:
    """Draw a report into a PNG file."""
    rate = report.format.sample_rate or 48_000
    seconds = max(report.frames / rate, 1e-3)
    columns = round(min(max(seconds * COLUMNS_PER_SECOND, FEWEST_COLUMNS), MOST_COLUMNS))
    canvas = _Canvas(seconds, columns)
    _add_spans(canvas, report, rate)
    _add_wave(canvas, report, rate)
    _add_harmony(canvas, report, rate)
    _add_curves(canvas, report, rate)
    canvas.image(_title(report, name, seconds)).quantize(64).save(picture, "PNG", optimize=True)


def _title(report: Report, name: str, seconds: float) -> str:
    facts = [plain(name), clock(seconds)]
    if report.HasField("tempo"):
        facts.append(f"{report.tempo.quarters_per_minute:.1f} quarters per minute")
    if report.HasField("key"):
        facts.append(f"{_key_name(report.key.key)} ({report.key.camelot})")
    if report.loudness.HasField("integrated_lufs"):
        facts.append(f"{report.loudness.integrated_lufs:.1f} LUFS")
    return "   ".join(facts)


def _key_name(key: music_pb2.Key) -> str:
    return theory.key_name(codec.from_message(Key, key))


def _add_spans(canvas: _Canvas, report: Report, rate: int) -> None:
    def span(first_frame: int, frames: int) -> tuple[float, float]:
        return first_frame / rate, (first_frame + frames) / rate

    canvas.boxes(
        "tracks",
        ((*span(each.first_frame, each.frames), f"{each.number}", each.number) for each in report.tracks),
    )
    labels: dict[str, int] = {}
    canvas.boxes(
        "structure",
        (
            (*span(each.first_frame, each.frames), each.label, labels.setdefault(each.label, len(labels)))
            for each in report.structure
        ),
    )
    canvas.boxes(
        "faults",
        ((*span(each.first_frame, max(each.frames, rate // 10)), "", 3) for each in report.faults),
    )


def _add_wave(canvas: _Canvas, report: Report, rate: int) -> None:
    """Add the waveform; bars and beats are lines behind it."""
    peaks = np.frombuffer(report.peaks, np.int8).reshape(-1, 2) / 127
    beats, downbeats = (
        [] if len(frames) * BEAT_COLUMNS > canvas.columns else [frame / rate for frame in frames]
        for frames in (report.tempo.beats, report.tempo.downbeats)
    )

    def draw(pen: ImageDraw.ImageDraw, top: int) -> None:
        for moments, colour in ((beats, BEAT), (downbeats, BAR)):
            for second in moments:
                pen.line((canvas.x(second), top, canvas.x(second), top + WAVE_HEIGHT), colour)
        middle, scale = top + WAVE_HEIGHT / 2, WAVE_HEIGHT / 2 - 1
        for column in range(canvas.columns):
            first = column * len(peaks) // canvas.columns
            part = peaks[first : max(first + 1, (column + 1) * len(peaks) // canvas.columns)]
            if len(part):
                low, high = float(part[:, 0].min()), float(part[:, 1].max())
                pen.line((LEFT + column, middle - high * scale, LEFT + column, middle - low * scale), WAVE)

    canvas.add(WAVE_HEIGHT, "waveform", draw)


def _add_harmony(canvas: _Canvas, report: Report, rate: int) -> None:
    canvas.boxes(
        "key",
        (
            (
                each.first_frame / rate,
                (each.first_frame + each.frames) / rate,
                f"{_key_name(each.key.key)} ({each.key.camelot})",
                theory.pitch_class(each.key.key.tonic),
            )
            for each in report.key_changes
        ),
    )
    canvas.boxes(
        "chords",
        (
            (
                each.first_frame / rate,
                (each.first_frame + each.frames) / rate,
                each.root + ("m" if each.quality == music_pb2.CHORD_QUALITY_MINOR else ""),
                theory.pitch_class(each.root),
            )
            for each in report.chords
        ),
    )


def _add_curves(canvas: _Canvas, report: Report, rate: int) -> None:
    levels = [
        (each.frame / rate, each.short_term_lufs if each.HasField("short_term_lufs") else None)
        for each in report.loudness_curve
    ]
    heard = [level for _, level in levels if level is not None]
    if heard:
        top = math.ceil(max(heard) / 6) * 6
        canvas.curve("loudness", _runs(levels), top - 36, top, " LUFS")
    energy = [(index + 0.5, value) for index, value in enumerate(report.energy_curve)]
    scale = canvas.seconds / max(1, len(energy))
    canvas.curve("energy", [[(second * scale, value) for second, value in energy]], 0, 1)
    tempi = [(each.frame / rate, each.quarters_per_minute) for each in report.tempo_curve]
    if tempi:
        low, high = min(tempo for _, tempo in tempi), max(tempo for _, tempo in tempi)
        canvas.curve("tempo", [tempi], math.floor(low / 10) * 10, math.floor(high / 10) * 10 + 10)
    stereo = [
        (each.frame / rate, each.correlation if each.HasField("correlation") else None) for each in report.stereo_curve
    ]
    canvas.curve("correlation", _runs(stereo), -1, 1)


def _runs(points: Iterable[tuple[float, float | None]]) -> list[Points]:
    """Cut a curve where values are missing."""
    runs: list[list[tuple[float, float]]] = [[]]
    for second, value in points:
        if value is not None:
            runs[-1].append((second, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
