"""`segued tenant`: shows the tenant table of `limits.tenants_file` as a gateway reads it, or erases an owner."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, cast

from segue_runtime import errors, failpoints, logs
from segue_runtime.accounting import audit
from segue_runtime.callers import OWNER
from segue_runtime.tenants import Priority, Tenant, TenantTable
from segued.exits import CliError, ExitCode
from segued.output.model_view import size
from segued.serve.erasure import erase

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

DEFAULT = "default"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.action == "delete":
        return _delete(settings, arguments)
    if arguments.yes:
        raise CliError(ExitCode.USAGE, f"--yes: `segued tenant {arguments.action}` erases nothing", "leave it out")
    table = TenantTable(settings.limits.tenants_file)
    if arguments.action == "list" and arguments.owner:
        raise CliError(ExitCode.USAGE, "`segued tenant list` takes no owner", f"segued tenant show {arguments.owner}")
    if arguments.action == "show":
        if not OWNER.fullmatch(arguments.owner):
            raise CliError(ExitCode.USAGE, "name an owner: a-z, 0-9 and ._@-", "segued tenant show alice")
        found = {arguments.owner: table.of(arguments.owner)}
    else:
        found = {DEFAULT: table.of("")} | {owner: table.of(owner) for owner in table.named}
    if arguments.json:
        print(json.dumps({owner: _limits(each) for owner, each in found.items()}, indent=2))  # noqa: T201 - the output
        return ExitCode.OK
    for owner, each in found.items():
        shown = ", ".join(f"{name} {_text(value)}" for name, value in _limits(each).items() if value is not None)
        print(f"{owner}: {shown}")  # noqa: T201 - the command's output
    return ExitCode.OK


def _delete(settings: Settings, arguments: argparse.Namespace) -> int:
    if not arguments.owner:
        raise CliError(ExitCode.USAGE, "name the owner to erase", "segued tenant delete alice")
    if settings.store.backend == "sqlite" and not settings.database_path.exists():
        raise CliError(ExitCode.FAILED, f"there is no store at {settings.database_path}", "name the home with --home")
    if not arguments.yes and not _is_confirmed(arguments.owner):
        raise CliError(ExitCode.USAGE, "nothing was erased", "--yes erases without asking")
    logs.configure(settings.log)
    audit.open_file(settings.log.audit_file)
    failpoints.arm(settings.failpoints.active)
    try:
        erased = asyncio.run(erase(settings, arguments.owner))
    except errors.SegueError as error:
        raise CliError(ExitCode.FAILED, str(error)) from error
    if arguments.json:
        print(json.dumps(asdict(erased)))  # noqa: T201 - the command's output
    else:
        print(  # noqa: T201
            f"erased {erased.owner}: {erased.jobs} compositions, masterings, analyses and separations, "
            f"{erased.cancelled} of them cancelled before; {erased.uploads} uploads, {erased.takes} takes, "
            f"{size(erased.artifact_bytes)} of artifacts, {erased.usage_days} days of usage"
        )
    return ExitCode.OK


def _is_confirmed(owner: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"erase everything of {owner}? It cannot be undone [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _limits(tenant: Tenant) -> dict[str, object]:
    """Return the entry with the names of the file; None is no limit."""
    values = {field.name: getattr(tenant, field.name) for field in fields(tenant)}
    return {name: value.name.lower() if isinstance(value, Priority) else value for name, value in values.items()}


def _text(value: object) -> str:
    return " ".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
