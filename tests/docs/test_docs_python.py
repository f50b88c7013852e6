"""The Python examples of the documentation run unchanged against a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.docs.recipes import ROOT
from tests.mesh.harness import Segued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = ("python.md", "clients.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
ADDRESS = "127.0.0.1:7300"
LIMIT_S = 60


@pytest.fixture(scope="module")
def segued(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("home"))
    try:
        yield one.start()
    finally:
        one.stop()


@pytest.mark.parametrize("page", PAGES)
def test_every_example_runs(segued: Segued, page: str, tmp_path: Path) -> None:
    examples = BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    assert examples
    # One process per page: examples may use files of earlier ones, and starting Python is slow.
    script = tmp_path / "examples.py"
    script.write_text("\n\n".join(examples).replace(ADDRESS, segued.address), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["python.md", "clients.md", "grpcurl.md"])
def test_linked_files_exist(page: str) -> None:
    for target in LINK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        assert (ROOT / "docs" / target).exists(), target


def test_the_diagram_shows_every_kind_of_event() -> None:
    from segue_client import events

    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    for kind in events.KINDS:
        assert kind in page, kind
