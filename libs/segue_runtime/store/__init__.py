"""The store: jobs, their queue, their event logs, and uploads."""

from segue_runtime.store.base import Jobs, Log, Pool, Queue, Store, Uploads
from segue_runtime.store.records import (
    Created,
    Depth,
    Event,
    Fenced,
    Job,
    LogEnded,
    NewEvent,
    NewJob,
    Page,
    Progress,
    Renewal,
    Upload,
    UploadPage,
    UploadPart,
    not_found,
)
from segue_runtime.store.sqlite import SqliteStore

__all__ = [
    "Created",
    "Depth",
    "Event",
    "Fenced",
    "Job",
    "Jobs",
    "Log",
    "LogEnded",
    "NewEvent",
    "NewJob",
    "Page",
    "Pool",
    "Progress",
    "Queue",
    "Renewal",
    "SqliteStore",
    "Store",
    "Upload",
    "UploadPage",
    "UploadPart",
    "Uploads",
    "not_found",
]
