"""Structured logs on standard error: JSON, or a console format on a terminal. They never contain a prompt."""

from __future__ import annotations

import hashlib
import logging
import math
import sys
import time
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from segue_runtime import scope
from segue_runtime.settings import LogSettings

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger


# Text of the caller: private, and possibly harmful to a terminal. Length and hash suffice to recognise it.
PRIVATE_KEYS = frozenset({"prompt", "prompts", "lyrics", "text", "title", "token", "authorization"})

CALLER_GONE = "ExecuteBatchError"
"""The error that grpc.aio logs with a traceback when it answers a call whose caller has left."""


# Without local variables, which contain prompts and tokens.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


class StandardError:
    """The current sys.stderr at each write: tools that capture output replace it and close the old one."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


STANDARD_ERROR = cast("TextIO", StandardError())


def get(name: str) -> FilteringBoundLogger:
    """Return the logger of a module or role."""
    logger: FilteringBoundLogger = structlog.get_logger(part=name)
    return logger


class BoundedLog:
    """Writes at most ten lines in ten seconds. The next line after that says how many were left out."""

    LIMIT = 10
    PERIOD_S = 10.0

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._began = -math.inf
        self._num_written = 0
        self._num_left_out = 0

    def warning(self, event: str, **fields: object) -> None:
        """Write a warning, or count it as left out."""
        now = time.monotonic()
        if now - self._began >= self.PERIOD_S:
            self._began, self._num_written = now, 0
        if self._num_written >= self.LIMIT:
            self._num_left_out += 1
            return
        self._num_written += 1
        if self._num_left_out:
            fields["num_left_out"] = self._num_left_out
            self._num_left_out = 0
        self._log.warning(event, **fields)


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Configure the logs of this process, those of the standard library included."""
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
        # One write for each line: a process that is killed between text and line end would spoil the next one.
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )


class Forward(logging.Handler):
    """Forwards the log records of libraries to the structured log."""

    def emit(self, record: logging.LogRecord) -> None:
        exception = record.exc_info or None
        if exception and exception[0] is not None and exception[0].__name__ == CALLER_GONE:
            # Not an error: without this, a command that is interrupted prints a traceback.
            get(record.name).info("a caller was gone before its answer", detail=record.getMessage())
            return
        get(record.name).log(record.levelno, record.getMessage(), exc_info=exception)


def add_scope(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the request id of the current call."""
    here = scope.current()
    if here is not None:
        event.setdefault("request_id", here.request_id)
    return event


def hide_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace text of the caller by its length and a short hash."""
    for key in PRIVATE_KEYS.intersection(event):
        raw = str(event.pop(key)).encode("utf-8", "replace")
        event[f"{key}_bytes"] = len(raw)
        event[f"{key}_sha256"] = hashlib.sha256(raw).hexdigest()[:12]
    return event


# Until a process configures its logs: the default of structlog writes to standard output, which is for data.
_set_up(LogSettings(level="warning", format="json"), STANDARD_ERROR)
