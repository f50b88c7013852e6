"""The table of errors: one row for each reason of the contract, with its gRPC code and the group it is caught by.

The meaning of each reason, and when it is raised, stand once: in errors.proto, from which docs/errors.md is made.
InternalError is in `base`, since other classes derive from it.
"""

# ruff: noqa: N818 - as in base

import errno

from grpc import StatusCode as Code

from segue_runtime.errors.base import InvalidRequest, ResourceExhausted, SegueError, Unavailable, leaf

InvalidField = leaf("INVALID_FIELD", Code.INVALID_ARGUMENT, InvalidRequest)
MalformedRequest = leaf("MALFORMED_REQUEST", Code.INVALID_ARGUMENT, InvalidRequest)
InvalidPageToken = leaf("INVALID_PAGE_TOKEN", Code.INVALID_ARGUMENT, InvalidRequest)
InvalidFilter = leaf("INVALID_FILTER", Code.INVALID_ARGUMENT, InvalidRequest)
InvalidCursor = leaf("INVALID_CURSOR", Code.INVALID_ARGUMENT, InvalidRequest)
InvalidPlan = leaf("INVALID_PLAN", Code.INVALID_ARGUMENT, InvalidRequest)
LengthNotPossible = leaf("LENGTH_NOT_POSSIBLE", Code.INVALID_ARGUMENT, InvalidRequest)
InvalidAudio = leaf("INVALID_AUDIO", Code.INVALID_ARGUMENT, InvalidRequest)
OptionNotSupported = leaf("OPTION_NOT_SUPPORTED", Code.INVALID_ARGUMENT, InvalidRequest)
OutOfOrder = leaf("OUT_OF_ORDER", Code.INVALID_ARGUMENT, InvalidRequest)

CompositionNotFound = leaf("COMPOSITION_NOT_FOUND", Code.NOT_FOUND, SegueError)
JobNotFound = leaf("JOB_NOT_FOUND", Code.NOT_FOUND, SegueError)
RequestIdReused = leaf("REQUEST_ID_REUSED", Code.ALREADY_EXISTS, SegueError)

NotFinished = leaf("NOT_FINISHED", Code.FAILED_PRECONDITION, SegueError)
ModelNotInstalled = leaf("MODEL_NOT_INSTALLED", Code.FAILED_PRECONDITION, SegueError)
DeviceRequired = leaf("DEVICE_REQUIRED", Code.FAILED_PRECONDITION, SegueError)
DegradationRefused = leaf("DEGRADATION_REFUSED", Code.FAILED_PRECONDITION, SegueError)

StorageFull = leaf("STORAGE_FULL", Code.RESOURCE_EXHAUSTED, ResourceExhausted)

ReaderTooSlow = leaf("READER_TOO_SLOW", Code.UNAVAILABLE, Unavailable)
ArtifactCorrupt = leaf("ARTIFACT_CORRUPT", Code.DATA_LOSS, SegueError)

TimeLimit = leaf("TIME_LIMIT", Code.DEADLINE_EXCEEDED, SegueError)
Deadline = leaf("DEADLINE", Code.DEADLINE_EXCEEDED, SegueError)

CancelledByUser = leaf("CANCELLED_BY_USER", Code.CANCELLED, SegueError)
ClientGone = leaf("CLIENT_GONE", Code.CANCELLED, SegueError)

PermissionDenied = leaf("PERMISSION_DENIED", Code.PERMISSION_DENIED, SegueError)
NotImplementedYet = leaf("NOT_IMPLEMENTED", Code.UNIMPLEMENTED, SegueError, name="NotImplementedYet")

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error of the operating system means STORAGE_FULL."""
    return isinstance(error, OSError) and error.errno in _DISK_FULL


# The reasons that product code catches by name. Class statements, so that type checkers narrow by them.


class QueueFull(ResourceExhausted):
    """Caught by the gateway, which adds the estimated time until the queue moves."""

    reason = "QUEUE_FULL"


class QuotaExceeded(ResourceExhausted):
    """Caught by the gateway, which adds the estimated time until another job of the owner may wait."""

    reason = "QUOTA_EXCEEDED"


class TooManyTries(SegueError):
    """Caught by the conductor: a report that is lost too often is a degradation."""

    reason = "TOO_MANY_TRIES"
    code = Code.ABORTED


class StoreUnavailable(Unavailable):
    """Caught by the conductor, whose writes wait for the store."""

    reason = "STORE_UNAVAILABLE"


class ArtifactNotFound(SegueError):
    """Caught by the gateway when an earlier try of the same call has finished the upload."""

    reason = "ARTIFACT_NOT_FOUND"
    code = Code.NOT_FOUND


class ModelNotFound(SegueError):
    """Caught by `segued check-renderer`, which reports a wrong --model."""

    reason = "MODEL_NOT_FOUND"
    code = Code.NOT_FOUND


class UploadFinished(SegueError):
    """Caught by the gateway when an earlier try of the same call has finished the upload."""

    reason = "UPLOAD_FINISHED"
    code = Code.FAILED_PRECONDITION


class ModelInvalid(SegueError):
    """Caught by the download of models, which deletes the damaged file."""

    reason = "MODEL_INVALID"
    code = Code.FAILED_PRECONDITION


class TooManyCalls(ResourceExhausted):
    """Caught by the interceptor, which logs it with the caller's address."""

    reason = "TOO_MANY_CALLS"


class Unauthenticated(SegueError):
    """Caught by the interceptor, which answers repeated wrong tokens later."""

    reason = "UNAUTHENTICATED"
    code = Code.UNAUTHENTICATED


class CursorAhead(SegueError):
    """Caught by the gateway, which turns the sequence of the store into a cursor."""

    reason = "CURSOR_AHEAD"
    code = Code.OUT_OF_RANGE


class OffsetOutOfRange(SegueError):
    """Caught by the gateway when an earlier try of the same call has stored the bytes."""

    reason = "OFFSET_OUT_OF_RANGE"
    code = Code.OUT_OF_RANGE


class RenderInvalid(SegueError):
    """Caught by the conductor, which tries the section again with another seed."""

    reason = "RENDER_INVALID"
    code = Code.DATA_LOSS


class TakeOutOfBounds(SegueError):
    """Raised by nobody: the log has it, with the measured values, for each take that is rendered again."""

    reason = "TAKE_OUT_OF_BOUNDS"
    code = Code.OUT_OF_RANGE


class OutOfMemory(ResourceExhausted):
    """Caught by the renderer, which unloads another model."""

    reason = "OUT_OF_MEMORY"


class ShuttingDown(Unavailable):
    """Caught by the conductor: a section that a renderer gives back has used no attempt."""

    reason = "SHUTTING_DOWN"


class LeaseUnknown(SegueError):
    """Caught by the conductor: the section waits for another slot, without an attempt."""

    reason = "LEASE_UNKNOWN"
    code = Code.FAILED_PRECONDITION


class NoRenderer(Unavailable):
    """Caught by the gateway, which accepts what can wait for a renderer."""

    reason = "NO_RENDERER"


class ServiceUnreachable(Unavailable):
    """Base of RoleLost."""

    reason = "SERVICE_UNREACHABLE"


class RoleLost(ServiceUnreachable):
    """Caught by the conductor: the role had begun with the call, so that the call may be what ended it."""


class DeviceLost(Unavailable):
    """Caught by the conductor, as above."""

    reason = "DEVICE_LOST"
