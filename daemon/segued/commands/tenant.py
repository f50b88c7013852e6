"""`segued tenant`: shows the tenant table of `limits.tenants_file` as a gateway with these settings reads it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, cast

from segue_runtime.callers import OWNER
from segue_runtime.tenants import Priority, Tenant, TenantTable
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings

DEFAULT = "default"


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
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


def _limits(tenant: Tenant) -> dict[str, object]:
    """Return the entry with the names of the file; None is no limit."""
    values = {field.name: getattr(tenant, field.name) for field in fields(tenant)}
    return {name: value.name.lower() if isinstance(value, Priority) else value for name, value in values.items()}


def _text(value: object) -> str:
    return " ".join(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else str(value)
