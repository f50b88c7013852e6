"""`segued serve`: starts a process of the mesh and serves until a signal arrives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from segue_runtime import errors, failpoints, logs
from segue_runtime.accounting import audit
from segue_runtime.rpc.addresses import AddressRefused, ListenError
from segue_runtime.rpc.channels import ChannelError
from segued.exits import CliError, ExitCode
from segued.serve.node import Node
from segued.serve.port_owner import port_owner

if TYPE_CHECKING:
    import argparse

    from segue_runtime.lifecycle import Lifecycle
    from segue_runtime.settings import Settings

log = logs.get("segued")


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Serve until a signal arrives. The first signal starts a drain, the second one ends the process at once."""
    logs.configure(settings.log)
    audit.open_file(settings.log.audit_file)
    try:
        if settings.renderer.devices and settings.server.role == "renderer":
            return asyncio.run(_supervise(settings))
        return asyncio.run(_serve(settings, ends_with_input=arguments.ends_with_input))
    except AddressRefused as error:
        flag = "--metrics-listen" if error.address == settings.metrics.listen else "--listen"
        raise _address_error(error.address, flag) from error
    except (ListenError, ChannelError, failpoints.UnknownFailpoint) as error:
        raise CliError(ExitCode.USAGE, str(error)) from error
    except ModuleNotFoundError as error:
        raise CliError(
            ExitCode.USAGE,
            f"the role {settings.server.role} needs the package {error.name}",
            f"install the extra of the role: segue[{settings.server.role}]",
        ) from error
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error


async def _supervise(settings: Settings) -> int:
    from segued.serve.devices.supervisor import Supervisor

    return ExitCode.OK if await Supervisor(settings, sys.argv[1:]).run() else ExitCode.FAILED


def _stop_at_end_of_input(lifecycle: Lifecycle) -> None:
    """Request the stop when standard input ends: the process that holds its other end has ended."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            lifecycle.request_stop()

    loop.add_reader(sys.stdin.fileno(), read)


async def _serve(settings: Settings, *, ends_with_input: bool = False) -> int:
    node = Node(settings)
    node.lifecycle.stop_on_signals()
    if ends_with_input:
        _stop_at_end_of_input(node.lifecycle)
    starting = asyncio.create_task(node.start())
    stopping = asyncio.create_task(node.lifecycle.wait_for_stop())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    # A start that fails also asks for the drain, before it raises. That is no signal from outside.
    if not starting.done() and not node.failed:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return ExitCode.FAILED if node.lifecycle.failed else ExitCode.OK
    await starting
    addresses = ", ".join(node.addresses) or "no address of its own"
    # People read this line and scripts wait for it; the log has the same as an event.
    with contextlib.suppress(BrokenPipeError):  # a closed standard output is no reason to end
        lines = [f"segued {node.role} ready on {addresses}", *_next_steps(node, settings)]
        print("\n".join(lines), flush=True)  # noqa: T201
    await stopping
    clean = await node.lifecycle.drain()
    log.info("ended", clean=clean)
    sys.stderr.flush()
    return ExitCode.OK if clean else ExitCode.FAILED


def _next_steps(node: Node, settings: Settings) -> list[str]:
    """Return lines for a person at a terminal. Scripts read the first line only and do not get them."""
    if not sys.stdout.isatty() or node.role not in {"all", "gateway"} or not node.addresses:
        return []
    address = node.addresses[0]
    has_token = settings.server.token or settings.server.tokens_file
    token = "SEGUE_CLIENT_TOKEN=… " if has_token else ""
    tls = bool(settings.server.tls_cert)
    return [
        f"home  {settings.home}",
        f'try   {token}segued compose "rainy lo-fi, 82 bpm, F minor" --server {address}{" --tls" if tls else ""}',
        f"      grpcurl {'' if tls else '-plaintext '}{address} list",
        "stop  Ctrl-C",
    ]


def _address_error(address: str, flag: str) -> CliError:
    port = address.rpartition(":")[2]
    owner = port_owner(int(port)) if port.isdecimal() else ""
    if owner:
        return CliError(
            ExitCode.FAILED, f"port {port} is in use by {owner}", f"stop it, or name another port with {flag}"
        )
    return CliError(
        ExitCode.FAILED,
        f"cannot listen on {address}: it is in use, or it is no address of this machine",
        f"name another one with {flag} HOST:PORT",
    )
