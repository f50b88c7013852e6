"""Limits and defaults of a piece. The limits are those of the contract."""

from __future__ import annotations

from typing import Final

SLOWEST: Final = 20.0
"""Quarters a minute."""
FASTEST: Final = 400.0
"""Quarters a minute."""
MAX_SECONDS: Final = 1800
MAX_SECTIONS: Final = 256
MAX_BARS: Final = 2048
"""Of one section."""
DEFAULT_RATE: Final = 48_000
DEFAULT_SECONDS: Final = 60
DEFAULT_LOOP_BARS: Final = 8
MAX_NEGATIVE_PROMPT_BYTES: Final = 4096
"""Of one section."""
MAX_STYLE_BYTES: Final = 400
"""The part of the prompt that every section's own prompt repeats: 256 of them must fit into one message."""
