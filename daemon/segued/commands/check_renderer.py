"""`segued check-renderer`: checks what the contract promises, on a renderer at an address."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import grpc.aio
from rich.text import Text

from segue.renderer.v1 import renderer_pb2_grpc
from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target
from segue_runtime import errors
from segue_runtime.rpc import channels
from segue_runtime.rpc.admission.role_tokens import RoleAccess
from segue_runtime.settings import PeersSettings
from segued.connection import event_loop
from segued.connection.access import access_to
from segued.exits import CliError, ExitCode
from segued.output.terminal import console, plain, write_line

if TYPE_CHECKING:
    import argparse

    from segue_renderer.conformance.outcome import CheckResult
    from segue_runtime.settings import Settings

COLOURS = {Outcome.PASSED: "green", Outcome.FAILED: "bold red", Outcome.SKIPPED: "yellow"}
UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    return event_loop.run(settings, _check(settings, arguments))


async def _check(settings: Settings, arguments: argparse.Namespace) -> int:
    client = settings.client
    access = access_to(arguments.address, client)
    peers = PeersSettings(
        tls=bool(access.tls or access.tls_ca or access.tls_cert),
        tls_ca=access.tls_ca,
        tls_cert=access.tls_cert,
        tls_key=access.tls_key,
    )
    counts: Counter[Outcome] = Counter()
    async with _channel(access.target, RoleAccess(peers, access.token)) as channel:
        target = await _open(channel, arguments)
        if not arguments.json:
            write_line(f"{arguments.address}: {target.profile.model}, backend {target.profile.backend}")
        for check in CHECKS:
            result = await run_check(check, target, arguments.time_limit)
            counts[result.outcome] += 1
            _write(result, arguments)
    if not arguments.json:
        write_line(", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome))
    return ExitCode.FAILED if counts[Outcome.FAILED] else ExitCode.OK


def _channel(address: str, access: RoleAccess) -> channels.Channel:
    try:
        return channels.connect(address, access)
    except channels.ChannelError as error:
        raise CliError(ExitCode.USAGE, str(error)) from error


async def _open(channel: grpc.aio.Channel, arguments: argparse.Namespace) -> Target:
    try:
        return await Target.open(renderer_pb2_grpc.RendererServiceStub(channel), arguments.model)
    except errors.ModelNotFound as error:
        raise CliError(ExitCode.USAGE, f"--model: {error}") from error
    except grpc.aio.AioRpcError as error:
        found = errors.from_rpc_error(error)
        if error.code() in UNREACHABLE:
            raise CliError(ExitCode.UNREACHABLE, f"{arguments.address} does not answer: {found.message}") from error
        raise CliError(ExitCode.REFUSED, f"{arguments.address}: {found.message}") from error


def _write(result: CheckResult, arguments: argparse.Namespace) -> None:
    if arguments.json:
        fields = {
            "check": result.name,
            "outcome": result.outcome.value,
            "promise": result.promise,
            "detail": result.detail,
        }
        write_line(json.dumps(fields))
        return
    line = Text(f"{result.outcome.value:8}", style=COLOURS[result.outcome])
    line.append(f" {result.name:16} {result.promise}", style="default")
    if result.detail:
        line.append(f" | {plain(result.detail)}", style="default")
    console(arguments.color).print(line, soft_wrap=True)
