"""Draws the effect of the master on one piece as PNG files, for docs/mixing.md.

python -m benchmarks.mixer_pictures [--out docs/pictures]

mixer-gain.png: gain reduction of limiter (red) and compressor (yellow), 0 to 8 dB downwards, over the draft's waveform.
mixer-spectra.png: level by frequency, 25 Hz to 20 kHz, of the draft (grey) and of the master (blue), 60 dB high.
mixer-loudness.png: short-term loudness of the draft (grey) and of the master (blue), -40 to -5 LUFS; sections, target.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from segue_audio.loudness import LoudnessMeter
from segue_mixer.master.control_grid.steps import BLOCK_FRAMES, QUICK, StepLevels
from segue_mixer.master.gain_stage import GainComputer
from segue_mixer.master.measure_pass import MeasurePass
from segue_mixer.master.presets import PRESETS, Preset
from segue_mixer.master.render_pass import RenderPass
from segue_mixer.master.section_gains import MasterSection, SectionGains
from segue_mixer.master.tone import ToneShaper
from segue_mixer.mix.draft import DraftMixer
from segue_mixer.mix.sections import MIX, DraftBlock, MixSection, SectionInput
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from segue_audio.arrays import Float32, Float64
    from segue_mixer.master.measure_pass import MasterMeasurement

RATE = 48_000
WIDTH, HEIGHT = 900, 260
PAPER, GRID, WAVE = (252, 252, 250), (226, 226, 222), (214, 222, 232)
GREY, BLUE, RED, YELLOW, GREEN = (130, 130, 130), (36, 98, 184), (200, 52, 44), (222, 150, 20), (60, 150, 80)
PROMPT = "synthwave, 110 bpm, A minor, intro verse chorus breakdown chorus outro"


class Chart:
    """A picture: columns are positions, rows are values from `low` to `high`."""

    def __init__(self, low: float, high: float, grid: Sequence[float]) -> None:
        self._low, self._high = low, high
        self.pixels = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
        for value in grid:
            self.pixels[self.row(value)] = GRID

    def row(self, value: float) -> int:
        """Return the row of a value."""
        place = (self._high - value) / (self._high - self._low)
        return int(np.clip(round(place * (HEIGHT - 1)), 0, HEIGHT - 1))

    def mark(self, column: int, colour: tuple[int, int, int] = GRID) -> None:
        """Draw a dotted vertical line."""
        self.pixels[::3, min(column, WIDTH - 1)] = colour

    def level(self, value: float, colour: tuple[int, int, int]) -> None:
        """Draw a dashed horizontal line."""
        row = self.row(value)
        for start in range(0, WIDTH, 12):
            self.pixels[row, start : start + 6] = colour

    def line(self, values: Float64, colour: tuple[int, int, int], thick: int = 2) -> None:
        """Draw a curve with one value per column."""
        rows = [self.row(value) for value in values]
        for column, (here, before) in enumerate(zip(rows, [rows[0], *rows], strict=False)):
            top, bottom = min(here, before), max(here, before)
            self.pixels[top : bottom + thick, column] = colour

    def area(self, tops: Float64, bottoms: Float64, colour: tuple[int, int, int]) -> None:
        """Fill the area between two curves."""
        for column, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
            self.pixels[self.row(top) : self.row(bottom) + 1, column] = colour


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    draft, sections = piece()
    measurement, master = mastered(draft, sections)
    Image.fromarray(gain_picture(draft, sections, measurement)).save(out / "mixer-gain.png")
    Image.fromarray(spectra_picture(draft, master)).save(out / "mixer-spectra.png")
    Image.fromarray(loudness_picture(draft, master, sections)).save(out / "mixer-loudness.png")


def piece() -> tuple[Float32, list[MasterSection]]:
    """Return the draft of a piece of the sketch band, and its sections."""
    plan = Planner(Brief(prompt=PROMPT, seed=4, duration_ns=75 * 10**9)).plan()
    layout = [
        MixSection(
            item.spec.section_id,
            item.first_frame,
            item.spec.frames,
            item.spec.tail_frames,
            hard=False,
            crossfade_frames=RATE // 2,
            beat_frames=RATE / 2,
            bar_frames=2 * RATE,
        )
        for item in plan.sections
    ]
    mix, made = DraftMixer(layout, RATE, 2, ()), []
    for item, place in zip(plan.sections, layout, strict=True):
        band = SketchBand(item.spec, 4)
        source = SectionInput(
            RATE, 2, sample_locked=True, declared_lufs=band.declared_lufs(), target_lufs=item.spec.target_lufs
        )
        mix.open_section(place.section_id, source)
        position = 0
        for _, stems in band.blocks():
            block = np.asarray(np.sum(list(stems.values()), axis=0), np.float32)
            made += [ready.samples for ready in mix.push(MIX, position, block)]
            position += len(block)
        closing = mix.close_section(item.spec.frames, position - item.spec.frames, ending=item is plan.sections[-1])
        made += [ready.samples for ready in closing if isinstance(ready, DraftBlock)]
    sections = [
        MasterSection(place.section_id, place.first_frame, place.frames + place.tail_frames, item.spec.target_lufs)
        for place, item in zip(layout, plan.sections, strict=True)
    ]
    return np.concatenate(made), sections


def mastered(draft: Float32, sections: list[MasterSection]) -> tuple[MasterMeasurement, Float32]:
    """Run both passes with the default preset."""
    measuring = MeasurePass(PRESETS[Preset.STREAMING], sections, RATE, 2)
    measuring.push(draft)
    for _ in measuring.read_again():
        pass
    measurement = measuring.measurement()
    measuring.close()
    rendering = RenderPass(measurement, sections, RATE, 2)
    return measurement, np.concatenate([*rendering.push(draft), *rendering.finish()])


def gain_picture(draft: Float32, sections: list[MasterSection], measurement: MasterMeasurement) -> NDArray[np.uint8]:
    """Draw the gain reduction."""
    chart = Chart(-8.0, 0.0, (-2, -4, -6))
    peaks = np.array([np.abs(part).max() for part in np.array_split(draft, WIDTH)])
    chart.area(-4 + 4 * peaks, -4 - 4 * peaks, WAVE)
    for section in sections[1:]:
        chart.mark(section.first_frame * WIDTH // len(draft), GREY)
    compressor_only = replace(measurement.settings, ceiling_dbtp=None)
    both, compression = (
        reductions(draft, sections, measurement, settings) for settings in (measurement.settings, compressor_only)
    )
    chart.line(columns(both - compression), RED)
    chart.line(columns(compression), YELLOW)
    return chart.pixels


def reductions(
    draft: Float32, sections: list[MasterSection], measurement: MasterMeasurement, settings: object
) -> Float64:
    """Return the gain reduction of every step, in dB below 0."""
    lufs = measurement.loudness.integrated_lufs
    gains = SectionGains(sections, measurement.section_gains_db, RATE)
    tone = ToneShaper(measurement.settings, measurement.band_gains_db, gains, lufs, RATE, 2)
    computer = GainComputer(settings, measurement.gain_db, lufs, RATE)  # type: ignore[arg-type]  # MasterSettings
    levels = StepLevels(RATE, 2, QUICK, with_power=True)
    delay, found = -computer.next_out, []
    for block in blocks(draft):
        step = levels.push(tone.push(block))
        if step is not None:
            found.append(computer.push(*step))
    return np.concatenate(found)[delay:] - measurement.gain_db


def blocks(sound: Float32) -> Iterator[Float32]:
    """Yield whole blocks, then silence that pushes the delayed ones out."""
    padded = np.pad(sound, ((0, 2 * BLOCK_FRAMES - len(sound) % BLOCK_FRAMES), (0, 0)))
    for first in range(0, len(padded), BLOCK_FRAMES):
        yield padded[first : first + BLOCK_FRAMES]


def columns(values: Float64) -> Float64:
    """Return the lowest value of each column."""
    return np.array([part.min() for part in np.array_split(values, WIDTH)])


def spectra_picture(draft: Float32, master: Float32) -> NDArray[np.uint8]:
    """Draw level by frequency, relative to each one's loudness, so that only the balance differs."""
    chart = Chart(-60.0, 0.0, range(-50, 0, 10))
    hz = np.geomspace(25, 20_000, WIDTH)
    for mark in (100, 1000, 10_000):
        chart.mark(int(np.searchsorted(hz, mark)), GREY)
    curves = [smooth_spectrum(sound, hz) for sound in (draft, master)]
    highest = max(curve.max() for curve in curves) + 3
    chart.line(curves[0] - highest, GREY)
    chart.line(curves[1] - highest, BLUE)
    return chart.pixels


def smooth_spectrum(sound: Float32, hz: Float64) -> Float64:
    """Return the mean power within a sixth of an octave around each frequency, in dB."""
    size = 32_768
    windows = [sound[first : first + size].mean(axis=1) for first in range(0, len(sound) - size, size // 2)]
    power = np.mean([np.abs(np.fft.rfft(each * np.hanning(size))) ** 2 for each in windows], axis=0)
    power /= np.mean(np.square(sound, dtype=np.float64))
    place = np.fft.rfftfreq(size, 1 / RATE)
    total = np.concatenate(([0.0], np.cumsum(power)))
    low, high = (np.searchsorted(place, hz * 2**shift) for shift in (-1 / 12, 1 / 12))
    high = np.maximum(high, low + 1)
    # Relative to pink noise: music falls by 3 dB per octave, which would leave the picture.
    return np.asarray(10 * np.log10((total[high] - total[low]) / (high - low) * hz), np.float64)


def loudness_picture(draft: Float32, master: Float32, sections: list[MasterSection]) -> NDArray[np.uint8]:
    """Draw the loudness of three seconds over time."""
    chart = Chart(-40.0, -5.0, (-35, -30, -25, -20, -15, -10))
    for section in sections[1:]:
        chart.mark(section.first_frame * WIDTH // len(draft), GREY)
    chart.level(-14.0, GREEN)
    chart.line(short_term(draft), GREY)
    chart.line(short_term(master), BLUE)
    return chart.pixels


def short_term(sound: Float32) -> Float64:
    """Return the short-term loudness of each column; -70 where there is none yet."""
    meter, found, position = LoudnessMeter(RATE, 2, with_peaks=False), [], 0
    for column in range(WIDTH):
        end = (column + 1) * len(sound) // WIDTH
        meter.push(sound[position:end])
        position = end
        now = meter.short_term_lufs
        found.append(-70.0 if now is None else now)
    return np.array(found)


if __name__ == "__main__":
    main()
