"""Runs every benchmark of the core, one after the other, and prints their tables: python -m benchmarks."""

import subprocess
import sys

# The engine's needs torch; the music's quality and the pictures are commands of their own.
MODULES = ("pipes", "sketch_speed", "planner_speed", "mixer_speed")


def main() -> int:
    """Run them; the exit code says whether all ended well."""
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode for name in MODULES]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
