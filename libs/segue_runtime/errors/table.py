"""The table of errors: one row for each reason of the contract, with its gRPC code and the group it is caught by.

The meaning of each reason, and when it is raised, stand once: in errors.proto, from which docs/errors.md is made.
InternalError is a class statement in `base`, since other classes derive from it.
"""

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
ArtifactNotFound = leaf("ARTIFACT_NOT_FOUND", Code.NOT_FOUND, SegueError)
JobNotFound = leaf("JOB_NOT_FOUND", Code.NOT_FOUND, SegueError)
ModelNotFound = leaf("MODEL_NOT_FOUND", Code.NOT_FOUND, SegueError)

RequestIdReused = leaf("REQUEST_ID_REUSED", Code.ALREADY_EXISTS, SegueError)

NotFinished = leaf("NOT_FINISHED", Code.FAILED_PRECONDITION, SegueError)
UploadFinished = leaf("UPLOAD_FINISHED", Code.FAILED_PRECONDITION, SegueError)
ModelNotInstalled = leaf("MODEL_NOT_INSTALLED", Code.FAILED_PRECONDITION, SegueError)
ModelInvalid = leaf("MODEL_INVALID", Code.FAILED_PRECONDITION, SegueError)
DeviceRequired = leaf("DEVICE_REQUIRED", Code.FAILED_PRECONDITION, SegueError)
DegradationRefused = leaf("DEGRADATION_REFUSED", Code.FAILED_PRECONDITION, SegueError)

CursorAhead = leaf("CURSOR_AHEAD", Code.OUT_OF_RANGE, SegueError)
OffsetOutOfRange = leaf("OFFSET_OUT_OF_RANGE", Code.OUT_OF_RANGE, SegueError)

QueueFull = leaf("QUEUE_FULL", Code.RESOURCE_EXHAUSTED, ResourceExhausted)
QuotaExceeded = leaf("QUOTA_EXCEEDED", Code.RESOURCE_EXHAUSTED, ResourceExhausted)
OutOfMemory = leaf("OUT_OF_MEMORY", Code.RESOURCE_EXHAUSTED, ResourceExhausted)
StorageFull = leaf("STORAGE_FULL", Code.RESOURCE_EXHAUSTED, ResourceExhausted)

NoRenderer = leaf("NO_RENDERER", Code.UNAVAILABLE, Unavailable)
ServiceUnreachable = leaf("SERVICE_UNREACHABLE", Code.UNAVAILABLE, Unavailable)
ShuttingDown = leaf("SHUTTING_DOWN", Code.UNAVAILABLE, Unavailable)
StoreUnavailable = leaf("STORE_UNAVAILABLE", Code.UNAVAILABLE, Unavailable)
ReaderTooSlow = leaf("READER_TOO_SLOW", Code.UNAVAILABLE, Unavailable)
DeviceLost = leaf("DEVICE_LOST", Code.UNAVAILABLE, Unavailable)

RenderInvalid = leaf("RENDER_INVALID", Code.DATA_LOSS, SegueError)
ArtifactCorrupt = leaf("ARTIFACT_CORRUPT", Code.DATA_LOSS, SegueError)

TimeLimit = leaf("TIME_LIMIT", Code.DEADLINE_EXCEEDED, SegueError)
Deadline = leaf("DEADLINE", Code.DEADLINE_EXCEEDED, SegueError)

CancelledByUser = leaf("CANCELLED_BY_USER", Code.CANCELLED, SegueError)
ClientGone = leaf("CLIENT_GONE", Code.CANCELLED, SegueError)

Unauthenticated = leaf("UNAUTHENTICATED", Code.UNAUTHENTICATED, SegueError)
PermissionDenied = leaf("PERMISSION_DENIED", Code.PERMISSION_DENIED, SegueError)
NotImplementedYet = leaf("NOT_IMPLEMENTED", Code.UNIMPLEMENTED, SegueError, name="NotImplementedYet")
TooManyTries = leaf("TOO_MANY_TRIES", Code.ABORTED, SegueError)
