"""Drum kits: the sound and the energy of each General MIDI drum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

# General MIDI numbers.
KICK, SIDE_STICK, SNARE, CLAP, CLOSED_HAT, OPEN_HAT, LOW_TOM, MID_TOM, HIGH_TOM, CRASH, RIDE, TAMBOURINE = (
    36, 37, 38, 39, 42, 46, 45, 47, 50, 49, 51, 54,
)  # fmt: skip
SHAKER, BRUSH, CONGA, LOW_CONGA, WOODBLOCK, TRIANGLE = 70, 40, 63, 64, 76, 81
TAIKO, TIMPANI, GONG, COWBELL, BONGO, LOW_BONGO, TIMBALE, LOW_TIMBALE, CLAVES, CASTANETS, SNAP = (
    41, 43, 52, 56, 60, 61, 65, 66, 75, 85, 26,
)  # fmt: skip


@dataclass(frozen=True)
class SkinDrum:
    """A membrane: a sine whose pitch falls, and the noise of the stick."""

    low_hz: float
    bend_hz: float
    bend_s: float
    half_s: float
    click: float = 0.1
    click_s: float = 0.003
    wires: float = 0.0
    wires_s: float = 0.06
    overtone: float = 0.0
    pan: float = 0.0
    drive: float = 0.0
    gain: float = 1.0


@dataclass(frozen=True)
class NoiseDrum:
    """Noise with an envelope: hats, claps, shakers, brushes, cymbals."""

    half_s: float
    edges: int = 2
    """Number of differences taken: each makes the noise brighter."""
    attack_s: float = 0.0005
    bursts_s: tuple[float, ...] = (0.0,)
    metal: float = 0.0
    metal_hz: tuple[float, ...] = (5403.0, 6811.0, 8237.0, 9749.0, 11173.0)
    length_s: float = 0.0
    pan: float = 0.0
    width: float = 1.0
    gain: float = 1.0


@dataclass(frozen=True)
class BlockDrum:
    """Struck wood or metal: a few short sines."""

    hertz: tuple[float, ...]
    half_s: float
    noise: float = 0.1
    pan: float = 0.0


Drum: TypeAlias = SkinDrum | NoiseDrum | BlockDrum

ACOUSTIC: Final[Mapping[int, Drum]] = {
    KICK: SkinDrum(62.0, 110.0, 0.016, 0.058, click=0.3, click_s=0.006, overtone=0.4, drive=0.3, gain=0.68),
    SNARE: SkinDrum(188.0, 40.0, 0.01, 0.045, click=0.4, click_s=0.005, wires=0.6, wires_s=0.07, overtone=0.5,
                    gain=0.9),
    SIDE_STICK: BlockDrum((820.0, 1710.0), 0.016, 0.25, pan=-0.2),
    CLAP: NoiseDrum(0.03, edges=0, bursts_s=(0.0, 0.011, 0.023), length_s=0.25, width=0.7),
    CLOSED_HAT: NoiseDrum(0.016, metal=0.25, pan=0.3, width=0.2, gain=0.7),
    OPEN_HAT: NoiseDrum(0.11, metal=0.3, pan=0.3, width=0.2, gain=0.66),
    LOW_TOM: SkinDrum(82.0, 40.0, 0.03, 0.16, click=0.25, click_s=0.008, overtone=0.3, pan=-0.35, gain=0.6),
    MID_TOM: SkinDrum(118.0, 50.0, 0.03, 0.13, click=0.25, click_s=0.008, overtone=0.3, pan=0.1, gain=0.55),
    HIGH_TOM: SkinDrum(160.0, 60.0, 0.025, 0.11, click=0.25, click_s=0.008, overtone=0.3, pan=0.4, gain=0.6),
    CRASH: NoiseDrum(0.38, edges=2, metal=0.15, length_s=2.6, attack_s=0.002, gain=0.5),
    RIDE: NoiseDrum(0.2, edges=1, metal=0.6, length_s=1.1, gain=0.54, pan=-0.3, width=0.3,
                    metal_hz=(3107.0, 4419.0, 5827.0, 7753.0)),
    TAMBOURINE: NoiseDrum(0.03, metal=0.5, bursts_s=(0.0, 0.02), length_s=0.2, pan=0.4, width=0.2),
    SHAKER: NoiseDrum(0.024, edges=1, attack_s=0.018, pan=0.4, width=0.2, gain=2.8),
    BRUSH: NoiseDrum(0.06, edges=1, attack_s=0.03, length_s=0.3, width=0.5),
    CONGA: SkinDrum(232.0, 30.0, 0.02, 0.075, click=0.35, click_s=0.006, overtone=0.35, pan=0.35, gain=0.9),
    LOW_CONGA: SkinDrum(176.0, 30.0, 0.02, 0.1, click=0.3, click_s=0.006, overtone=0.35, pan=0.3, gain=0.9),
    WOODBLOCK: BlockDrum((1130.0, 2310.0), 0.022, 0.1, pan=0.3),
    TRIANGLE: BlockDrum((4210.0, 7530.0, 9870.0), 0.25, 0.02, pan=-0.4),
    TAIKO: SkinDrum(60.0, 30.0, 0.03, 0.22, click=0.4, click_s=0.012, overtone=0.45, drive=0.4, gain=0.64),
    TIMPANI: SkinDrum(73.0, 6.0, 0.02, 0.4, click=0.15, click_s=0.01, overtone=0.45, gain=0.66),
    GONG: NoiseDrum(0.9, edges=1, metal=0.5, metal_hz=(211.0, 347.0, 463.0, 911.0, 1523.0), length_s=4.5, attack_s=0.02,
                 gain=0.6),
    COWBELL: BlockDrum((562.0, 845.0), 0.045, 0.05, pan=0.2),
    BONGO: SkinDrum(410.0, 40.0, 0.01, 0.04, click=0.3, pan=-0.3),
    LOW_BONGO: SkinDrum(300.0, 40.0, 0.01, 0.055, click=0.25, pan=-0.15),
    TIMBALE: SkinDrum(330.0, 20.0, 0.01, 0.08, click=0.3, overtone=0.5, pan=-0.3, gain=0.8),
    LOW_TIMBALE: SkinDrum(240.0, 20.0, 0.01, 0.1, click=0.3, overtone=0.5, pan=-0.2, gain=0.8),
    CLAVES: BlockDrum((2480.0, 5120.0), 0.018, 0.05, pan=0.25),
    CASTANETS: BlockDrum((1650.0, 3100.0), 0.008, 0.3, pan=-0.25),
    SNAP: BlockDrum((1900.0, 2700.0), 0.012, 0.5, pan=0.15),
}  # fmt: skip
KITS: Final[Mapping[str, Mapping[int, Drum]]] = {
    "acoustic": ACOUSTIC,
    "dusty": {
        **ACOUSTIC,
        KICK: SkinDrum(64.0, 70.0, 0.02, 0.05, click=0.16, click_s=0.007, overtone=0.35, drive=0.7, gain=0.8),
        SNARE: SkinDrum(
            205.0, 30.0, 0.01, 0.035, click=0.25, click_s=0.006, wires=0.5, wires_s=0.05, overtone=0.35, drive=0.6
        ),
        CLOSED_HAT: NoiseDrum(0.014, edges=1, pan=0.2, width=0.1),
        OPEN_HAT: NoiseDrum(0.08, edges=1, pan=0.2, width=0.1),
    },
    "machine": {
        **ACOUSTIC,
        KICK: SkinDrum(50.0, 190.0, 0.022, 0.1, click=0.3, click_s=0.006, overtone=0.3, drive=0.8, gain=0.8),
        SNARE: SkinDrum(176.0, 60.0, 0.01, 0.05, click=0.25, click_s=0.005, wires=0.7, wires_s=0.065, gain=0.9),
        CLAP: NoiseDrum(0.045, edges=0, bursts_s=(0.0, 0.010, 0.021), length_s=0.32, width=0.9, gain=1.4),
        CLOSED_HAT: NoiseDrum(0.013, metal=0.1, pan=0.15, width=0.3, gain=0.68),
        OPEN_HAT: NoiseDrum(0.1, metal=0.12, length_s=0.35, pan=0.15, width=0.3, gain=0.54),
    },
    "deep": {
        **ACOUSTIC,
        KICK: SkinDrum(46.0, 120.0, 0.02, 0.16, click=0.25, click_s=0.006, overtone=0.3, drive=0.9, gain=0.76),
        SNARE: SkinDrum(210.0, 50.0, 0.008, 0.04, click=0.2, wires=0.65, wires_s=0.08),
        CLAP: NoiseDrum(0.05, edges=0, bursts_s=(0.0, 0.012, 0.025), length_s=0.35, width=0.9),
        CLOSED_HAT: NoiseDrum(0.01, edges=3, pan=0.1, width=0.3),
        OPEN_HAT: NoiseDrum(0.09, edges=3, pan=0.1, width=0.3),
    },
    "gated": {
        **ACOUSTIC,
        KICK: SkinDrum(50.0, 150.0, 0.014, 0.11, click=0.2, drive=0.8),
        SNARE: SkinDrum(170.0, 50.0, 0.012, 0.09, click=0.2, wires=0.8, wires_s=0.14, overtone=0.3, drive=0.5),
    },
    "chip": {
        **ACOUSTIC,
        KICK: SkinDrum(62.0, 300.0, 0.012, 0.06, click=0.02, drive=0.9),
        SNARE: NoiseDrum(0.05, edges=0, width=0.0, gain=0.8),
        CLOSED_HAT: NoiseDrum(0.009, edges=1, width=0.0, gain=0.8),
        OPEN_HAT: NoiseDrum(0.05, edges=1, width=0.0, gain=0.8),
        HIGH_TOM: SkinDrum(220.0, 300.0, 0.03, 0.06, click=0.0),
        MID_TOM: SkinDrum(165.0, 240.0, 0.03, 0.06, click=0.0),
        LOW_TOM: SkinDrum(124.0, 200.0, 0.03, 0.07, click=0.0),
    },
    "heavy": {
        **ACOUSTIC,
        KICK: SkinDrum(60.0, 140.0, 0.012, 0.055, click=0.5, click_s=0.006, overtone=0.35, drive=0.9, gain=0.7),
        SNARE: SkinDrum(
            178.0,
            50.0,
            0.01,
            0.055,
            click=0.4,
            click_s=0.005,
            wires=0.62,
            wires_s=0.085,
            overtone=0.5,
            drive=0.6,
            gain=0.9,
        ),
    },
    "orchestral": {
        **ACOUSTIC,
        KICK: SkinDrum(52.0, 45.0, 0.05, 0.18, click=0.2, click_s=0.014, overtone=0.4, gain=0.56),
        LOW_TOM: SkinDrum(78.0, 35.0, 0.04, 0.18, click=0.3, click_s=0.012, overtone=0.45, pan=-0.4, gain=0.48),
        MID_TOM: SkinDrum(104.0, 40.0, 0.04, 0.17, click=0.3, click_s=0.012, overtone=0.45, gain=0.6),
        HIGH_TOM: SkinDrum(138.0, 45.0, 0.035, 0.16, click=0.3, click_s=0.012, overtone=0.4, pan=0.4, gain=0.9),
        CRASH: NoiseDrum(0.6, edges=2, metal=0.1, length_s=4.0, attack_s=0.004, gain=0.5),
    },
}
# Seconds times K-weighted power of one full hit, both sides; benchmarks/sketch_levels.py prints this table.
ENERGY: Final[Mapping[str, Mapping[int, float]]] = {
    "acoustic": {36: 0.0152, 38: 0.04854, 37: 0.00598, 39: 0.02515, 42: 0.00177, 46: 0.01027, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "dusty": {36: 0.01923, 38: 0.03966, 37: 0.00598, 39: 0.02515, 42: 0.005, 46: 0.0285, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "machine": {36: 0.02789, 38: 0.05103, 37: 0.00598, 39: 0.08427, 42: 0.00204, 46: 0.00945, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "deep": {36: 0.0314, 38: 0.05731, 37: 0.00598, 39: 0.04602, 42: 0.00418, 46: 0.03816, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "gated": {36: 0.04427, 38: 0.15245, 37: 0.00598, 39: 0.02515, 42: 0.00177, 46: 0.01027, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "chip": {36: 0.03197, 38: 0.01327, 37: 0.00598, 39: 0.02515, 42: 0.00243, 46: 0.01369, 45: 0.04605, 47:
        0.04121, 50: 0.04222, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "heavy": {36: 0.01255, 38: 0.06028, 37: 0.00598, 39: 0.02515, 42: 0.00177, 46: 0.01027, 45: 0.0327, 47:
        0.02612, 50: 0.01911, 49: 0.07308, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263, 64:
        0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152, 61:
        0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
    "orchestral": {36: 0.02817, 38: 0.04854, 37: 0.00598, 39: 0.02515, 42: 0.00177, 46: 0.01027, 45: 0.02478,
        47: 0.04151, 50: 0.0632, 49: 0.11915, 51: 0.01302, 54: 0.00682, 70: 0.03015, 40: 0.0214, 63: 0.03263,
        64: 0.04378, 76: 0.00871, 81: 0.17469, 41: 0.04572, 43: 0.09079, 52: 0.19634, 56: 0.01489, 60: 0.02152,
        61: 0.0335, 65: 0.03129, 66: 0.04231, 75: 0.01254, 85: 0.00434, 26: 0.00826},
}  # fmt: skip
RINGS: Final = {CRASH: (0.42, 0.25, 0.15, 0.09, 0.06, 0.03), RIDE: (0.7, 0.2, 0.1), TRIANGLE: (0.6, 0.25, 0.15),
                GONG: (0.12, 0.12, 0.11, 0.1, 0.09, 0.08, 0.08, 0.07, 0.06, 0.06, 0.06, 0.05)}  # fmt: skip
"""Shares of the energy of ringing drums in each tenth of a second."""
