"""Checks of what the bridge needs: its settings, and its Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segued.bridge.addresses import AllowedHosts
from segued.bridge.lists import failures_of_redis
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    from segue_runtime.settings import BridgeSettings
    from segued.bridge.lists import JobLists

OLDEST_REDIS: Final = (6, 2)
"""The first version with BLMOVE."""


def check_settings(bridge: BridgeSettings, server: str) -> None:
    """Refuse settings with which every job would fail; `server` is where files are measured, empty for this process."""
    if bridge.stems and not server:
        raise CliError(
            ExitCode.USAGE, "bridge.stems: no server keeps the stems after the bridge", "name one with --server"
        )
    if not bridge.url:
        raise CliError(ExitCode.USAGE, "bridge.url: it names no Redis", "set SEGUE_BRIDGE_URL=redis://HOST:PORT/DB")
    if bridge.root is None and not bridge.hosts:
        raise CliError(
            ExitCode.USAGE, "neither bridge.root nor bridge.hosts is set, so no job may name a file",
            "set --bridge-root FOLDER, --bridge-hosts HOST, or both",
        )  # fmt: skip
    if bridge.root is not None and not bridge.root.is_dir():
        raise CliError(ExitCode.USAGE, f"bridge.root: {bridge.root} is not a folder")
    if not bridge.jobs or not bridge.results or bridge.jobs == bridge.results:
        raise CliError(ExitCode.USAGE, "bridge.jobs and bridge.results must be two lists")
    try:
        AllowedHosts(bridge.hosts)
    except ValueError as error:
        raise CliError(ExitCode.USAGE, str(error)) from None


async def check_redis(lists: JobLists) -> str:
    """Refuse a Redis that does not answer, or is too old; returns its version."""
    try:
        version = await lists.version()
    except failures_of_redis() as error:
        text = f"bridge.url: the Redis does not answer, or refuses ({type(error).__name__})"
        raise CliError(ExitCode.UNREACHABLE, text, "check its address, its password and its TLS") from None
    written = ".".join(map(str, version))
    if version < OLDEST_REDIS:
        raise CliError(ExitCode.FAILED, f"bridge.url: the server is Redis {written}; the bridge needs 6.2 or later")
    return written
