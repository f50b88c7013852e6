"""The parameters of a voice: struck voices ring and fade, held voices sound as long as the note lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

NUM_SHADES: Final = 3
SHADES: Final = (0.45, 0.72, 1.0)
"""Brightness of a soft, a middle and a hard touch."""


@dataclass(frozen=True)
class StruckVoice:
    """A string, tine or bar that is hit or plucked and then rings."""

    weights: tuple[float, ...]
    """Amplitudes of the partials."""
    half_s: float
    """Time in which the fundamental of middle C loses half its amplitude."""
    ratios: tuple[float, ...] = ()
    """Partials as multiples of the fundamental; empty means 1, 2, 3 …"""
    pitch_fade: float = 0.5
    """How much faster high notes fade: 0 not at all, 1 in proportion to the frequency."""
    partial_fade: float = 0.4
    """How much faster each higher partial fades."""
    stretch: float = 0.0
    """Stiffness: how sharp the high partials are."""
    soft_dulling: float = 1.0
    """How much a soft touch takes from the high partials."""
    knock: float = 0.0
    """Amplitude of the noise of the hammer or finger."""
    knock_hz: float = 300.0
    attack_s: float = 0.002
    damp_s: float = 0.12
    """Time in which the note is damped after its end."""
    length_s: float = 3.5
    """Longest sound of a note."""
    width: float = 0.3
    pan: float = 0.0
    chorus_cents: float = 0.0
    """Detuning between left and right: double strings, or a chorus."""
    body: tuple[float, ...] = ()
    """Gain in decibels that the body adds to each octave from 62 Hz to 8 kHz."""
    fm_amount: float = 0.0
    """How strongly the fundamental modulates its own phase at the attack; 0 is off."""


@dataclass(frozen=True)
class HeldVoice:
    """A bow, breath or oscillator: a loop of two or four seconds that is faded in and out."""

    weights: tuple[float, ...] = ()
    """Amplitudes of the partials."""
    formants: tuple[tuple[float, float, float], ...] = ()
    """Centre, width and weight of each resonance; they shape partials that fall as 1/n."""
    dark: float = 0.5
    """Factor from each partial to the next in the dark version: a soft touch, or the start of a swell."""
    offsets: tuple[float, ...] = (0.0,)
    """Detuning of each player in cents; left and right have opposite signs."""
    vibrato_cents: float = 0.0
    breath: float = 0.0
    """Amplitude of the breath noise."""
    attack_s: float = 0.03
    release_s: float = 0.1
    swell_s: float = 0.0
    """Time in which the note opens from dark to bright."""
    width: float = 1.0
    """How different left and right are: 0 is mono."""
    pan: float = 0.0
    body: tuple[float, ...] = ()
    """Gain in decibels that the body adds to each octave from 62 Hz to 8 kHz."""


Voice: TypeAlias = StruckVoice | HeldVoice
