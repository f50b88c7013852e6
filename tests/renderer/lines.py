"""Calls that stand in a renderer's line, of any backend, for tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc.aio

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Sequence


async def next_of(call: Any, kind: str) -> Any:
    """Read on until a message of a kind comes."""
    async for message in call:
        if message.WhichOneof("message") == kind:
            return getattr(message, kind)
    raise AssertionError(f"it ended without {kind}")


async def first_answers(calls: Sequence[Any]) -> Counter[str]:
    """Count by what calls are answered first: the kind of a message, or the reason of a refusal."""
    return Counter(await asyncio.gather(*map(_first_answer, calls)))


async def _first_answer(call: Any) -> str:
    try:
        return str((await call.read()).WhichOneof("message"))
    except grpc.aio.AioRpcError as error:
        return errors.from_rpc_error(error).reason
