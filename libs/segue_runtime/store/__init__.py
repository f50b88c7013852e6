"""The store: jobs, their queue, their event logs, takes and uploads."""

from segue_runtime.store.base import Jobs, Log, Queue, Store, Tables
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
    Take,
    Upload,
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
    "Progress",
    "Queue",
    "Renewal",
    "SqliteStore",
    "Store",
    "Tables",
    "Take",
    "Upload",
    "not_found",
]
