"""The error tree: every error of Segue knows its gRPC code and its reason.

Messages are for people and reach the client as they are: say what, where and what to do, never a secret.
Groups (with a code, without a reason) are for `except`; leaves are raised; `wire.py` packs them.

    SegueError
    ├── InvalidRequest      INVALID_ARGUMENT
    │   ├── InvalidField
    │   ├── MalformedRequest
    │   ├── InvalidPageToken
    │   ├── InvalidFilter
    │   ├── InvalidCursor
    │   ├── InvalidPlan
    │   ├── LengthNotPossible
    │   ├── InvalidAudio
    │   ├── OptionNotSupported
    │   └── OutOfOrder
    ├── NotFound            NOT_FOUND
    │   ├── CompositionNotFound
    │   ├── ArtifactNotFound
    │   ├── JobNotFound
    │   └── ModelNotFound
    ├── AlreadyExists       ALREADY_EXISTS
    │   └── RequestIdReused
    ├── FailedPrecondition  FAILED_PRECONDITION
    │   ├── NotFinished
    │   ├── UploadFinished
    │   ├── ModelNotInstalled
    │   ├── ModelInvalid
    │   ├── DeviceRequired
    │   └── DegradationRefused
    ├── OutOfRange          OUT_OF_RANGE
    │   ├── CursorAhead
    │   └── OffsetOutOfRange
    ├── ResourceExhausted   RESOURCE_EXHAUSTED
    │   ├── QueueFull
    │   ├── QuotaExceeded
    │   ├── OutOfMemory
    │   └── StorageFull
    ├── Unavailable         UNAVAILABLE
    │   ├── NoRenderer
    │   ├── ServiceUnreachable
    │   ├── ShuttingDown
    │   ├── StoreUnavailable
    │   ├── ReaderTooSlow
    │   └── DeviceLost
    ├── DataLoss            DATA_LOSS
    │   ├── RenderInvalid
    │   └── ArtifactCorrupt
    ├── DeadlineExceeded    DEADLINE_EXCEEDED
    │   ├── TimeLimit
    │   └── Deadline
    ├── Cancelled           CANCELLED
    │   ├── CancelledByUser
    │   └── ClientGone
    ├── Unauthenticated     UNAUTHENTICATED
    ├── PermissionDenied    PERMISSION_DENIED
    ├── NotImplementedYet   UNIMPLEMENTED
    ├── TooManyTries        ABORTED
    └── InternalError       INTERNAL

UnknownReason (not drawn) is what we make of an error whose reason this release does not know.
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would say it again

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc

from segue.errors.v1 import errors_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REASON_PREFIX = "ERROR_REASON_"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that breaks a rule: its path, what is wrong, and a value that would do (or empty)."""

    field: str
    description: str
    suggestion: str = ""


class SegueError(Exception):
    """Base of the tree; raise a leaf."""

    code: grpc.StatusCode = grpc.StatusCode.INTERNAL
    reason: errors_pb2.ErrorReason.ValueType = errors_pb2.ERROR_REASON_UNSPECIFIED

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] = MappingProxyType({}),
        violations: Sequence[FieldViolation] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata)
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s

    @property
    def reason_name(self) -> str:
        """The reason as ErrorInfo writes it: the enum's name without its prefix."""
        return errors_pb2.ErrorReason.Name(self.reason).removeprefix(REASON_PREFIX)


class UnknownReason(SegueError):
    """An error from a newer or a foreign server: its code is known, its reason is not."""

    def __init__(self, message: str, *, code: grpc.StatusCode, name: str, metadata: Mapping[str, str]) -> None:
        super().__init__(message, metadata=metadata)
        self.code = code
        self.received_name = name

    @property
    def reason_name(self) -> str:
        """The reason as it was received."""
        return self.received_name or "INTERNAL"


class InvalidRequest(SegueError):
    """The request cannot be right, now or later."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class InvalidField(InvalidRequest):
    """A field breaks a rule of the contract."""

    reason = errors_pb2.ERROR_REASON_INVALID_FIELD


class MalformedRequest(InvalidRequest):
    """The bytes are not the message, or a text is not UTF-8."""

    reason = errors_pb2.ERROR_REASON_MALFORMED_REQUEST


class InvalidPageToken(InvalidRequest):
    """A page token is not one of ours, or belongs to another query."""

    reason = errors_pb2.ERROR_REASON_INVALID_PAGE_TOKEN


class InvalidFilter(InvalidRequest):
    """A list filter cannot be read; metadata "position"."""

    reason = errors_pb2.ERROR_REASON_INVALID_FILTER


class InvalidCursor(InvalidRequest):
    """A cursor is not one of ours, or belongs to another composition."""

    reason = errors_pb2.ERROR_REASON_INVALID_CURSOR


class InvalidPlan(InvalidRequest):
    """A plan contradicts itself."""

    reason = errors_pb2.ERROR_REASON_INVALID_PLAN


class LengthNotPossible(InvalidRequest):
    """The length needs a tail that was forbidden; metadata "shorter", "longer"."""

    reason = errors_pb2.ERROR_REASON_LENGTH_NOT_POSSIBLE


class InvalidAudio(InvalidRequest):
    """Audio that came in cannot be used."""

    reason = errors_pb2.ERROR_REASON_INVALID_AUDIO


class OptionNotSupported(InvalidRequest):
    """An option cannot be honoured here; metadata "option"."""

    reason = errors_pb2.ERROR_REASON_OPTION_NOT_SUPPORTED


class OutOfOrder(InvalidRequest):
    """A message of a stream came where it may not; metadata "position"."""

    reason = errors_pb2.ERROR_REASON_OUT_OF_ORDER


class NotFound(SegueError):
    """There is no such thing for this caller."""

    code = grpc.StatusCode.NOT_FOUND


class CompositionNotFound(NotFound):
    """No such composition for this caller."""

    reason = errors_pb2.ERROR_REASON_COMPOSITION_NOT_FOUND


class ArtifactNotFound(NotFound):
    """No such output or upload for this caller."""

    reason = errors_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND


class JobNotFound(NotFound):
    """No such analysis or mastering for this caller."""

    reason = errors_pb2.ERROR_REASON_JOB_NOT_FOUND


class ModelNotFound(NotFound):
    """No renderer of the pool has this model; metadata "models"."""

    reason = errors_pb2.ERROR_REASON_MODEL_NOT_FOUND


class AlreadyExists(SegueError):
    """The name is taken."""

    code = grpc.StatusCode.ALREADY_EXISTS


class RequestIdReused(AlreadyExists):
    """The request_id was used for another request; metadata "name"."""

    reason = errors_pb2.ERROR_REASON_REQUEST_ID_REUSED


class FailedPrecondition(SegueError):
    """Something else must be done first."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NotFinished(FailedPrecondition):
    """It must have ended first."""

    reason = errors_pb2.ERROR_REASON_NOT_FINISHED


class UploadFinished(FailedPrecondition):
    """The upload is complete and cannot be written any more."""

    reason = errors_pb2.ERROR_REASON_UPLOAD_FINISHED


class ModelNotInstalled(FailedPrecondition):
    """The model's weights are not here; metadata "command"."""

    reason = errors_pb2.ERROR_REASON_MODEL_NOT_INSTALLED


class ModelInvalid(FailedPrecondition):
    """The model's files are damaged or of another kind."""

    reason = errors_pb2.ERROR_REASON_MODEL_INVALID


class DeviceRequired(FailedPrecondition):
    """The asked device is not in this machine; metadata "remedy"."""

    reason = errors_pb2.ERROR_REASON_DEVICE_REQUIRED


class DegradationRefused(FailedPrecondition):
    """Only a lesser way was possible, and the policy is REFUSE."""

    reason = errors_pb2.ERROR_REASON_DEGRADATION_REFUSED


class OutOfRange(SegueError):
    """A position lies outside what there is."""

    code = grpc.StatusCode.OUT_OF_RANGE


class CursorAhead(OutOfRange):
    """The cursor lies beyond the log's end; metadata "lastCursor"."""

    reason = errors_pb2.ERROR_REASON_CURSOR_AHEAD


class OffsetOutOfRange(OutOfRange):
    """A byte offset is beyond the end, or not the next one; metadata "size"."""

    reason = errors_pb2.ERROR_REASON_OFFSET_OUT_OF_RANGE


class ResourceExhausted(SegueError):
    """There is no room."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class QueueFull(ResourceExhausted):
    """The queue has no room; comes with a retry time."""

    reason = errors_pb2.ERROR_REASON_QUEUE_FULL


class QuotaExceeded(ResourceExhausted):
    """The caller has used what it may."""

    reason = errors_pb2.ERROR_REASON_QUOTA_EXCEEDED


class OutOfMemory(ResourceExhausted):
    """The device has no memory for this."""

    reason = errors_pb2.ERROR_REASON_OUT_OF_MEMORY


class StorageFull(ResourceExhausted):
    """The artifact store or the log has no room."""

    reason = errors_pb2.ERROR_REASON_STORAGE_FULL


class Unavailable(SegueError):
    """It would work later, or elsewhere; comes with a retry time."""

    code = grpc.StatusCode.UNAVAILABLE


class NoRenderer(Unavailable):
    """No renderer answers."""

    reason = errors_pb2.ERROR_REASON_NO_RENDERER


class ServiceUnreachable(Unavailable):
    """An inner service does not answer; metadata "service"."""

    reason = errors_pb2.ERROR_REASON_SERVICE_UNREACHABLE


class ShuttingDown(Unavailable):
    """This process drains."""

    reason = errors_pb2.ERROR_REASON_SHUTTING_DOWN


class StoreUnavailable(Unavailable):
    """The store or queue does not answer."""

    reason = errors_pb2.ERROR_REASON_STORE_UNAVAILABLE


class ReaderTooSlow(Unavailable):
    """The reader left waiting audio unread for too long."""

    reason = errors_pb2.ERROR_REASON_READER_TOO_SLOW


class DeviceLost(Unavailable):
    """The renderer's device failed and restarts."""

    reason = errors_pb2.ERROR_REASON_DEVICE_LOST


class DataLoss(SegueError):
    """Bytes are not what they must be."""

    code = grpc.StatusCode.DATA_LOSS


class RenderInvalid(DataLoss):
    """A renderer gave audio that cannot be used; metadata "sectionId"."""

    reason = errors_pb2.ERROR_REASON_RENDER_INVALID


class ArtifactCorrupt(DataLoss):
    """Stored bytes do not have their digest."""

    reason = errors_pb2.ERROR_REASON_ARTIFACT_CORRUPT


class DeadlineExceeded(SegueError):
    """Time has run out."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class TimeLimit(DeadlineExceeded):
    """The composition's time_limit passed."""

    reason = errors_pb2.ERROR_REASON_TIME_LIMIT


class Deadline(DeadlineExceeded):
    """The call's deadline passed; the work goes on."""

    reason = errors_pb2.ERROR_REASON_DEADLINE


class Cancelled(SegueError):
    """Somebody ended it."""

    code = grpc.StatusCode.CANCELLED


class CancelledByUser(Cancelled):
    """Somebody cancelled it."""

    reason = errors_pb2.ERROR_REASON_CANCELLED_BY_USER


class ClientGone(Cancelled):
    """Its owner's stream went away and the policy is CANCEL."""

    reason = errors_pb2.ERROR_REASON_CLIENT_GONE


class Unauthenticated(SegueError):
    """No token, or not a valid one."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = errors_pb2.ERROR_REASON_UNAUTHENTICATED


class PermissionDenied(SegueError):
    """The token does not allow this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = errors_pb2.ERROR_REASON_PERMISSION_DENIED


class NotImplementedYet(SegueError):
    """The contract has its place, this release does not do it yet."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = errors_pb2.ERROR_REASON_NOT_IMPLEMENTED


class TooManyTries(SegueError):
    """The work killed its conductor again and again and was put aside."""

    code = grpc.StatusCode.ABORTED
    reason = errors_pb2.ERROR_REASON_TOO_MANY_TRIES


class InternalError(SegueError):
    """A fault of ours; the log has it under the request id."""

    code = grpc.StatusCode.INTERNAL
    reason = errors_pb2.ERROR_REASON_INTERNAL


def leaves(root: type[SegueError] = SegueError) -> Iterator[type[SegueError]]:
    """List every class that has a reason of its own."""
    for child in root.__subclasses__():
        if "reason" in vars(child):
            yield child
        yield from leaves(child)
