"""Who calls, and what the caller may do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Grant(StrEnum):
    """What a caller may do."""

    COMPOSE = "compose"
    """Create, edit, retry, cancel, delete, master and plan; upload."""
    WATCH = "watch"
    """Get, list, watch and download; see models and load."""
    ANALYZE = "analyze"
    """Analyses and separations, and the uploads that they need."""
    ADMIN = "admin"
    """All calls of users, for the work of every owner."""
    ROLE = "role"
    """The services with which the roles of a mesh call each other."""


OWNER: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}", re.ASCII)
"""The names of owners."""
LOCAL: Final = "local"
"""The owner of callers that need no token, or send `server.token`."""
EVERY_GRANT: Final = frozenset(Grant)
OPERATOR_GRANTS: Final = EVERY_GRANT - {Grant.ROLE}
"""Of callers that need no token, or send `server.token`."""
DEFAULT_GRANTS: Final = frozenset({Grant.COMPOSE, Grant.WATCH, Grant.ANALYZE})
"""Of callers whose credentials name no grants."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner that a caller acts for, and what it may do."""

    owner: str
    grants: frozenset[Grant]


def listed(grants: frozenset[Grant], between: str = ",") -> str:
    """Return grants as text, in their order: `compose,watch`."""
    return between.join(grant for grant in Grant if grant in grants)
