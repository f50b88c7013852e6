"""Start every role in an environment with only its own extra, as in its image."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.generate import ROOT, find_uv

# Each role's image installs the extra of the same name.
ROLES = ("planner", "renderer", "mixer", "analyzer", "gateway", "conductor")
LIMIT_S = 120


def start(role: str, environment: Path, home: Path) -> str:
    """Start a role, check its health and stop it. Return the error, or an empty string."""
    segued = environment / "bin" / "segued"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")}
    command = [
        str(segued),
        "serve",
        "--role",
        role,
        "--home",
        str(home),
        "--listen",
        "127.0.0.1:0",
        "--log-level",
        "error",
    ]
    with subprocess.Popen(
        command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if "ready on" not in line:
                process.kill()
                return process.communicate(timeout=LIMIT_S)[1] or "it ended without output"
            address = line.split()[-1]
            problem = wait_for_health(segued, address, clean)
            if problem:
                return problem
            process.terminate()
            return "" if process.wait(LIMIT_S) == 0 else f"it ended with {process.returncode}"
        finally:
            process.kill()


def wait_for_health(segued: Path, address: str, environment: dict[str, str]) -> str:
    """Wait until the role is healthy; on a busy machine it can be unhealthy at first. Return the error, or nothing."""
    until = time.monotonic() + LIMIT_S
    while True:
        health = subprocess.run(
            [segued, "health", address], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        if health.returncode == 0 or time.monotonic() > until:
            return health.stderr
        time.sleep(1)


def main() -> int:
    """Check all roles; exit with 1 when one did not start."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="segue-extras-") as folder:
        for role in ROLES:
            environment, home = Path(folder, role), Path(folder, f"home-{role}")
            home.mkdir()
            subprocess.run(
                [find_uv(), "sync", "-q", "--frozen", "--no-dev", "--python", sys.executable, "--extra", role],
                cwd=ROOT,
                env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(environment)},
                check=True,
            )
            problem = start(role, environment, home)
            print(f"{role}: {problem.strip() or 'starts with only its extra'}", flush=True)
            failed += bool(problem)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
