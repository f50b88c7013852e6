"""`segued replay`: serves a recording as a gateway would, for authors of clients."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from segue.composer.v1 import composer_pb2_grpc
from segue_gateway.grants import COMPOSER
from segue_runtime import logs
from segue_runtime.lifecycle import Lifecycle, Phase
from segue_runtime.rpc.addresses import ListenError
from segue_runtime.rpc.server import Server, Service
from segued.exits import CliError, ExitCode
from segued.recording.format import Recording, RecordingError
from segued.recording.service import SERVICE, ReplayService

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve a recording until a signal arrives."""
    path = Path(arguments.file)
    try:
        recording = Recording(path)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{path}: {error.strerror}") from error
    except RecordingError as error:
        raise CliError(ExitCode.USAGE, f"{path}: {error}") from error
    logs.configure(settings.log)
    try:
        return asyncio.run(_serve(settings, recording, arguments.speed))
    except ListenError as error:
        raise CliError(ExitCode.USAGE, str(error), "--listen HOST:PORT names another address") from error
    finally:
        recording.close()


async def _serve(settings: Settings, recording: Recording, speed: float) -> int:
    lifecycle = Lifecycle(settings.server.drain_s)
    lifecycle.stop_on_signals()
    service = ReplayService(recording, speed)
    server = Server(
        settings.server,
        [
            Service(
                SERVICE,
                lambda server: composer_pb2_grpc.add_ComposerServiceServicer_to_server(service, server),
                grants=COMPOSER,
            )
        ],
    )
    address = server.listen(settings.gateway.listen)
    # No grace for running calls: there is no work to lose.
    lifecycle.add(Phase.STOP, "server", lambda _left_s: server.stop(0))
    await server.start()
    with contextlib.suppress(BrokenPipeError):  # a closed standard output is no reason to end
        print(f"segued replay ready on {address}: {recording.name}", flush=True)  # noqa: T201 - for people and scripts
    await lifecycle.wait_for_stop()
    await lifecycle.drain()
    return ExitCode.OK
