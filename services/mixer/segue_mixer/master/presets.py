"""Settings of a master, and the presets that fill in absent ones."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Final


class Preset(IntEnum):
    """A named set of settings; the numbers are those of the contract."""

    STREAMING = 1
    BROADCAST = 2
    CLUB = 3
    NONE = 4


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """All settings, with the names of the contract; None switches that part off."""

    preset: Preset
    target_lufs: float | None = None
    ceiling_dbtp: float | None = None
    high_pass_hz: float | None = None
    balance: float | None = None
    glue_ratio: float | None = None
    glue_threshold_lu: float | None = None
    glue_attack_ms: float | None = None
    glue_release_ms: float | None = None
    width: float | None = None
    mono_below_hz: float | None = None
    saturation: float | None = None
    lookahead_ms: float | None = None
    limiter_release_ms: float | None = None
    section_leveling: bool | None = None

    @property
    def is_bypass(self) -> bool:
        """Whether the master equals the draft."""
        return (
            self.target_lufs is None
            and self.ceiling_dbtp is None
            and not self.section_leveling
            and not self.high_pass_hz
            and not self.balance
            and (self.glue_ratio or 1.0) == 1.0
            and (1.0 if self.width is None else self.width) == 1.0
            and not self.mono_below_hz
            and not self.saturation
        )


STEREO: Final = 2
PARAMETERS: Final = tuple(item.name for item in fields(MasterSettings) if item.name != "preset")

_STREAMING: Final = MasterSettings(
    Preset.STREAMING,
    target_lufs=-14.0,
    ceiling_dbtp=-1.0,
    high_pass_hz=25.0,
    balance=0.25,
    glue_ratio=1.5,
    glue_threshold_lu=1.0,
    glue_attack_ms=20.0,
    glue_release_ms=200.0,
    width=1.0,
    mono_below_hz=100.0,
    saturation=0.1,
    lookahead_ms=5.0,
    limiter_release_ms=100.0,
    section_leveling=True,
)
PRESETS: Final = {
    Preset.STREAMING: _STREAMING,
    # Broadcast keeps its dynamics: loudness is even between programmes, not within one.
    Preset.BROADCAST: replace(_STREAMING, preset=Preset.BROADCAST, target_lufs=-23.0, glue_ratio=1.2, saturation=0.0),
    Preset.CLUB: replace(
        _STREAMING,
        preset=Preset.CLUB,
        target_lufs=-9.0,
        ceiling_dbtp=-0.5,
        balance=0.35,
        glue_ratio=2.0,
        glue_threshold_lu=0.0,
        width=1.1,
        mono_below_hz=120.0,
        saturation=0.25,
    ),
    # Stages switched on one by one get the usual times.
    Preset.NONE: MasterSettings(
        Preset.NONE,
        high_pass_hz=0.0,
        balance=0.0,
        glue_ratio=1.0,
        glue_threshold_lu=0.0,
        glue_attack_ms=20.0,
        glue_release_ms=200.0,
        width=1.0,
        mono_below_hz=0.0,
        saturation=0.0,
        lookahead_ms=5.0,
        limiter_release_ms=100.0,
        section_leveling=False,
    ),
}


def complete(preset: Preset, asked: dict[str, float | bool], channels: int) -> MasterSettings:
    """Return all settings: those asked for, and the preset's for the rest, as far as the channels allow."""
    chosen = PRESETS[preset]
    if channels != STEREO:
        chosen = replace(chosen, width=1.0, mono_below_hz=0.0)
    return replace(chosen, **asked)  # type: ignore[arg-type]  # the contract bounds each value


def stereo_only(settings: MasterSettings) -> str:
    """Return the name of an active setting that needs stereo, or an empty string."""
    if settings.width not in {None, 1.0}:
        return "width"
    return "mono_below_hz" if settings.mono_below_hz else ""
