"""Downloads the files of URLs: from public addresses, without redirects, bounded in size and time."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from segue_runtime.settings import format_duration
from segued.bridge.addresses import is_public
from segued.bridge.jobs import JobRefused

if TYPE_CHECKING:
    from segued.bridge.addresses import FileUrl

PIECE_BYTES: Final = 1 << 16
SILENCE_S: Final = 20.0
"""Longest time without a byte, and for the connection."""
PLAIN: Final = frozenset({"", "identity"})
MOVED: Final = range(300, 400)


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """An address that was resolved, checked, and is connected to as it is."""

    family: int
    place: Any


async def download(url: FileUrl, target: BinaryIO, max_bytes: int, limit_s: float) -> None:
    """Write the file of a URL into an open file; JobRefused says why it is impossible."""
    try:
        async with asyncio.timeout(limit_s):
            transfer = Transfer(url, await public_address(url), target, max_bytes)
            try:
                await asyncio.to_thread(transfer.run)
            finally:
                transfer.abort()
    except TimeoutError:
        raise JobRefused(f"url: the download takes longer than {format_duration(limit_s)}") from None


async def public_address(url: FileUrl) -> SocketAddress:
    """Resolve the host once. It is refused if any of its addresses is not public."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise JobRefused("url: its host has no address") from None
    if not found or not all(is_public(str(place[0])) for *_, place in found):
        raise JobRefused("url: its host has an address that is not public")
    family, _, _, _, place = found[0]
    return SocketAddress(family, place)


class Transfer:
    """One download, which runs in a thread and can be aborted from another one."""

    def __init__(self, url: FileUrl, address: SocketAddress, target: BinaryIO, max_bytes: int) -> None:
        self._url = url
        self._target = target
        self._max_bytes = max_bytes
        self._connection = PinnedConnection(url, address)

    def run(self) -> None:
        """Request the file and write its bytes."""
        try:
            self._request()
        except ssl.SSLError:
            raise JobRefused("url: its host has no valid certificate") from None
        except TimeoutError:
            raise JobRefused(f"url: its host sent nothing for {SILENCE_S:g} s") from None
        except OSError:
            raise JobRefused("url: its host does not answer, or the connection broke") from None
        except http.client.HTTPException:
            raise JobRefused("url: its host did not send a whole file") from None

    def abort(self) -> None:
        """End the connection, so that the thread ends too."""
        self._connection.abort()

    def _request(self) -> None:
        connection = self._connection
        connection.request("GET", self._url.target, headers={"Accept-Encoding": "identity", "User-Agent": "segued"})
        response = connection.getresponse()
        if response.status in MOVED:
            raise JobRefused(f"url: its host redirects ({response.status}), which is not followed")
        if response.status != http.client.OK:
            raise JobRefused(f"url: its host answers {response.status}")
        if response.getheader("Content-Encoding", "").strip().lower() not in PLAIN:
            raise JobRefused("url: its host sends compressed bytes, which were not asked for")
        self._check_size(response.length or 0)
        num_bytes = 0
        while piece := response.read(PIECE_BYTES):
            num_bytes += len(piece)
            self._check_size(num_bytes)
            self._write(piece)
        if response.length:
            raise JobRefused("url: the connection ended before the file was complete")
        if num_bytes == 0:
            raise JobRefused("url: the file is empty")

    def _write(self, piece: bytes) -> None:
        try:
            self._target.write(piece)
        except OSError:
            raise JobRefused("url: the file does not fit into the bridge's temporary folder") from None

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise JobRefused(f"url: the file is larger than bridge.max_bytes, which is {self._max_bytes}")


class PinnedConnection(http.client.HTTPConnection):
    """A connection to a given address. The name of the URL is in the request, and must be in the certificate."""

    def __init__(self, url: FileUrl, address: SocketAddress) -> None:
        super().__init__(url.host, url.port, timeout=SILENCE_S)
        self._address = address
        self._name = url.host
        self._context: ssl.SSLContext | None = None
        if url.scheme == "https":
            self._context = ssl.create_default_context()
            self.default_port = http.client.HTTPS_PORT
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Connect to the address without another look at the name."""
        self._socket = socket.socket(self._address.family, socket.SOCK_STREAM)
        self._socket.settimeout(SILENCE_S)
        self._socket.connect(self._address.place)
        if self._context is not None:
            self._socket = self._context.wrap_socket(self._socket, server_hostname=self._name)
        self.sock = self._socket

    def abort(self) -> None:
        """End the connection from any thread; a read of another thread returns at once."""
        if (socket_ := self._socket) is not None:
            with contextlib.suppress(OSError):
                socket_.shutdown(socket.SHUT_RDWR)
            socket_.close()
