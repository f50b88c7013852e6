"""Runs the work of a client command: signals cancel it, errors become exit codes."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from typing import TYPE_CHECKING

from segue_client import SegueError
from segue_runtime import errors, logs
from segued.exits import SIGNAL_BASE, CliError, ExitCode, cli_error

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from segue_runtime.settings import LogSettings, Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(settings: Settings, work: Coroutine[None, None, int]) -> int:
    """Run the work of a command and return its exit code."""
    logs.configure(_log_settings(settings))
    try:
        return asyncio.run(_interruptible(work))
    except SegueError as error:
        raise cli_error(error) from error
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    except ValueError as error:
        raise CliError(ExitCode.USAGE, str(error)) from error


def _log_settings(settings: Settings) -> LogSettings:
    """Log errors only, unless the settings ask for more."""
    if settings.origins.get("log.level", "default") == "default":
        return dataclasses.replace(settings.log, level="error")
    return settings.log


async def _interruptible(work: Coroutine[None, None, int]) -> int:
    """Cancel the work at a signal, so that every `finally` runs."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    received: list[int] = []

    def cancel(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in SIGNALS:
        # nohup ignores SIGHUP; the work continues in that case.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, cancel, number)
    try:
        return await task
    except asyncio.CancelledError:
        return SIGNAL_BASE + received[0] if received else ExitCode.INTERRUPTED
