"""Cleans untrusted text for display and storage. The result is the same under every version of Python."""

from __future__ import annotations

import unicodedata
from typing import Final

# Python's Unicode table grows with each version. The table of Unicode 3.2 is part of every version and never changes.
FIXED: Final = unicodedata.ucd_3_2_0
DROPPED: Final = frozenset({"Cf"})
"""Invisible marks: joiners, bidi overrides, byte order marks."""
BLANKED: Final = frozenset({"Cc", "Cs", "Co", "Zs", "Zl", "Zp"})
# Invisible marks that are newer than Unicode 3.2.
LATER_MARKS: Final = frozenset(
    {
        *range(0x0600, 0x0606), 0x061C, 0x08E2, *range(0x0890, 0x0892), *range(0x2061, 0x2070), 0x110BD, 0x110CD,
        *range(0x13430, 0x13460), *range(0x1BCA0, 0x1BCA4), *range(0xE0000, 0xE0080),
    }
)  # fmt: skip


def clean(text: str) -> str:
    """Remove control characters, bidi overrides and other invisible marks; collapse white space."""
    kept = []
    for letter in FIXED.normalize("NFC", text):
        category = "" if letter.isascii() and letter.isprintable() else FIXED.category(letter)
        if category in DROPPED or ord(letter) in LATER_MARKS:
            continue
        kept.append(" " if category in BLANKED else letter)
    return " ".join("".join(kept).split())


def blank_new_characters(text: str) -> str:
    """Replace every character that is newer than Unicode 3.2 by a blank; the length stays the same.

    Regular expressions use Python's own table, which classifies more characters in each version.
    """
    if text.isascii():
        return text
    return "".join(" " if FIXED.category(letter) == "Cn" else letter for letter in text)


def clip(text: str, max_bytes: int) -> str:
    """Cut a text to a number of UTF-8 bytes, between words where possible."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    cut = encoded[:max_bytes].decode(errors="ignore")
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > len(cut) // 2 else cut).rstrip()
