"""`segued compose` on a terminal: the display at any width, and the state of the terminal afterwards."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import LIMIT_S, environment, segued
from tests.mesh.harness import Segued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform == "win32":
    pytest.skip("terminals are made by pty", allow_module_level=True)

import fcntl
import pty
import termios

from tests.daemon.terminal import Terminal

ASKED = ("compose", "calm piano, 120 bpm, C major, verse chorus", "--duration", "12")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    # Slow enough to see the progress.
    one = Segued(tmp_path_factory.mktemp("server")).start(failpoints="conductor.after_take=sleep(600ms)")
    yield one
    one.stop()


@pytest.mark.parametrize("columns", [pytest.param(40, marks=pytest.mark.slow), 80, 160])
def test_the_display_fits_the_terminal_and_is_drawn_once_at_the_end(
    tmp_path: Path, server: Segued, columns: int
) -> None:
    terminal = Terminal(tmp_path, columns, *ASKED, "--seed", str(columns), "--server", server.address)
    assert terminal.run() == 0, terminal.written
    lines = terminal.screen.lines()
    text = "\n".join(lines)
    # A display that is wider than the terminal would leave earlier drawings behind.
    assert text.count("●") == 2, text
    assert "○" not in text
    assert "◐" not in text
    assert "120 bpm" in " ".join(text.split())
    assert "song.flac" in text
    assert "LUFS" in text
    assert max(map(len, lines)) <= columns
    # The display showed the progress, not only the end.
    assert "playing" in terminal.written
    assert "○" in terminal.written
    assert terminal.screen.cursor_visible
    assert terminal.settings_kept
    assert terminal.screen.colours


def test_a_plan_in_a_pager_fits_its_terminal(tmp_path: Path, server: Segued) -> None:
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 72, 0, 0))
        answer = subprocess.run(
            [sys.executable, "-m", "segued", "plan", "calm piano, 3 minutes", "--server", server.address],
            cwd=tmp_path,
            env={name: value for name, value in environment().items() if name != "COLUMNS"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=slave,
            timeout=LIMIT_S,
            check=True,
        )
    finally:
        os.close(master)
        os.close(slave)
    timeline = [line for line in answer.stdout.decode().splitlines() if line.startswith("energy ")]
    assert [len(line) <= 72 for line in timeline] == [True]


@pytest.mark.slow
def test_no_color_is_honoured(tmp_path: Path, server: Segued) -> None:
    terminal = Terminal(tmp_path, 80, *ASKED, "--server", server.address, NO_COLOR="1")
    assert terminal.run() == 0, terminal.written
    assert not terminal.screen.colours
    assert "●" in terminal.written


@pytest.mark.parametrize("when", ["before anything", "while it plays"])
def test_ctrl_c_leaves_the_terminal_as_it_was_and_no_file(tmp_path: Path, server: Segued, when: str) -> None:
    pressed = False

    def press(terminal: Terminal) -> None:
        nonlocal pressed
        if not pressed and ("playing" in terminal.written or when == "before anything"):
            pressed = True
            terminal.press("\x03")

    terminal = Terminal(tmp_path, 80, *ASKED, "--seed", "77", "--server", server.address)
    assert terminal.run(press) == 130, terminal.written
    assert pressed
    assert terminal.screen.cursor_visible
    assert terminal.settings_kept
    assert "Traceback" not in terminal.written
    assert os.listdir(tmp_path) == []


def test_markup_and_control_sequences_in_a_plan_are_not_executed(tmp_path: Path, server: Segued) -> None:
    plan = segued(
        tmp_path, "plan", "calm piano, 120 bpm, C major", "--duration", "4", "--json", "--server", server.address
    )
    content = json.loads(plan.stdout)
    content = content.get("plan", content)
    content["title"] = "[/red] [bold]loud[/]"
    content["sections"][0]["spec"]["label"] = "[/b][link=x]"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    for columns in (80, 160):
        terminal = Terminal(tmp_path, columns, "compose", "--plan", "plan.json", "--force", "--server", server.address)
        assert terminal.run() == 0, terminal.written
        text = "\n".join(terminal.screen.lines())
        assert "[/red] [bold]loud[/]" in text
        assert "[/b][link=x]" in text
        assert not terminal.screen.titles
    shown = segued(tmp_path, "compose", "--plan", "plan.json", "--force", "--server", server.address)
    assert shown.returncode == 0
    assert "[/red] [bold]loud[/]" in shown.stderr
    content["title"] = "\x1b]0;owned\x07"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    refused = segued(tmp_path, "compose", "--plan", "plan.json", "--force", "--server", server.address)
    assert refused.returncode == 4
    assert "title" in refused.stderr
    assert "\x1b" not in shown.stderr + refused.stderr
