"""Text of strangers made fit to be shown, stored and handed on."""

from __future__ import annotations

import unicodedata


def clean(text: str) -> str:
    """Return text without control characters, bidi overrides and other invisible marks, with single spaces."""
    kept = (
        letter if letter.isprintable() else "" if unicodedata.category(letter) == "Cf" else " "
        for letter in unicodedata.normalize("NFC", text)
    )
    return " ".join("".join(kept).split())


def clip(text: str, max_bytes: int) -> str:
    """Return the beginning of a text that fits into a number of UTF-8 bytes; whole words where there are some."""
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    cut = encoded[:max_bytes].decode(errors="ignore")
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > len(cut) // 2 else cut).rstrip()
