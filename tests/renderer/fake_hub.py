"""A real HTTP server that stands in for the hub and answers in its way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "/api/models/"


@dataclass
class Hub:
    """The files of the hub by repository and name, and its faults."""

    listed: dict[str, dict[str, bytes]]
    address: str = ""
    cut_at: int | None = None
    asked: list[str] = field(default_factory=list)
    files: dict[str, dict[str, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.files = {repository: dict(files) for repository, files in self.listed.items()}


def entry(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith((".safetensors", ".bin")):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return found


@contextlib.contextmanager
def serving(listed: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories on this machine."""
    state = Hub(listed)

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
            if self.path.startswith(API):
                repository = self.path.removeprefix(API).removesuffix("/tree/main")
                if repository in state.listed:
                    folder = {"type": "directory", "path": "samples", "size": 0, "oid": ""}
                    files = [entry(*item) for item in state.listed[repository].items()]
                    self.answer(200, json.dumps([folder, *files]).encode())
                else:
                    self.answer(404, b"")
                return
            repository, _, name = self.path.removeprefix("/").partition("/resolve/main/")
            if name not in state.files.get(repository, {}):
                self.answer(404, b"")
                return
            content = state.files[repository][name]
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.answer(206 if first else 200, content[first:], cut_at=state.cut_at)

        def answer(self, status: int, content: bytes, cut_at: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:cut_at])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
