"""Setup of all tests."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.s3_server import S3Server

# Must run before any import of numpy. The matrix products are small, and on a busy machine threads make them up to
# fifty times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Settings from the developer's environment must not reach the tests.
for name in [name for name in os.environ if name.startswith("SEGUE_")]:
    del os.environ[name]


# A deadline per example would be an assertion about the machine. Quick runs try the same examples every time, so that a
# failure belongs to the change that it appears with; `make nightly` draws new ones.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("new", deadline=None, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-reference",
        action="store_true",
        help="fail instead of skip when a reference program is missing",
    )
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="device of the engine's tests; mps is not tested",
    )
    parser.addoption(
        "--shape",
        choices=("embedded", "cluster"),
        default="embedded",
        help="meshes of tests/mesh: one process on a disk, or several of each role on Redis and S3",
    )
    parser.addoption(
        "--examples",
        choices=("same", "new"),
        default="same",
        help="examples of the property tests: the same in every run, or drawn anew",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the examples of the property tests before their modules are imported."""
    hypothesis.settings.load_profile(config.getoption("--examples"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose programs, as in `@pytest.mark.reference("ffmpeg")`, are missing."""
    for mark in item.iter_markers("reference"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing:
            text = f"needs {', '.join(missing)} (.ci/run installs the reference programs)"
            if item.config.getoption("--require-reference"):
                pytest.fail(text)
            pytest.skip(text)


@pytest.fixture(autouse=True)
def disarmed_failpoints() -> Iterator[None]:
    """Disarm failpoints after each test of this process."""
    yield
    from segue_runtime import failpoints

    failpoints.arm("")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server. Its tests are marked with `reference("versitygw")`."""
    from tests.runtime import s3_server

    with s3_server.running(tmp_path_factory.mktemp("s3") / "buckets") as server:
        yield server


@pytest.fixture(scope="session")
def other_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server of another kind. Its tests are marked with `reference("gofakes3")`."""
    from tests.runtime import s3_server

    folder = tmp_path_factory.mktemp("other-s3") / "buckets"
    with s3_server.running(folder, s3_server.OtherS3Server) as server:
        yield server
