"""`segued serve`: one process of the mesh, from its first line to its last."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

from segue_runtime import errors, failpoints, logs
from segue_runtime.rpc.addresses import AddressRefused, ListenError
from segue_runtime.rpc.channels import ChannelError
from segued.exits import Exit, Stop
from segued.holder import holder_of
from segued.node import Node

if TYPE_CHECKING:
    from segue_runtime.settings import Settings

log = logs.get("segued")


def run(settings: Settings) -> int:
    """Serve until a signal comes. The first asks for a drain, the second forces the end."""
    logs.configure(settings.log)
    try:
        return asyncio.run(_serve(settings))
    except AddressRefused as error:
        flag = "--metrics-listen" if error.address == settings.metrics.listen else "--listen"
        raise _stop_for(error.address, flag) from error
    except (ListenError, ChannelError, failpoints.UnknownFailpoint) as error:
        raise Stop(Exit.USAGE, str(error)) from error
    except ModuleNotFoundError as error:
        raise Stop(
            Exit.USAGE,
            f"the role {settings.server.role} needs the package {error.name}",
            f"install the role's extra: segue[{settings.server.role}]",
        ) from error
    except errors.SegueError as error:
        raise Stop(Exit.FAILED, str(error)) from error


def _next_steps(node: Node, settings: Settings) -> list[str]:
    """Return what a person at a terminal wants to know next; a script reads the first line only."""
    if not sys.stdout.isatty() or node.role not in {"all", "gateway"} or not node.addresses:
        return []
    address = node.addresses[0]
    token = " --token …" if settings.server.token else ""
    tls = bool(settings.server.tls_cert)
    return [
        f"home  {settings.home}",
        f'try   segued compose "rainy lo-fi, 82 bpm, F minor" --server {address}{" --tls" if tls else ""}{token}',
        f"      grpcurl {'' if tls else '-plaintext '}{address} list",
        "stop  Ctrl-C",
    ]


def _stop_for(address: str, flag: str) -> Stop:
    port = address.rpartition(":")[2]
    holder = holder_of(int(port)) if port.isdecimal() else ""
    if holder:
        return Stop(Exit.FAILED, f"port {port} is in use by {holder}", f"stop it, or name another port with {flag}")
    return Stop(
        Exit.FAILED,
        f"cannot listen on {address}: it is in use, or no address of this machine",
        f"name another one with {flag} HOST:PORT",
    )


async def _serve(settings: Settings) -> int:
    node = Node(settings)
    node.lifecycle.on_signals()
    starting = asyncio.create_task(node.start())
    asked = asyncio.create_task(node.lifecycle.asked())
    await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
    # A start that goes wrong asks for the end as well, before it raises; that is no stop from outside.
    if not starting.done() and not node.failed:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return Exit.OK
    await starting
    where = ", ".join(node.addresses) or "no address of its own"
    # For people and for scripts that wait; the log has the same as an event.
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more: no reason to end
        print("\n".join([f"segued {node.role} ready on {where}", *_next_steps(node, settings)]), flush=True)  # noqa: T201
    await asked
    clean = await node.lifecycle.drain()
    log.info("ended", clean=clean)
    sys.stderr.flush()
    return Exit.OK if clean else Exit.FAILED
