"""Random faults against the whole mesh as real processes, and a table of what was guaranteed and held.

python -m tests.chaos [--shape embedded|cluster] [--seed N] [--pieces 100] [--faults 20] [--minutes 10] [--keep]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.mesh.shapes import SHAPES
from tests.chaos.report import printed
from tests.chaos.run import ChaosRun


def main() -> int:
    """Run and print; return 1 if a guarantee was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="orders and faults depend on it; default: a random one")
    parser.add_argument("--pieces", type=int, default=100, help="pieces to order")
    parser.add_argument("--faults", type=int, default=None, help="faults; default: about as many as pieces")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="embedded", help="processes and stores")
    parser.add_argument("--minutes", type=float, default=10, help="time after which no new piece and no fault begins")
    parser.add_argument("--keep", action="store_true", help="keep the folder with store, artifacts and logs")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    faults = f" FAULTS={given.faults}" if given.faults is not None else ""
    again = f"SEED={seed} PIECES={given.pieces}{faults} MINUTES={given.minutes:g} make chaos SHAPE={given.shape}"
    print(f"the same orders and faults again: {again}", flush=True)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    home = Path(tempfile.mkdtemp(prefix="segue-chaos-"))
    outcome = asyncio.run(
        ChaosRun(seed, given.pieces, given.minutes, home, say, shape=SHAPES[given.shape], num_faults=given.faults).run()
    )
    print(printed(outcome, seed))
    if given.keep or outcome.found:
        print(f"store, artifacts and logs of the processes: {home}")
    else:
        with contextlib.suppress(OSError):
            shutil.rmtree(home)
    return 1 if outcome.found else 0


if __name__ == "__main__":
    sys.exit(main())
