"""Key detection: pitch classes compared with key profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from segue_analyzer.report import MeasuredKey
from segue_analyzer.tonality.chroma import FRAMES_PER_SECOND
from segue_analyzer.tonality.key_network import key_log_chances, summed
from segue_music.elements import Key, Mode
from segue_music.theory import FLAT_NAMES, SHARP_NAMES, uses_flats

if TYPE_CHECKING:
    from segue_analyzer.tonality.chroma import Harmony
    from segue_audio.arrays import Float64


# Frequency of each degree: Temperley's key profiles from the Kostka-Payne corpus (Music and Probability, 2007).
_MAJOR: Final = np.array([0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400])
_MINOR: Final = np.array([0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330])
# Popular music seldom raises the seventh of minor, so the natural one has its own profile.
_NATURAL_MINOR: Final = np.array([0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.330, 0.133])
# Profile of the bass: the tonic, then the fifth and the fourth.
_BASS: Final = np.array([1.0, 0.05, 0.25, 0.2, 0.25, 0.5, 0.05, 0.6, 0.15, 0.3, 0.15, 0.1])
_BASS_WEIGHT: Final = 0.2
_DEGREES: Final = (np.arange(12) - np.arange(12)[:, None]) % 12
"""The degree of each pitch class, (tonics, pitch classes)."""
_PROFILE_WEIGHT: Final = 6.0
"""Nats for a correlation of 1: the profiles come from real music, and hold the network near it."""
_LEAST_S: Final = 0.4
_LEAST_TONE_SHARE: Final = 0.06
"""Drums, clicks and speech reach 0.014, noise 0.033; music with tones has 0.12 or more (training half of
training/beats)."""
_CLEAR_PURITY: Final = 0.25
"""Below it the tones agree little about their tuning, and the confidence falls."""


def find_key(harmony: Harmony) -> MeasuredKey | None:
    """Find the key; None without tones. A key that fits badly has a low confidence."""
    heard = sounding(harmony)
    if heard.sum() < _LEAST_S * FRAMES_PER_SECOND or harmony.tone_share < _LEAST_TONE_SHARE:
        return None
    treble, bass = summed(harmony.treble[heard]), summed(harmony.bass[heard])
    mixed = treble + 0.25 * bass
    if np.count_nonzero(mixed > 0.05 * mixed.max()) < 2:
        return None
    fits = _fits(mixed, bass)
    log_chances = key_log_chances(harmony.treble[heard], harmony.bass[heard]) + _PROFILE_WEIGHT * fits
    chances = np.exp(log_chances - log_chances.max())
    order = np.argsort(chances)[::-1]
    confidence = float(chances[order[0]] / chances.sum()) * float(np.clip(fits[order[0]], 0.0, 1.0))
    confidence *= min(1.0, harmony.purity / _CLEAR_PURITY)
    return MeasuredKey(key_at(int(order[0])), confidence, key_at(int(order[1])))


def sounding(harmony: Harmony) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which frames have tones."""
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = harmony.level > max(
        float(harmony.level.max(initial=0.0)) * 0.02, 1e-9
    )
    return found


def key_at(index: int) -> Key:
    """Return a key: 0 to 11 are major from C up, 12 to 23 minor, spelled with the fewest accidentals."""
    mode = Mode.MAJOR if index < 12 else Mode.MINOR
    flat = Key(FLAT_NAMES[index % 12], mode)
    return flat if uses_flats(flat) else Key(SHARP_NAMES[index % 12], mode)


def overall_chroma(harmony: Harmony) -> tuple[float, ...]:
    """Return the strength of each pitch class, with sum 1; empty without tones."""
    total = harmony.treble.sum(axis=0) + harmony.bass.sum(axis=0)
    return tuple((total / total.sum()).tolist()) if total.sum() > 1e-9 else ()


def _fits(mixed: Float64, bass: Float64) -> Float64:
    """Return the fit of each of the 24 keys: correlation of all tones and of the bass."""
    major, minor, natural = (_correlations(mixed, each) for each in (_MAJOR, _MINOR, _NATURAL_MINOR))
    low = _BASS_WEIGHT * _correlations(bass, _BASS)
    tones = np.concatenate([major, np.maximum(minor, natural)])
    fits: Float64 = (1 - _BASS_WEIGHT) * tones + np.concatenate([low, low])
    return fits


def _correlations(measured: Float64, profile: Float64) -> Float64:
    """Return the correlation with the profile on each of the twelve tonics."""
    centred, model = measured - measured.mean(), profile - profile.mean()
    size = float(np.sqrt((centred**2).sum() * (model**2).sum()))
    return (centred * model[_DEGREES]).sum(axis=1) / size if size > 1e-12 else np.zeros(12)
