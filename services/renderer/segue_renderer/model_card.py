"""The card of a model folder: the licence of its weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

CARD: Final = "README.md"
UNKNOWN_LICENSE: Final = "unknown"
MAX_CARD_BYTES: Final = 1 << 16
LINE: Final = re.compile(r"(license|license_name):\s*[\"']?([A-Za-z0-9][\w .+-]{0,63}?)[\"']?\s*", re.ASCII)


def license_of(card: Path) -> str:
    """Return the licence in the front matter of a model card, or `unknown`; nothing is guessed."""
    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(MAX_CARD_BYTES).splitlines()
    except OSError:
        return UNKNOWN_LICENSE
    if not lines or lines[0].strip() != "---":
        return UNKNOWN_LICENSE
    found: dict[str, str] = {}
    for line in lines[1:]:
        if line.strip() == "---":
            break
        if (match := LINE.fullmatch(line)) is not None:
            found.setdefault(match[1], match[2])
    named = found.get("license", UNKNOWN_LICENSE)
    return found.get("license_name", named) if named == "other" else named
