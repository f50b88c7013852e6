"""Runs the benchmarks of the core in turn and prints their tables: python -m benchmarks."""

import subprocess
import sys

# Not here: the engine's benchmark, which needs torch, the measures of music quality, and the pictures.
MODULES = ("pipes", "load", "whole", "pool", "estimates", "queue_depth", "sketch_speed", "planner_speed", "mixer_speed")


def main() -> int:
    """Run all benchmarks; exit with 1 when one failed."""
    codes = [subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode for name in MODULES]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
