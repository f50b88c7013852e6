"""What a piece may have, and what it has when nobody says: the contract's bounds, in one place."""

from __future__ import annotations

from typing import Final

SLOWEST: Final = 20.0
FASTEST: Final = 400.0
"""Quarters a minute."""
MAX_SECONDS: Final = 1800
MAX_SECTIONS: Final = 256
MAX_BARS: Final = 2048
"""Of one section."""
DEFAULT_RATE: Final = 48_000
MAX_STYLE_BYTES: Final = 400
"""How much of the prompt each section's own prompt repeats: 256 of them must fit into one message."""
