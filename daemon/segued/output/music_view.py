"""Structure, chords and other facts about the music of a report, as text."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Final

from segue.music.v1 import music_pb2
from segue_music import codec, theory
from segue_music.elements import Key
from segued.output.terminal import clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from segue.analyzer.v1 import analyzer_pb2

_LEVELS: Final = " ▁▂▃▄▅▆▇█"
_COLUMNS: Final = 40
_MAX_PARTS: Final = 16
_MAX_CHORDS: Final = 6


def music_rows(message: analyzer_pb2.Report) -> Iterator[tuple[str, str]]:
    """Yield a name and a text for each fact that was found; the Rust client has the same ones."""
    yield from _rhythm_rows(message)
    if message.HasField("crest_db"):
        yield "crest", f"{message.crest_db:.1f} dB"
    if message.onsets_per_second > 0:
        yield "onsets", f"{message.onsets_per_second:.1f} a second"
    if message.spectral_balance:
        levels = " ".join(f"{band.level_db:.0f}" for band in message.spectral_balance)
        first, last = message.spectral_balance[0], message.spectral_balance[-1]
        yield "balance", f"{levels} dB in octaves from {first.low_hz:.0f} to {last.high_hz:.0f} Hz"
    if message.energy_curve:
        yield "energy", _line(message.energy_curve)
    yield from _form_rows(message)


def _rhythm_rows(message: analyzer_pb2.Report) -> Iterator[tuple[str, str]]:
    tempo = message.tempo
    if tempo.beats_per_bar:
        yield "bars", f"{tempo.beats_per_bar} beats"
    if tempo.HasField("swing"):
        yield "swing", f"{tempo.swing:.2f}"
    if message.drum_beats:
        yield "drums", f"at {len(message.drum_beats)} of {len(tempo.beats)} beats"


def _form_rows(message: analyzer_pb2.Report) -> Iterator[tuple[str, str]]:
    rate = message.format.sample_rate or 48_000
    if message.structure:
        yield "structure", _listed([f"{part.label} {clock(part.first_frame / rate)}" for part in message.structure])
    if message.chords:
        yield "chords", _most_frequent(message.chords)
    if len(message.key_changes) > 1:
        keys = [(codec.from_message(Key, span.key.key), span.first_frame / rate) for span in message.key_changes]
        yield "keys", _listed([f"{theory.key_name(key)} {clock(at)}" for key, at in keys])


def _most_frequent(chords: Sequence[analyzer_pb2.ChordSpan]) -> str:
    """Return the chords with the most time, with their shares."""
    times: Counter[str] = Counter()
    for chord in chords:
        times[chord.root + ("m" if chord.quality == music_pb2.CHORD_QUALITY_MINOR else "")] += chord.frames
    total = sum(times.values())
    most = sorted(times.items(), key=lambda each: (-each[1], each[0]))[:_MAX_CHORDS]
    return ", ".join(f"{name} {100 * frames / total:.0f} %" for name, frames in most)


def _listed(texts: Sequence[str]) -> str:
    """Return the first texts, and the number of the others."""
    more = f" and {len(texts) - _MAX_PARTS} more" if len(texts) > _MAX_PARTS else ""
    return ", ".join(texts[:_MAX_PARTS]) + more


def _line(values: Sequence[float]) -> str:
    """Draw values from 0 to 1 as a line of blocks."""
    columns = min(_COLUMNS, len(values))
    edges = [column * len(values) // columns for column in range(columns + 1)]
    means = [sum(values[first:end]) / (end - first) for first, end in itertools.pairwise(edges)]
    return "".join(_LEVELS[min(8, int(mean * 8 + 0.5))] for mean in means)
