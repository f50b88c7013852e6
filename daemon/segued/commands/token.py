"""`segued token`: signs a token for a caller, or adds a key to the file of keys."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from segue_runtime.callers import DEFAULT_GRANTS, EVERY_GRANT, OWNER, Caller, Grant, listed
from segue_runtime.rpc.admission import signed_tokens
from segue_runtime.settings import format_duration
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse

    from segue_runtime.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.new_key:
        return _add_key(Path(arguments.new_key), arguments)
    caller = _caller(arguments)
    ttl_s, longest_s = arguments.ttl, settings.server.max_token_ttl_s
    if not 1 <= ttl_s <= longest_s:
        raise CliError(
            ExitCode.USAGE,
            f"--ttl: a token is valid for 1s to {format_duration(longest_s)}",
            "server.max_token_ttl is the longest time; servers refuse tokens that are valid for longer",
        )
    path = settings.server.signing_keys
    if path is None:
        raise CliError(
            ExitCode.USAGE,
            "there is no key to sign with",
            "`segued token --new-key FILE` makes one; --server-signing-keys FILE names the file, here and at servers",
        )
    key = signed_tokens.open_keys(path).value()[0]
    now = time.time()
    token = signed_tokens.sign(key, caller, now=now, ttl_s=ttl_s)
    if arguments.json:
        expires = datetime.fromtimestamp(int(now + ttl_s), UTC).isoformat().replace("+00:00", "Z")
        facts = {"owner": caller.owner, "grants": listed(caller.grants).split(","), "expires": expires}
        print(json.dumps({"token": token, **facts, "key_id": key.key_id}))  # noqa: T201 - the command's output
    else:
        print(token)  # noqa: T201
    return ExitCode.OK


def _add_key(path: Path, arguments: argparse.Namespace) -> int:
    if arguments.owner or arguments.grant:
        raise CliError(ExitCode.USAGE, "--new-key: --owner and --grant are for tokens, not for keys")
    keys = signed_tokens.add_key(path)
    if arguments.json:
        print(json.dumps({"file": str(path), "key_ids": [key.key_id for key in keys]}))  # noqa: T201
    else:
        print(f"{path}: key {keys[0].key_id} signs, {len(keys)} of at most {signed_tokens.MAX_KEYS} verify")  # noqa: T201
    return ExitCode.OK


def _caller(arguments: argparse.Namespace) -> Caller:
    if not OWNER.fullmatch(arguments.owner or ""):
        raise CliError(
            ExitCode.USAGE,
            f"--owner: {arguments.owner!r} is no owner" if arguments.owner else "--owner: the token needs an owner",
            "an owner has 1 to 63 characters of a-z, 0-9 and ._@-, and begins with a letter or digit",
        )
    unknown = [name for name in arguments.grant or () if name not in EVERY_GRANT]
    if unknown:
        raise CliError(ExitCode.USAGE, f"--grant: {unknown[0]!r} is none of {listed(EVERY_GRANT)}")
    return Caller(arguments.owner, frozenset(map(Grant, arguments.grant)) if arguments.grant else DEFAULT_GRANTS)
