"""Errors as google.rpc.Status and back, always small enough for HTTP/2 trailers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from segue_runtime.errors import table
from segue_runtime.errors.base import FieldViolation, InternalError, QuotaViolation, SegueError, UnknownReason, leaves

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["DETAILS_KEY", "DOMAIN", "from_rpc_error", "from_status", "to_status"]

DOMAIN = "segue.dev"
DETAILS_KEY = "grpc-status-details-bin"
MAX_VIOLATIONS = 20
# With more than about 8 KiB of trailers clients see RESOURCE_EXHAUSTED instead of the error; base64 adds a third.
MAX_STATUS_BYTES = 4096
MAX_MESSAGE_BYTES = 1024
MAX_TEXT_BYTES = 256
SUGGESTION = "; suggested: "
METADATA_KEY = re.compile(r"[a-z][a-zA-Z0-9_-]{0,63}")

CODES = {code.value[0]: code for code in grpc.StatusCode}
LEAVES = {leaf.reason: leaf for leaf in leaves()}

# The errors for a status without ErrorInfo, which gRPC itself or a proxy made.
BARE: dict[grpc.StatusCode, type[SegueError]] = {
    grpc.StatusCode.UNAVAILABLE: table.ServiceUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: table.Deadline,
    grpc.StatusCode.CANCELLED: table.ClientGone,
    grpc.StatusCode.RESOURCE_EXHAUSTED: table.QuotaExceeded,
    grpc.StatusCode.UNIMPLEMENTED: table.NotImplementedYet,
    grpc.StatusCode.UNAUTHENTICATED: table.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: table.PermissionDenied,
    grpc.StatusCode.INVALID_ARGUMENT: table.MalformedRequest,
}
RETRY_S = 1.0
# A role's own errors have an ErrorInfo. Without one, gRPC made these of a connection that broke: INTERNAL when a write
# met the dead stream (grpc/grpc#36066), CANCELLED or UNKNOWN when the peer's process ended.
BROKEN = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED})


class EndedCall(Protocol):
    """The common methods of grpc.aio.AioRpcError and of the errors of blocking calls."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def clip(text: str, limit: int) -> str:
    """Shorten text to `limit` bytes of UTF-8, and end it with an ellipsis; no character is cut."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "…"


def to_status(error: SegueError, request_id: str) -> status_pb2.Status:
    """Encode an error with the request id in its metadata, in less than 4 KiB."""
    violations = list(error.violations[:MAX_VIOLATIONS])
    metadata = {
        key: clip(value, MAX_TEXT_BYTES) for key, value in error.metadata.items() if METADATA_KEY.fullmatch(key)
    }
    metadata["requestId"] = clip(request_id, MAX_TEXT_BYTES)
    if len(error.violations) > MAX_VIOLATIONS:
        metadata.setdefault("violations", str(len(error.violations)))
    while True:
        status = _encode(error, metadata, violations)
        if status.ByteSize() < MAX_STATUS_BYTES:
            return status
        if violations:
            violations.pop()
            metadata.setdefault("violations", str(len(error.violations)))
        else:
            spare = next(key for key in reversed(metadata) if key != "requestId")
            del metadata[spare]


def _encode(error: SegueError, metadata: dict[str, str], violations: list[FieldViolation]) -> status_pb2.Status:
    status = status_pb2.Status(code=error.code.value[0], message=clip(error.message, MAX_MESSAGE_BYTES))
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason[:63], domain=DOMAIN, metadata=metadata))
    if violations:
        listed = error_details_pb2.BadRequest()
        for violation in violations:
            text = clip(violation.description, MAX_TEXT_BYTES)
            if violation.suggestion:
                text += SUGGESTION + clip(violation.suggestion, MAX_TEXT_BYTES)
            listed.field_violations.add(field=clip(violation.field, MAX_TEXT_BYTES), description=text)
        status.details.add().Pack(listed)
    if error.quotas:
        exceeded = error_details_pb2.QuotaFailure()
        for quota in error.quotas:
            exceeded.violations.add(
                subject=clip(quota.subject, MAX_TEXT_BYTES),
                description=clip(quota.description, MAX_TEXT_BYTES),
                quota_metric=quota.metric,
                quota_value=quota.limit,
            )
        status.details.add().Pack(exceeded)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after_s * 1e9))
        status.details.add().Pack(retry)
    return status


def from_status(status: status_pb2.Status) -> SegueError:
    """Decode an error of a Segue server; an unknown reason keeps its code."""
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    exceeded = error_details_pb2.QuotaFailure()
    retry = error_details_pb2.RetryInfo()
    has_retry = False
    for detail in status.details:
        for known in (info, request, exceeded):
            detail.Unpack(known)  # does nothing when the detail is of another type
        has_retry = detail.Unpack(retry) or has_retry
    code = CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    metadata = dict(info.metadata)
    leaf = LEAVES.get(info.reason) if info.domain == DOMAIN else None
    if leaf is None and not info.reason:
        return _bare(code, status.message)
    if leaf is None:
        return UnknownReason(status.message, code=code, reason=info.reason, metadata=metadata)
    violations: list[FieldViolation] = []
    for item in request.field_violations:
        description, _, suggestion = item.description.partition(SUGGESTION)
        violations.append(FieldViolation(item.field, description, suggestion))
    return leaf(
        status.message,
        metadata=metadata,
        violations=violations,
        quotas=[
            QuotaViolation(each.subject, each.description, each.quota_metric, each.quota_value)
            for each in exceeded.violations
        ],
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if has_retry else None,
    )


def from_rpc_error(error: grpc.RpcError, *, service: str = "", begun: bool = False) -> SegueError:
    """Convert the error of a call.

    For errors without ErrorInfo, `service` names the role that was called, and `begun` tells whether it had begun.
    """
    ended = cast("EndedCall", error)
    for key, value in ended.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return _bare(ended.code(), ended.details() or "", service, begun=begun)


def _bare(code: grpc.StatusCode, message: str, service: str = "", *, begun: bool = False) -> SegueError:
    leaf = table.ServiceUnreachable if service and code in BROKEN else BARE.get(code, InternalError)
    if begun and leaf is table.ServiceUnreachable:
        leaf = table.RoleLost
    # The text comes from gRPC or a proxy and may contain addresses, so it is a note and not the message.
    text = f"{service or 'the peer'} ended the call with {code.name}"
    metadata = {"grpcCode": code.name} | ({"service": service} if service else {})
    failure = leaf(
        text, metadata=metadata, retry_after_s=RETRY_S if issubclass(leaf, table.ServiceUnreachable) else None
    )
    failure.add_note(message)
    return failure
