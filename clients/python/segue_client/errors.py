"""Errors of the server: a reason for programs, and a message for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

DETAILS_KEY = "grpc-status-details-bin"
REASON_PREFIX = "ERROR_REASON_"
BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """An invalid field: its path, the fault, and a value that works."""

    field: str
    description: str


@dataclass(eq=False)
class SegueError(Exception):
    """A call or a composition that failed. `reason` is a name of segue.errors.v1.ErrorReason, without its prefix."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float | None = None

    def __str__(self) -> str:
        return self.message


class DamagedAudio(SegueError):  # noqa: N818 - the name says what it is
    """Received data is damaged or incomplete: a fault of the network or of a server."""


def from_status(status: status_pb2.Status) -> SegueError:
    """Return the error in a google.rpc.Status."""
    reason, metadata, retry_after_s = "", {}, None
    violations: list[FieldViolation] = []
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        request = error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason.removeprefix(REASON_PREFIX), dict(info.metadata)
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
        elif detail.Unpack(request):
            violations += [FieldViolation(each.field, each.description) for each in request.field_violations]
    code = BY_NUMBER.get(status.code, grpc.StatusCode.UNKNOWN)
    return SegueError(code, status.message, reason, metadata, tuple(violations), retry_after_s)


def from_rpc_error(error: grpc.RpcError) -> SegueError:
    """Return the error of a failed call."""
    trailers: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except Exception:  # noqa: BLE001, S112 - an unreadable detail must not hide the error itself
                continue
            return from_status(status)
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    text = error.details() if hasattr(error, "details") else str(error)
    return SegueError(code, text or code.name)
