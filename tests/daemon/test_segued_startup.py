"""The modules that a start loads: `--help` loads no slow ones, `serve` no unneeded ones."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.daemon.segued_command import environment

if TYPE_CHECKING:
    from pathlib import Path

LOADED_BY_HELP = """
import contextlib, io, json, sys
from segued.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["--help"])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
LOADED_BY_SERVE = """
import asyncio, json, sys
from pathlib import Path
from segue_runtime.settings import load
from segued.serve.node import Node
async def start():
    async with Node(load({"home": sys.argv[1]}, environ={}, folder=Path(sys.argv[1])), listen=()):
        return set(sys.modules)
print(json.dumps(sorted(asyncio.run(start()))))
"""


def loaded(folder: Path, program: str) -> set[str]:
    answer = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found: set[str] = set(json.loads(answer.stdout.splitlines()[-1]))
    return found


def test_help_loads_nothing_slow(tmp_path: Path) -> None:
    slow = {"grpc", "google", "numpy", "scipy", "structlog", "rich", "prometheus_client", "protovalidate", "soundfile"}
    assert not slow & loaded(tmp_path, LOADED_BY_HELP)


def test_serve_loads_neither_all_of_scipy_nor_what_only_tests_need(tmp_path: Path) -> None:
    # Each of these takes longer than all needed modules together.
    unneeded = {"scipy.signal", "scipy.stats", "scipy.optimize", "librosa", "torch", "matplotlib", "hypothesis"}
    assert not unneeded & loaded(tmp_path, LOADED_BY_SERVE)
