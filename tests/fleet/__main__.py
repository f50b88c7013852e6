"""Starts a whole cluster on loopback, and ends it with Ctrl-C.

python -m tests.fleet [--folder out/fleet]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fleet.fleet import POLL_S, Fleet
from tests.fleet.storage import MissingProgramError

if TYPE_CHECKING:
    from types import FrameType

# A busy machine must not take leases away; the tests use shorter ones.
CALM = ("--conductor-lease", "10s", "--conductor-heartbeat", "1s")
SETPRIV = "setpriv"
BUILT = Path("clients/rust/target/release/segue")


def main() -> int:
    """Start, print the addresses, and wait for Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("out/fleet"), help="data and logs; they are kept")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _run(Fleet(folder, *CALM, launcher=_end_with_this() if shutil.which(SETPRIV) else ()))
        except BlockingIOError:
            print(f"error: another fleet uses {folder}; name another folder with --folder", file=sys.stderr)
        except (MissingProgramError, AssertionError) as error:
            print(f"error: {error}", file=sys.stderr)
    return 1


def _end_with_this() -> tuple[str, ...]:
    """Return a command before others: Linux kills what it starts when this process ends, even by `kill -9`.

    This process may have ended before the kernel knows that, so the command looks for it once more.
    """
    return (SETPRIV, "--pdeathsig", "KILL", "--", "sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid()))


def _run(fleet: Fleet) -> int:
    def stop(_number: int, _frame: FrameType | None) -> None:
        if fleet.is_stopping:
            fleet.kill()
        fleet.is_stopping = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    began = time.monotonic()
    print(f"logs in {fleet.log_folder}", flush=True)
    try:
        if fleet.start(_report):
            print(f"ready after {time.monotonic() - began:.0f} s; Ctrl-C ends everything. Compose with either gateway:")
            print(f'  {_program()} compose "rainy lo-fi, 82 bpm, F minor" --server {fleet.gateways[0]}', flush=True)
            _wait(fleet)
    finally:
        print("stopping; a second Ctrl-C does not wait for running work", flush=True)
        fleet.stop()
    print("all processes have ended", flush=True)
    return 0


def _wait(fleet: Fleet) -> None:
    """Wait for a signal, and name each process that ends meanwhile."""
    running = dict(fleet.members)
    while not fleet.is_stopping:
        time.sleep(POLL_S)
        for name, member in list(running.items()):
            if member.process is not None and member.process.poll() is not None:
                print(f"{name} has ended with {member.process.returncode}; see {member.log_path}", flush=True)
                del running[name]


def _report(name: str, address: str) -> None:
    print(f"  {name:<12} {address}", flush=True)


def _program() -> str:
    """Return the client that is there: `segue`, or `segued` of this environment."""
    if BUILT.is_file():
        return str(BUILT)
    return "segue" if shutil.which("segue") else ".venv/bin/segued"


if __name__ == "__main__":
    sys.exit(main())
