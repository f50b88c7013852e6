"""The tracks between boundaries: each is measured by itself, so that one that fails does not lose the others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segue_analyzer.brightness import mean_brightness_hz
from segue_analyzer.mixes.boundaries import Boundary, find_boundaries
from segue_analyzer.mixes.texture import TextureSums
from segue_analyzer.report import MeasuredTempo, Track
from segue_analyzer.rhythm.tempo import find_pulse
from segue_analyzer.tonality.key import find_key
from segue_audio.loudness import HOPS_PER_SECOND, integrated, loudness_of

if TYPE_CHECKING:
    import numpy as np

    from segue_analyzer.rhythm.network import BeatActivations
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float32, Float64

NOT_MEASURED: Final = "this track could not be measured"


@dataclass(frozen=True, slots=True)
class Features:
    """What is kept of a recording."""

    sample_rate: int
    frames: int
    bands: np.ndarray[tuple[int, int], np.dtype[np.float16]]
    heard: BeatActivations
    harmony: Harmony
    centroids_hz: Float32
    powers: Float64
    bass_powers: Float64


def find_tracks(features: Features) -> tuple[Track, ...]:
    """Find the tracks of a recording and measure each of them; a recording without boundaries is one track."""
    sums = TextureSums(features.bands, features.heard, features.harmony)
    length_s = features.frames / features.sample_rate
    found = [Boundary(0.0, 0.0), *find_boundaries(sums, features.powers), Boundary(length_s, length_s)]
    return tuple(_track(features, before, after) for before, after in itertools.pairwise(found))


def _track(features: Features, before: Boundary, after: Boundary) -> Track:
    rate = features.sample_rate
    first, end = round(before.first_s * rate), round(after.end_s * rate)
    place = Track(first, end - first, round(before.fade_s * rate), round(after.fade_s * rate))
    try:
        return _measured(features, place)
    except Exception:  # whatever is wrong with one track, the others are measured
        from segue_runtime import logs

        log = logs.get("analyzer")
        log.exception("a track was not measured", first_frame=place.first_frame, frames=place.frames)
        return Track(place.first_frame, place.frames, place.fade_in_frames, place.fade_out_frames, error=NOT_MEASURED)


def _measured(features: Features, place: Track) -> Track:
    rate = features.sample_rate
    end_frame = place.first_frame + place.frames
    # What is heard of the neighbours in crossfades says nothing about this track.
    first_s = (place.first_frame + place.fade_in_frames / 2) / rate
    end_s = (end_frame - place.fade_out_frames / 2) / rate
    pulse = find_pulse(features.heard.part(first_s, end_s))
    tempo = None
    if pulse is not None:
        tempo = MeasuredTempo(pulse.beats_per_minute, pulse.confidence, pulse.other_beats_per_minute)
    hops = slice(*(round(frame / rate * HOPS_PER_SECOND) for frame in (place.first_frame, end_frame)))
    return Track(
        place.first_frame,
        place.frames,
        place.fade_in_frames,
        place.fade_out_frames,
        loudness=loudness_of(features.powers[hops]),
        bass_loudness_lufs=integrated(features.bass_powers[hops]),
        tempo=tempo,
        key=find_key(features.harmony.part(first_s, end_s)),
        brightness_hz=mean_brightness_hz(features.centroids_hz, round(first_s * rate), round(end_s * rate)),
    )
