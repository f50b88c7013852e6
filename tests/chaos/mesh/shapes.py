"""The shapes of the mesh under test: which processes there are, and which proxies lead to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fleet.members import CONDUCTORS, GATEWAYS, INNER, role_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Shape:
    """The names of processes and links. A name begins with its role."""

    name: str
    inner: tuple[str, ...]
    """Processes that conductors call."""
    gateways: tuple[str, ...]
    conductors: tuple[str, ...]
    doors: Mapping[str, str]
    """The gateway behind each link for callers: one that breaks leaves the other callers alone."""
    stores: tuple[str, ...] = ()
    """Servers that gateways and conductors share, with a link for each of their processes."""

    @property
    def processes(self) -> tuple[str, ...]:
        """All processes of ours."""
        return (*self.inner, *self.gateways, *self.conductors)

    @property
    def links(self) -> tuple[str, ...]:
        """The links to processes of ours."""
        return (*self.inner, *self.doors)

    @property
    def renderers(self) -> tuple[str, ...]:
        """The renderers."""
        return tuple(name for name in self.inner if role_of(name) == "renderer")

    def store_links(self, store: str) -> dict[str, str]:
        """Return the link to a store for each process that uses it."""
        return {process: f"{store}-{process}" for process in (*self.gateways, *self.conductors)}


EMBEDDED = Shape(
    "embedded",
    inner=("planner", "renderer-1", "renderer-2", "mixer", "analyzer"),
    gateways=("gateway",),
    conductors=("conductor-1", "conductor-2"),
    doors={"gateway-1": "gateway", "gateway-2": "gateway"},
)
CLUSTER = Shape(
    "cluster",
    inner=INNER,
    gateways=GATEWAYS,
    conductors=CONDUCTORS,
    doors={name: name for name in GATEWAYS},
    stores=("redis", "s3"),
)
SHAPES = {shape.name: shape for shape in (EMBEDDED, CLUSTER)}
