"""`segued health`: asks a server whether it is ready, for a container's or a machine's supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from segue_client.channel import is_local
from segued.connection.access import access_to
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

TIMEOUT_S = 4.0
READY = "SERVING"
SERVICES = tuple(
    f"segue.{area}.v1.{area.capitalize()}Service" for area in ("composer", "planner", "renderer", "mixer", "analyzer")
)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Ask for every service of the mesh. The empty name only says whether the process answers."""
    address = arguments.address or _own_address(settings)
    states = _states(settings, address)
    for name, state in states.items():
        print(f"{name}: {state}")  # noqa: T201 - the command's output
    if any(state != READY for state in states.values()):
        raise CliError(ExitCode.UNREACHABLE, f"{address} is not ready")
    return ExitCode.OK


def _own_address(settings: Settings) -> str:
    """Return the address of the process that has the same settings: a container's own."""
    role = settings.server.role
    address: str = getattr(settings, "gateway" if role == "all" else role).listen
    if not address:
        raise CliError(ExitCode.USAGE, f"the {role} listens nowhere", f"set {role}.listen, or name an address")
    return address


def _states(settings: Settings, address: str) -> dict[str, str]:
    access = access_to(address, settings.client)
    credentials = access.credentials()
    options = [("grpc.enable_http_proxy", int(not is_local(access.target)))]
    channel = (
        grpc.secure_channel(access.target, credentials, options)
        if credentials
        else grpc.insecure_channel(access.target, options)
    )
    states = {}
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    continue  # a service of another role
                raise CliError(ExitCode.UNREACHABLE, f"{address} does not answer: {error.details()}") from error
            states[service or "process"] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return states
