"""Checkpoints fetched by name: a real HTTP server stands in for the hub and answers in its way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from segue_renderer.library import Library
from segue_runtime import errors
from segued.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = "facebook/musicgen-small"
FILES = {
    "config.json": b'{"model_type": "musicgen"}',
    "model.safetensors": bytes(range(256)) * 9000,
    "spiece.model": b"pieces",
    "README.md": b"not wanted",
    "pytorch_model.bin": b"not wanted",
}


@dataclass
class Hub:
    """What the hub has, and how it misbehaves."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    cut_at: int | None = None
    asked: list[str] = field(default_factory=list)


def entry(name: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": blob}
    if name.endswith((".safetensors", ".bin")):
        found["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return found


@pytest.fixture
def hub() -> Iterator[Hub]:
    state = Hub()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(f"{self.path} {self.headers.get('Range', '')}".strip())
            if self.path == f"/api/models/{REPOSITORY}/tree/main":
                self.answer(200, json.dumps([entry(*item) for item in FILES.items()]).encode())
                return
            name = self.path.removeprefix(f"/{REPOSITORY}/resolve/main/")
            if name not in state.files:
                self.answer(404, b"")
                return
            content = state.files[name]
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
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def silent(_name: str, _done: int, _total: int) -> None:
    pass


def test_a_model_is_pulled_checked_listed_and_removed(hub: Hub, tmp_path: Path) -> None:
    library = Library(tmp_path, hub.address)
    seen: list[tuple[str, int, int]] = []
    folder = library.pull("musicgen-small", lambda *step: seen.append(step))
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "spiece.model",
        "segue-model.json",
    }
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert [done for name, done, _ in seen if name == "model.safetensors"][-1] == len(FILES["model.safetensors"])
    (one,) = library.installed()
    assert (one.name, one.folder) == ("musicgen-small", folder)
    assert library.check("musicgen-small") == folder
    before = len(hub.asked)
    library.pull("musicgen-small", silent)
    assert len(hub.asked) == before + 1, "what is here is not fetched again"
    assert library.remove("musicgen-small") == one.size
    assert library.installed() == []


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    library = Library(tmp_path, hub.address)
    hub.cut_at = 1_500_000
    with pytest.raises(errors.SegueError):
        library.pull("musicgen-small", silent)
    assert library.installed() == [], "half a model is none"
    hub.cut_at = None
    library.pull("musicgen-small", silent)
    assert any("Range" not in ask and "bytes=1500000-" in ask for ask in hub.asked)
    library.check("musicgen-small")


def test_bytes_that_the_hub_did_not_promise_are_refused(hub: Hub, tmp_path: Path) -> None:
    library = Library(tmp_path, hub.address)
    hub.files["model.safetensors"] = hub.files["model.safetensors"][::-1]
    with pytest.raises(errors.ModelInvalid, match="not those that the hub promised"):
        library.pull("musicgen-small", silent)
    assert library.installed() == []
    hub.files["model.safetensors"] = FILES["model.safetensors"]
    folder = library.pull("musicgen-small", silent)
    with (folder / "spiece.model").open("r+b") as file:
        file.write(b"P")
    with pytest.raises(errors.ModelInvalid, match=r"spiece\.model"):
        library.check("musicgen-small")


@pytest.mark.parametrize("name", ["../etc", "a/b/c", "", ".hidden", "x/..", "a b"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidField):
        Library(tmp_path, "http://127.0.0.1:1").folder_of(name)


def test_what_the_hub_has_not_and_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound):
        Library(tmp_path, hub.address).pull("musicgen-huge", silent)
    with pytest.raises(errors.ServiceUnreachable):
        Library(tmp_path, "http://127.0.0.1:1").pull("musicgen-small", silent)


def test_the_command_shows_the_licence_and_needs_no_network_for_what_is_here(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--home", str(tmp_path), "--renderer-hub", hub.address]
    assert main(["models", "pull", "musicgen-small", *common]) == 0
    said = capsys.readouterr()
    assert "CC BY-NC 4.0" in said.err
    assert "segued serve --renderer musicgen --model musicgen-small" in said.out
    count = len(hub.asked)
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 0
    assert main(["models", "list", *common]) == 0
    assert "musicgen-small" in capsys.readouterr().out
    assert len(hub.asked) == count
    assert main(["models", "rm", "musicgen-small", *common]) == 0
    assert main(["models", "rm", "musicgen-small", *common]) == 1
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 1
    assert main(["models", "rm", *common]) == 2
    with contextlib.suppress(SystemExit):
        main(["models", "fly", *common])
