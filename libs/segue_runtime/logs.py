"""Logs: structured lines on standard error, JSON for machines and a console view on a terminal, never a prompt."""

from __future__ import annotations

import hashlib
import logging
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from segue_runtime import scope
from segue_runtime.settings import LogSettings

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger


# Words of the caller: private, and hostile to a terminal. Length and hash are enough to find a repetition.
PRIVATE_KEYS = frozenset({"prompt", "prompts", "lyrics", "text", "title", "token", "authorization"})

CALLER_GONE = "ExecuteBatchError"
"""What grpc.aio logs, with a traceback, when an answer meets a call whose caller has left."""


# Without the frames' variables: prompts and tokens stand in them.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


class StandardError:
    """Standard error as it is when a line is written: who captures output replaces it, and closes what was there."""

    def write(self, text: str) -> int:
        """Write."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return sys.stderr.isatty()


STANDARD_ERROR = cast("TextIO", StandardError())


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a module or role."""
    logger: FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up logging for this process; the standard library's loggers join in."""
    _set_up(settings, stream or STANDARD_ERROR)
    root = logging.getLogger()
    root.handlers[:] = [Forward()]
    root.setLevel(max(logging.getLevelNamesMapping()[settings.level.upper()], logging.WARNING))


def _set_up(settings: LogSettings, target: TextIO) -> None:
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    console = settings.format == "console" or (settings.format == "auto" and target.isatty())
    shared: list[Processor] = [add_scope, hide_private, structlog.processors.add_log_level]
    shared.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
    last: list[Processor]
    if console:
        last = [
            structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    else:
        last = [TRACEBACKS, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(target),
        cache_logger_on_first_use=False,
    )


class Forward(logging.Handler):
    """Sends what libraries log to our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        exception = record.exc_info or None
        if exception and exception[0] is not None and exception[0].__name__ == CALLER_GONE:
            # grpc takes it for an error of ours; whoever interrupts a command saw its traceback.
            get(record.name).info("a caller was gone before its answer", detail=record.getMessage())
            return
        get(record.name).log(record.levelno, record.getMessage(), exc_info=exception)


def add_scope(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the request id of the call that is being served."""
    here = scope.current()
    if here is not None:
        event.setdefault("request_id", here.request_id)
    return event


def hide_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the caller's words by their length and a short hash."""
    for key in PRIVATE_KEYS.intersection(event):
        raw = str(event.pop(key)).encode("utf-8", "replace")
        event[f"{key}_bytes"] = len(raw)
        event[f"{key}_sha256"] = hashlib.sha256(raw).hexdigest()[:12]
    return event


# Until a process configures its log: structlog's own default would write to standard output, which is for data.
_set_up(LogSettings(level="warning", format="json"), STANDARD_ERROR)
