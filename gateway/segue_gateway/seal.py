"""Seals the places in page tokens and cursors: callers can neither read, change nor invent them.

A tag over the place and what it belongs to is sent with the place, which is hidden by a key stream made of the tag.
Both come from keyed BLAKE2b, which costs a tenth of HMAC-SHA-256 for such short texts: every message has a cursor.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

TAG_BYTES: Final = 16
BLOCK_BYTES: Final = 32
"""The length of one block of the key stream."""
MAX_PLACE_BYTES: Final = 255


class Seal:
    """Seals places with the key of a store. Equal places give equal texts, on every gateway."""

    def __init__(self, key: bytes) -> None:
        self._tag_hash = hashlib.blake2b(key=key, digest_size=TAG_BYTES, person=b"tag")
        self._hide_hash = hashlib.blake2b(key=key, digest_size=BLOCK_BYTES, person=b"hide")

    def seal(self, place: bytes, belongs_to: bytes) -> str:
        """Return a place as text that only `open` with the same `belongs_to` can read."""
        tag = self._tag(place, belongs_to)
        return base64.urlsafe_b64encode(tag + self._hide(place, tag)).decode()

    def open(self, text: str, belongs_to: bytes) -> bytes | None:
        """Return the place; None if `seal` did not make this text for `belongs_to`."""
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeError, binascii.Error):
            return None
        tag, hidden = raw[:TAG_BYTES], raw[TAG_BYTES:]
        if len(hidden) > MAX_PLACE_BYTES:
            return None
        place = self._hide(hidden, tag)
        return place if hmac.compare_digest(tag, self._tag(place, belongs_to)) else None

    def _tag(self, place: bytes, belongs_to: bytes) -> bytes:
        tag = self._tag_hash.copy()
        tag.update(bytes([len(place)]) + place + belongs_to)  # the length separates the two
        return tag.digest()

    def _hide(self, place: bytes, tag: bytes) -> bytes:
        stream = b"".join(self._block(tag, number) for number in range(-(-len(place) // BLOCK_BYTES)))
        hidden = int.from_bytes(place, "big") ^ int.from_bytes(stream[: len(place)], "big")
        return hidden.to_bytes(len(place), "big")

    def _block(self, tag: bytes, number: int) -> bytes:
        block = self._hide_hash.copy()
        block.update(tag + bytes([number]) if number else tag)
        return block.digest()
