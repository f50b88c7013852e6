"""The processes of a cluster: what each is called, where it listens, and how it finds the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.mesh.harness import Segued, address_flag, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

RENDERERS: Final = ("renderer-1", "renderer-2", "renderer-3")
INNER: Final = ("planner", *RENDERERS, "mixer", "analyzer")
CONDUCTORS: Final = ("conductor-1", "conductor-2")
GATEWAYS: Final = ("gateway-1", "gateway-2")
MEMBERS: Final = (*INNER, *CONDUCTORS, *GATEWAYS)


def role_of(member: str) -> str:
    """Return the role of a process by its name."""
    return member.partition("-")[0]


def free_addresses() -> dict[str, str]:
    """Return a free address for each process."""
    return {name: f"127.0.0.1:{free_port()}" for name in MEMBERS}


def make_members(
    folder: Path,
    storage: Sequence[str],
    *flags: str,
    addresses: Mapping[str, str] | None = None,
    reached_at: Mapping[str, str] | None = None,
) -> dict[str, Segued]:
    """Return every process by its name. Each has a home of its own: they share the storage and nothing else.

    `storage` are the flags of the storage. `reached_at` are the addresses at which the others call an inner role, if
    these are not its own ones, for example proxies.
    """
    found = dict(addresses or free_addresses())
    called = {**found, **(reached_at or {})}
    peers = [address_flag("renderer"), ",".join(called[name] for name in RENDERERS)]
    for role in ("planner", "mixer", "analyzer"):
        peers += [address_flag(role), called[role]]
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return {
        name: Segued(
            folder / name,
            *peers,
            *(storage if name in (*CONDUCTORS, *GATEWAYS) else ()),
            *flags,
            role=role_of(name),
            address=found[name],
            log_path=folder / "logs" / f"{name}.log",
        )
        for name in MEMBERS
    }
