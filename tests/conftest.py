"""What holds for all tests."""

from __future__ import annotations

import os

# Before anything imports numpy: our matrix products are small, and threads that wait for each other on a busy machine
# make them up to fifty times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
