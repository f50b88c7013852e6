"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before anything imports numpy: our matrix products are small, and threads that wait for each other on a busy machine
# make them up to fifty times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Settings of whoever runs the tests must not reach them.
for name in [name for name in os.environ if name.startswith("SEGUE_")]:
    del os.environ[name]


# A time that one example may take would be an assertion about the machine.
hypothesis.settings.register_profile("segue", deadline=None)
hypothesis.settings.load_profile("segue")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-reference",
        action="store_true",
        help="fail, not skip, where a program is missing",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.reference("ffmpeg")` names the programs that a test needs."""
    for mark in item.iter_markers("reference"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            text = f"needs {', '.join(missing)} (.ci/reference-programs lists what to install)"
            if item.config.getoption("--require-reference"):
                pytest.fail(text)
            pytest.skip(text)


@pytest.fixture(autouse=True)
def nothing_armed() -> Iterator[None]:
    """A failpoint that one test armed in this process must not hit the next."""
    yield
    from segue_runtime import failpoints

    failpoints.arm("")
