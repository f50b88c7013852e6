"""The process that listens on a port, for the error message when the port is in use."""

from __future__ import annotations

import contextlib
from pathlib import Path

PROC = Path("/proc")
LISTENING = "0A"


def port_owner(port: int) -> str:
    """Return "pid 812 (segued serve)", or "" when it is unknown: not Linux, or a process of another user."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return ""
    for descriptor in PROC.glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()) in sockets:
                return _description(descriptor.parents[1])
    return ""


def _listening_inodes(port: int) -> list[str]:
    """Return the inodes of the sockets that listen on a port."""
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(fields[9])
    return found


def _description(process: Path) -> str:
    # Only the program and its first word: the rest of a command line may contain a token.
    words = (process / "cmdline").read_text(errors="replace").split("\0")
    names = [Path(word).name for word in words if word and not word.startswith("-")]
    program = " ".join(names[:2] if not names[0].startswith("python") else names[1:3]) or names[0]
    return f"pid {process.name} ({program[:60]})"
