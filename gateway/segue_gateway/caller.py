"""The caller of the current call: whose work it may reach."""

from __future__ import annotations

from typing import Final

from segue_runtime import errors, scope
from segue_runtime.callers import Grant

ANYBODY: Final = "*"
"""In requests of admins: every owner."""


def owner() -> str:
    """Return the owner of the current call; empty without authentication."""
    here = scope.current()
    return here.owner if here else ""


def may_reach(of_owner: str) -> bool:
    """Return whether the caller may see, cancel, delete and download the work of an owner: its own, or as an admin."""
    here = scope.current()
    return of_owner == owner() or (here is not None and Grant.ADMIN in here.grants)


def check_reach(of_owner: str, method: str) -> None:
    """Raise PermissionDenied unless the caller may reach the work of an owner, or of ANYBODY, that it has named."""
    if not may_reach(of_owner):
        raise errors.PermissionDenied(
            f"{method} of other owners needs the grant admin",
            metadata={"method": f"segue.composer.v1.ComposerService/{method}", "grant": Grant.ADMIN.value},
        )
