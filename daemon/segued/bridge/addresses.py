"""Addresses and hosts of URLs: which ones a job may name."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from segued.bridge.jobs import JobRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

PORTS: Final = {"https": 443, "http": 80}
MAX_URL_BYTES: Final = 2048
HOST: Final = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?", re.ASCII
)
VISIBLE: Final = re.compile(r"[!-~]+", re.ASCII)
TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
TRANSLATED_LOCALLY: Final = ipaddress.IPv6Network("64:ff9b:1::/48")


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A URL of an allowed host."""

    scheme: str
    host: str
    port: int
    target: str
    path: str


class AllowedHosts:
    """The hosts of `bridge.hosts`. A host without a port is allowed at the usual port of the scheme."""

    def __init__(self, written: str, *, http: bool = False) -> None:
        self._schemes = ("https", "http") if http else ("https",)
        self._hosts: set[tuple[str, int | None]] = set(_hosts(written))

    def __bool__(self) -> bool:
        return bool(self._hosts)

    def parse(self, written: str) -> FileUrl:
        """Return the parts of a URL; JobRefused says why it is not allowed."""
        if len(written) > MAX_URL_BYTES or not VISIBLE.fullmatch(written):
            raise JobRefused(f"url: it must have at most {MAX_URL_BYTES} visible ASCII characters")
        try:
            parts = urlsplit(written)
            port = parts.port
        except ValueError:
            raise JobRefused("url: it is not a URL") from None
        if parts.scheme not in self._schemes:
            raise JobRefused(f"url: its scheme must be {' or '.join(self._schemes)}")
        if parts.username is not None or parts.password is not None:
            raise JobRefused("url: it must not contain a user or a password")
        host = (parts.hostname or "").rstrip(".")
        usual = PORTS[parts.scheme]
        if (host, port) not in self._hosts and not ((host, None) in self._hosts and port in {None, usual}):
            raise JobRefused("url: its host is not in bridge.hosts")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return FileUrl(parts.scheme, host, port or usual, target, parts.path)


def _hosts(written: str) -> Iterator[tuple[str, int | None]]:
    for each in filter(None, (part.strip().lower() for part in written.split(","))):
        found = HOST.fullmatch(each)
        port = int(found["port"]) if found is not None and found["port"] else None
        if found is None or (port is not None and not 0 < port < 1 << 16):
            raise ValueError(f"bridge.hosts: {each!r} is not HOST or HOST:PORT")
        yield found["name"].strip("[]"), port


def is_public(written: str) -> bool:
    """Return whether an address is one of the internet: not private, loopback, link-local, multicast or reserved.

    An address of IPv6 that stands for one of IPv4 is judged by that one.
    """
    address = ipaddress.ip_address(written.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address in TRANSLATED_LOCALLY or address.is_site_local:
        return False
    inner = address.ipv4_mapped or address.sixtofour
    if address in TRANSLATED:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if inner is not None:
        return is_public(str(inner))
    return address.is_global and not address.is_multicast and not address.is_reserved
