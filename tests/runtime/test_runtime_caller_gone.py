"""A caller that leaves while its response is sent causes no error and no traceback."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from segue_runtime import logs
from segue_runtime.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

cygrpc = pytest.importorskip("grpc._cython.cygrpc")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure(LogSettings(level="warning", format="json"))
    root.handlers[:] = handlers
    root.setLevel(level)


def written(level: str, error: Exception) -> str:
    """Return the log when gRPC reports that a response could not be sent."""
    stream = io.StringIO()
    logs.configure(LogSettings(level=level, format="json"), stream)
    logging.getLogger("grpc._cython.cygrpc").error("raised in core by servicer method [/a.B/C]", exc_info=error)
    return stream.getvalue()


def test_it_is_logged_in_one_line_at_level_info() -> None:
    gone = cygrpc.ExecuteBatchError("Failed")
    (line,) = written("info", gone).splitlines()
    said = json.loads(line)
    assert said["level"] == "info"
    assert "[/a.B/C]" in said["detail"]
    assert "exception" not in said
    assert written("error", gone) == ""


def test_every_other_error_keeps_its_traceback() -> None:
    said = json.loads(written("error", RuntimeError("broken")))
    assert said["level"] == "error"
    assert said["exception"][0]["exc_type"] == "RuntimeError"
