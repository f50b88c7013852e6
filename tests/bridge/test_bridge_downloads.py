"""Downloads of the bridge from a server of this test: public addresses only, no redirects, bounded size and time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from segued.bridge import downloads
from segued.bridge.addresses import AllowedHosts, is_public
from segued.bridge.jobs import JobRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

FILE = bytes(range(256)) * 800
MAX_BYTES = 1 << 20
NONE: Mapping[str, str] = MappingProxyType({})


class Answers(BaseHTTPRequestHandler):
    """Answers by the path of the request."""

    released = threading.Event()

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            self.answers()[self.path.partition("?")[0]]()

    def answers(self) -> dict[str, Callable[[], None]]:
        return {
            "/song.flac": lambda: self.send(FILE),
            "/host": lambda: self.send(self.headers["Host"].encode()),
            "/moved": lambda: self.send(b"", 302, {"Location": "http://127.0.0.1/"}),
            "/gone": lambda: self.send(b"", 404),
            "/empty": lambda: self.send(b""),
            "/packed": lambda: self.send(FILE, headers={"Content-Encoding": "gzip"}),
            "/announced": lambda: self.send(b"", headers={"Content-Length": str(MAX_BYTES + 1)}),
            "/endless": self.endless,
            "/short": lambda: self.send(FILE[:100], headers={"Content-Length": "200"}),
            "/silent": self.wait,
            "/slow": self.slow,
        }

    def send(self, content: bytes, status: int = 200, headers: Mapping[str, str] = NONE) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def wait(self) -> None:
        self.released.wait(60)

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.released.is_set():
            self.wfile.write(FILE)

    def slow(self) -> None:
        """Send a byte now and then, so that no silence is long."""
        self.send_response(200)
        self.end_headers()
        while not self.released.wait(0.05):
            self.wfile.write(b"x")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Answers.released.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"localhost:{found.server_port}"
        Answers.released.set()
        found.shutdown()
        thread.join()


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine counts as public."""
    monkeypatch.setattr(downloads, "is_public", lambda _address: True)


async def fetch(host: str, path: str, limit_s: float = 60) -> bytes:
    url = AllowedHosts(host, http=True).parse(f"http://{host}{path}")
    await downloads.download(url, copy := io.BytesIO(), MAX_BYTES, limit_s)
    return copy.getvalue()


@pytest.mark.usefixtures("trusted")
async def test_a_file_arrives_whole_with_the_host_and_the_query_of_its_url(server: str) -> None:
    assert await fetch(server, "/song.flac?key=1#part") == FILE
    assert await fetch(server, "/host") == server.encode()


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/moved", "redirects"),
        ("/gone", "answers 404"),
        ("/empty", "empty"),
        ("/packed", "compressed"),
        ("/announced", "larger than bridge.max_bytes"),
        ("/endless", "larger than bridge.max_bytes"),
        ("/short", "before the file was complete"),
    ],
)
async def test_a_wrong_answer_is_an_error(server: str, path: str, error: str) -> None:
    with pytest.raises(JobRefused, match=error):
        await fetch(server, path)


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("path", ["/silent", "/slow"])
async def test_a_download_ends_in_time(server: str, path: str) -> None:
    with pytest.raises(JobRefused, match="takes longer than"):
        await fetch(server, path, limit_s=0.3)
    # Its thread ended with it: nothing waits for the host any more.
    end = asyncio.get_running_loop().time() + 30
    while _is_downloading():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)


def _is_downloading() -> bool:
    stacks = [traceback.extract_stack(frame) for frame in sys._current_frames().values()]  # noqa: SLF001 - its only name
    return any(each.filename == downloads.__file__ for stack in stacks for each in stack)


async def test_a_private_address_is_never_connected_to(server: str) -> None:
    with pytest.raises(JobRefused, match="not public"):
        await fetch(server, "/song.flac")


@pytest.mark.usefixtures("trusted")
async def test_the_checked_address_is_the_one_that_is_used(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has another address at the second look (DNS rebinding) changes nothing."""
    loop = asyncio.get_running_loop()
    resolve, num_looks = loop.getaddrinfo, 0

    async def once(*arguments: object, **named: object) -> object:
        nonlocal num_looks
        num_looks += 1
        return await resolve("127.0.0.1", *arguments[1:], **named)  # type: ignore[arg-type]  # those of getaddrinfo

    monkeypatch.setattr(loop, "getaddrinfo", once)
    port = server.rpartition(":")[2]
    assert await fetch(f"audio.example:{port}", "/host") == f"audio.example:{port}".encode()
    assert num_looks == 1


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:8.8.8.8", True), ("64:ff9b::808:808", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.1", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("240.0.0.1", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
        ("fc00::1", False), ("ff02::1", False), ("fec0::1", False), ("::7f00:1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::1", False), ("2002:7f00:1::", False), ("2001::1", False),
    ],
)  # fmt: skip
def test_public_addresses(address: str, *, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "hosts", ["a b", "https://audio.example", "audio.example:0", "audio.example:70000", "*.example"]
)
def test_a_wrong_list_of_hosts_is_refused(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"bridge\.hosts"):
        AllowedHosts(hosts)
