"""`segued health`: the check that a container's or a machine's supervisor runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from segue_client.channel import is_local
from segued.access import access_to
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    from segue_runtime.settings import Settings

LIMIT_S = 4.0
READY = "SERVING"
SERVICES = tuple(
    f"segue.{area}.v1.{area.capitalize()}Service" for area in ("composer", "planner", "renderer", "mixer", "analyzer")
)


def run(settings: Settings, address: str) -> int:
    """Ask for every service that there may be; the empty name only says that the process answers at all."""
    credentials = access_to(address, settings.client).credentials()
    options = [("grpc.enable_http_proxy", int(not is_local(address)))]
    channel = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    states = {}
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT_S)
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    continue  # another role's service
                raise Stop(Exit.UNREACHABLE, f"{address} does not answer: {error.details()}") from error
            states[service or "process"] = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    for name, state in states.items():
        print(f"{name}: {state}")  # noqa: T201 - the command's output
    if any(state != READY for state in states.values()):
        raise Stop(Exit.UNREACHABLE, f"{address} is not ready")
    return Exit.OK
