"""How the content of a file came about, in IPTC's terms: as tags, and as an XMP packet where a format has a place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE_TYPE_TAG: Final = "DIGITALSOURCETYPE"
"""The tag with the digital source type, a URI of SOURCE_TYPES."""
AI_SYSTEM_TAG: Final = "AISYSTEMUSED"
"""The tag with the names of the models whose weights were learned."""
SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_PROPERTIES: Final = {SOURCE_TYPE_TAG: "Iptc4xmpExt:DigitalSourceType", AI_SYSTEM_TAG: "Iptc4xmpExt:AISystemUsed"}
_STATED: Final = re.compile(
    rb"DigitalSourceType[^\"'<]{0,80}[>\"'][\"'\s]{0,8}(" + SOURCE_TYPES.encode() + rb"[A-Za-z]{1,64})"
)
_NAMESPACES: Final = (
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"'
)


def pack_xmp(tags: Mapping[str, str]) -> bytes:
    """Return an XMP packet with the source type, the models and the licence; nothing without a source type."""
    if SOURCE_TYPE_TAG not in tags:
        return b""
    stated = [f"<{name}>{_text(tags[tag])}</{name}>" for tag, name in _PROPERTIES.items() if tag in tags]
    if "LICENSE" in tags:
        terms = f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(tags["LICENSE"])}</rdf:li></rdf:Alt>'
        stated.append(f"<xmpRights:UsageTerms>{terms}</xmpRights:UsageTerms>")
    description = f'<rdf:Description rdf:about="">{"".join(stated)}</rdf:Description>'
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {_NAMESPACES}>{description}</rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    ).encode()


def _text(text: str) -> str:
    """Return a text as XML allows it."""
    return escape("".join(character if character.isprintable() else " " for character in text))


def unpack_xmp(packet: bytes) -> dict[str, str]:
    """Return the source type that a packet states. The packet may be hostile; it is searched, not parsed."""
    found = _STATED.search(packet)
    return {SOURCE_TYPE_TAG: found[1].decode()} if found else {}
