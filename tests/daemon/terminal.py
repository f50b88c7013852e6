"""Runs segued on a pseudo-terminal: the bytes that it writes, and the screen that a person sees."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

from tests.daemon.segued_command import environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_S = 100
# The first terminal that a session leader opens becomes its controlling terminal, and so Ctrl-C reaches it.
TAKE_TERMINAL = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.executable, [sys.executable, "-m", "segued", *sys.argv[1:]])
"""
CONTROL = re.compile(r"\x1b\[(?P<how>[?0-9;]*)(?P<what>[A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.")


class Screen:
    """The parts of a terminal that a progress display uses: lines, wrapping, and moving the cursor up."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0
        self.cursor_visible = True
        self.titles: list[str] = []
        self.colours = 0

    def write(self, text: str) -> None:
        position = 0
        while position < len(text):
            if found := CONTROL.match(text, position):
                self._control(found)
                position = found.end()
            else:
                self._sign(text[position])
                position += 1

    def lines(self) -> list[str]:
        return ["".join(row).rstrip() for row in self._rows]

    def _control(self, found: re.Match[str]) -> None:
        if found[0].startswith("\x1b]"):
            self.titles.append(found[0])
        how, what = found["how"] or "", found["what"]
        count = int(how) if how.isdecimal() else 1
        if what == "A":
            self._row = max(0, self._row - count)
        elif what == "K":
            del self._rows[self._row][0 if how == "2" else self._column :]
        elif what in {"h", "l"} and how == "?25":
            self.cursor_visible = what == "h"
        elif what == "m" and re.search(r"(?:^|;)(?:3[0-7]|9[0-7]|38)(?:;|$)", how):
            self.colours += 1

    def _sign(self, sign: str) -> None:
        if sign == "\r":
            self._column = 0
        elif sign == "\n":
            self._down()
        elif sign >= " ":
            if self._column == self._columns:
                self._column = 0
                self._down()
            row = self._rows[self._row]
            row += [" "] * (self._column + 1 - len(row))
            row[self._column] = sign
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])


class Terminal:
    """A run of `segued` on a terminal."""

    def __init__(self, folder: Path, columns: int, *arguments: str, **more: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
        self._before = termios.tcgetattr(slave)
        self._slave = slave
        self.screen = Screen(columns)
        self.written = ""
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *arguments],
            cwd=folder,
            env={**_plain(), "TERM": "xterm-256color", **more},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def run(self, acts: Callable[[Terminal], object] = lambda _: None) -> int:
        """Read until segued ends, and return its exit code; `acts` is called after each output."""
        os.set_blocking(self._master, False)
        raw = b""
        end = time.monotonic() + LIMIT_S
        try:
            while True:
                ended = self._process.poll() is not None
                piece = b""
                with contextlib.suppress(BlockingIOError):
                    piece = os.read(self._master, 65_536)
                raw += piece
                self.written = raw.decode("utf-8", "ignore")
                if piece:
                    acts(self)
                elif ended:
                    break
                else:
                    assert time.monotonic() < end, self.written[-2000:]
                    time.sleep(0.01)
        finally:
            self._process.kill()
            self._process.wait(10)
            self.settings_kept = termios.tcgetattr(self._slave) == self._before
            os.close(self._master)
            os.close(self._slave)
        self.screen.write(self.written)
        return self._process.returncode


def _plain() -> dict[str, Any]:
    hidden = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "CI"}
    return {name: value for name, value in environment().items() if name not in hidden}
