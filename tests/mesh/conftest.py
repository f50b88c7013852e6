"""Chooses the shape of the meshes, and the tests that run on it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.mesh import shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

LEFT_OUT = pytest.StashKey[dict[str, int]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `@pytest.mark.only_shape(NAME, reason)` keeps for the other shape."""
    shape = config.getoption("--shape")
    left_out: list[tuple[pytest.Item, str]] = []
    for item in items:
        mark = item.get_closest_marker("only_shape")
        if mark is not None and mark.args[0] != shape:
            assert mark.args[0] in shapes.SHAPES
            left_out.append((item, str(mark.args[1])))
    config.hook.pytest_deselected(items=[item for item, _ in left_out])
    gone = {item.nodeid for item, _ in left_out}
    items[:] = [item for item in items if item.nodeid not in gone]
    config.stash[LEFT_OUT] = dict(Counter(reason for _, reason in left_out))
    if hasattr(config, "workeroutput"):  # of pytest-xdist: each worker has collected the same
        config.workeroutput["left_out"] = config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist has left out."""
    node.config.stash[LEFT_OUT] = dict(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the reasons, so that nothing is left out unseen."""
    for reason, count in sorted(config.stash.get(LEFT_OUT, {}).items()):
        terminalreporter.write_line(f"NOT FOR THIS SHAPE [{count}] {reason}")


@pytest.fixture(scope="session", autouse=True)
def shape_of_all(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start the servers that the shape needs, and end them."""
    with shapes.chosen(request.config.getoption("--shape")):
        yield
