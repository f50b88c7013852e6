"""`segued bridge redis-list`: measures the files that jobs in a list of Redis name, and pushes the results."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import socket
from typing import TYPE_CHECKING

from segue_runtime import errors, failpoints, logs
from segue_runtime.lifecycle import Lifecycle, Phase
from segue_runtime.metrics import Metrics
from segued.bridge.checks import check_redis, check_settings
from segued.bridge.lists import JobLists
from segued.bridge.measurement import FileMeasurement
from segued.bridge.metrics import BridgeMetrics
from segued.bridge.worker import BridgeWorker
from segued.connection.client import connected
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_client import Client
    from segue_runtime.settings import Settings

log = logs.get("bridge")


def run(settings: Settings, _arguments: argparse.Namespace) -> int:
    """Work until a signal arrives: the first one drains, the second one ends the process at once."""
    logs.configure(settings.log)
    check_settings(settings.bridge, settings.client.server)
    try:
        return asyncio.run(_bridge(settings))
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    except failpoints.UnknownFailpoint as error:
        raise CliError(ExitCode.USAGE, str(error)) from error


async def _bridge(settings: Settings) -> int:
    lifecycle = Lifecycle(settings.server.drain_s)
    lifecycle.stop_on_signals()
    metrics = Metrics()
    if settings.metrics.listen:
        port = metrics.serve(settings.metrics.listen)
        lifecycle.add(Phase.CLOSE, "metrics", lambda _left_s: asyncio.to_thread(port.close))
    lists = JobLists(settings.bridge, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    # The roles in this process, if there are any, do not serve the metrics: the bridge does.
    inner = dataclasses.replace(settings, metrics=dataclasses.replace(settings.metrics, listen=""))
    async with connected(inner) as client:
        try:
            await check_redis(lists)
            return await _work(settings, client, lists, lifecycle, BridgeMetrics(metrics.registry))
        finally:
            await lists.close()


async def _work(
    settings: Settings, client: Client, lists: JobLists, lifecycle: Lifecycle, metrics: BridgeMetrics
) -> int:
    failpoints.arm(settings.failpoints.active)
    worker = BridgeWorker(settings.bridge, lists, FileMeasurement(settings.bridge, client, lists), metrics)
    working = asyncio.create_task(worker.run())

    async def refuse(_left_s: float) -> None:
        worker.stop()

    async def finish(_left_s: float) -> None:
        await asyncio.shield(working)

    async def give_back(_left_s: float) -> None:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await worker.give_back()

    lifecycle.add(Phase.REFUSE, "taking jobs", refuse)
    lifecycle.add(Phase.FINISH, "jobs", finish)
    lifecycle.add(Phase.CLOSE, "give back", give_back)
    stopping = asyncio.create_task(lifecycle.wait_for_stop())
    print(f"segued bridge takes jobs from {settings.bridge.jobs}", flush=True)  # noqa: T201
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if working.done() and not lifecycle.failed and not stopping.done():
        lifecycle.fail("the bridge ended by an error")
        log.error("the bridge failed", exc_info=working.exception())
    clean = await lifecycle.drain()
    stopping.cancel()
    log.info("ended", clean=clean)
    return ExitCode.OK if clean else ExitCode.FAILED
