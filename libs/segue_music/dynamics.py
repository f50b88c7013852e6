"""How loud the energy of a bar or section is in each genre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LOUDEST_LUFS: Final = -14.0
"""Loudness of full energy in the draft."""
FULL: Final = 0.7
"""From this energy on, the whole band plays in every genre: only LIFT_LU is left."""
LIFT_LU: Final = 2.0
QUIET: Final = 1 / 3
"""The mean energy of an intro: the depth of a genre is how much quieter than FULL it is."""
STILL_SHARE: Final = 0.35
"""Share of the slope that is left below QUIET, so that the quietest bar is heard."""
DEFAULT_DEPTH_LU: Final = 6.0
DEPTHS_LU: Final[Mapping[str, float]] = {
    # Forms whose loudest section stays below FULL have more depth, and so the same range.
    "classical": 10.5, "baroque": 9.0, "cinematic": 9.5, "ambient": 6.0, "newage": 8.5, "jazz": 9.0, "blues": 9.0,
    "rock": 8.0, "indie": 8.0, "folk": 8.0, "country": 8.0, "celtic": 8.0, "gospel": 8.0, "soul": 7.5, "tango": 7.5,
    "pop": 7.0, "metal": 6.5, "punk": 5.0, "synthwave": 4.0,
    "house": 2.6, "techno": 2.6, "trance": 2.6, "dubstep": 2.6, "dnb": 2.6, "disco": 2.6, "chiptune": 2.6,
    "lofi": 2.8, "hiphop": 2.8, "trap": 2.8, "afrobeat": 3.0, "reggae": 3.0, "funk": 3.0,
}  # fmt: skip


def loudness_lufs(genre: str, energy: float) -> float:
    """Return the loudness of an energy from 0 to 1 in the draft of a genre."""
    slope = DEPTHS_LU.get(genre, DEFAULT_DEPTH_LU) / (FULL - QUIET)
    found = LOUDEST_LUFS - LIFT_LU * (1.0 - max(FULL, energy)) / (1.0 - FULL)
    found -= slope * max(0.0, FULL - max(QUIET, energy))
    return found - STILL_SHARE * slope * max(0.0, QUIET - energy)
