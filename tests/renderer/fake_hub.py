"""A real HTTP server that stands in for the hub and answers huggingface_hub in its way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator

INFO = re.compile(r"/api/models/(.+)/revision/([^/?]+)\?blobs=true")
FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)")
COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """The files of the hub by repository and name, and its faults."""

    listed: dict[str, dict[str, bytes]]
    address: str = ""
    cut_at: list[int] = field(default_factory=list)
    """Each answer with a file's content is cut here, one number for each answer."""
    longer_by: int = 0
    """Sends this many bytes more than it lists."""
    token: str = ""
    """Callers without it are refused."""
    card: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {repository: dict(files) for repository, files in self.listed.items()}

    @property
    def fetched(self) -> list[str]:
        """The files whose content was asked for, with the range."""
        return [ask.removeprefix("GET ") for ask in self.asked if ask.startswith("GET ") and "/resolve/" in ask]


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def sibling(name: str, content: bytes) -> dict[str, object]:
    found: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob_id(content)}
    if name.endswith((".safetensors", ".bin")):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return found


class _Answers(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.answer(401, b"", error="GatedRepo")
        elif found := INFO.fullmatch(self.path):
            self.answer_info(*found.groups())
        elif found := FILE.fullmatch(self.path):
            self.answer_file(*found.groups())
        else:
            self.answer(404, b"")

    def answer_info(self, repository: str, revision: str) -> None:
        if repository not in self.hub.listed:
            self.answer(404, b"", error="RepoNotFound")
        elif revision not in {"main", COMMIT}:
            self.answer(404, b"", error="RevisionNotFound")
        else:
            files = [sibling(*item) for item in self.hub.listed[repository].items()]
            info = {"id": repository, "sha": COMMIT, "siblings": files, "cardData": self.hub.card}
            self.answer(200, json.dumps(info).encode())

    def answer_file(self, repository: str, _commit: str, name: str) -> None:
        content = self.hub.files.get(repository, {}).get(name)
        if content is None:
            self.answer(404, b"", error="EntryNotFound")
            return
        # As on the hub, the etag is the digest of the large file, or the blob's.
        listed = sibling(name, self.hub.listed[repository][name])
        etag: Any = listed["lfs"]["sha256"] if "lfs" in listed else listed["blobId"]  # type: ignore[index]  # JSON of the hub
        content += bytes(self.hub.longer_by) if self.command == "GET" else b""
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        self.send_header("ETag", f'"{etag}"')
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        cut = self.hub.cut_at.pop(0) if self.hub.cut_at and self.command == "GET" else None
        self.end(content[first:], cut)

    def answer(self, status: int, content: bytes, error: str = "") -> None:
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
        self.end(content)

    def end(self, content: bytes, cut: int | None = None) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:cut])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@contextlib.contextmanager
def serving(listed: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories on this machine; huggingface_hub may ask them, also in tests that switch it off line."""
    state = Hub(listed)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"hub": state}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        with mock.patch("huggingface_hub.constants.HF_HUB_OFFLINE", new=False):
            yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
