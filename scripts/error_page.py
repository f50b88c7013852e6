"""Make docs/errors.md, the table of error reasons, from the comments of errors.proto; `--check` compares only."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "protos/segue/errors/v1/errors.proto"
TARGET = ROOT / "docs/errors.md"
COMMENT = re.compile(
    r"ERROR_REASON_(?P<reason>\w+): (?P<code>[A-Z_]+)(?P<retry> with RetryInfo)?\. "
    r"(?P<meaning>.+) Example: (?P<example>.+)\."
)
HEAD = """# Errors

Made by `make generate` from the comments of `protos/segue/errors/v1/errors.proto`; do not edit.

Every error has a gRPC code and a `google.rpc.ErrorInfo` with the domain `segue.dev` and one of these reasons. Programs
switch on the reason; the message is for people. A composition that failed has the same error in its `error` field.
"Retry" means that the error carries a `google.rpc.RetryInfo`: the same request can succeed after that time.

| reason | gRPC code | retry | meaning | for example, when |
|---|---|---|---|---|
"""


class Row(NamedTuple):
    """One reason: its gRPC code, whether it comes with RetryInfo, its meaning, and an example."""

    reason: str
    code: str
    has_retry: bool
    meaning: str
    example: str


def rows() -> list[Row]:
    """Read the reasons in the order of their codes; the first code is the one that the contract names first."""
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
        sys.exit(f"error: {SOURCE.name}: not of the form NAME: CODE. Meaning. Example: when.\n{comment}")
    return Row(parts["reason"], parts["code"], bool(parts["retry"]), parts["meaning"], parts["example"])


def page() -> str:
    """Return the page."""
    lines = [
        f"| `{each.reason}` | {each.code} | {'yes' if each.has_retry else ''} | {each.meaning} | {each.example} |"
        for each in rows()
    ]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is not fresh")
    if parser.parse_args().check:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != page():
            sys.exit("error: docs/errors.md is not fresh\nhint: make generate")
    else:
        TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
