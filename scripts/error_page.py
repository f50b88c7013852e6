"""Generate docs/errors.md, the table of error reasons, from the comments of errors.proto; `--check` compares only."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "protos/segue/errors/v1/errors.proto"
TARGET = ROOT / "docs/errors.md"
COMMENT = re.compile(
    r"ERROR_REASON_(?P<reason>\w+): (?P<code>[A-Z_]+)(?P<retry> with RetryInfo)?\. "
    r"(?P<meaning>.+?) Example: (?P<example>.+?)\.(?: Metadata: (?P<metadata>\{.+\})\.)?"
)
HEAD = """# Errors

Made by `make generate` from the comments of `protos/segue/errors/v1/errors.proto`; do not edit.

Every error has a gRPC code and a `google.rpc.ErrorInfo` with the domain `segue.dev` and one of these reasons. Programs
switch on the reason; the message is for people. A composition that failed has the same error in its `error` field.
"Retry" means that the error carries a `google.rpc.RetryInfo`: the same request can succeed after that time. "Metadata"
is an example of the ErrorInfo's metadata. It also always has `"requestId"`, which finds the call in the server's log.

| reason | gRPC code | retry | meaning | for example, when | metadata |
|---|---|---|---|---|---|
"""


class Row(NamedTuple):
    """One reason: its gRPC code, whether it comes with RetryInfo, its meaning, and examples."""

    reason: str
    code: str
    has_retry: bool
    meaning: str
    example: str
    metadata: dict[str, str]
    """An example without requestId; empty when the reason has no other metadata."""


def rows() -> list[Row]:
    """Read the reasons, grouped by code; codes are in the order of their first use in the contract."""
    found: list[Row] = []
    comment: list[str] = []
    for line in map(str.strip, SOURCE.read_text(encoding="utf-8").splitlines()):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        if line.startswith("ERROR_REASON_") and not line.startswith("ERROR_REASON_UNSPECIFIED"):
            found.append(row(" ".join(comment)))
        comment = []
    codes = list(dict.fromkeys(each.code for each in found))
    return sorted(found, key=lambda each: codes.index(each.code))


def row(comment: str) -> Row:
    """Split a comment into its parts."""
    parts = COMMENT.fullmatch(comment)
    if parts is None:
        sys.exit(f"error: {SOURCE.name}: the form is NAME: CODE. Meaning. Example: when. Metadata: JSON.\n{comment}")
    metadata = json.loads(parts["metadata"] or "{}")
    return Row(parts["reason"], parts["code"], bool(parts["retry"]), parts["meaning"], parts["example"], metadata)


def cells(row: Row) -> str:
    """Return the table row of a reason."""
    retry, metadata = "yes" if row.has_retry else "", f"`{json.dumps(row.metadata)}`" if row.metadata else ""
    return f"| `{row.reason}` | {row.code} | {retry} | {row.meaning} | {row.example} | {metadata} |"


def page() -> str:
    """Return the page."""
    return HEAD + "\n".join(map(cells, rows())) + "\n"


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is not fresh")
    if parser.parse_args().check:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page():
            sys.exit("error: docs/errors.md is not fresh\nhint: make generate")
    else:
        TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
