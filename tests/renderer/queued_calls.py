"""Helpers for calls in a renderer's queue, of any backend."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc.aio

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Sequence


async def next_of(call: Any, kind: str) -> Any:
    """Read until a message of a kind arrives."""
    async for message in call:
        if message.WhichOneof("message") == kind:
            return getattr(message, kind)
    raise AssertionError(f"the call ended without {kind}")


async def first_answers(calls: Sequence[Any]) -> Counter[str]:
    """Count the first answers of calls: the kind of the message, or the reason of the error."""
    return Counter(await asyncio.gather(*map(_first_answer, calls)))


async def _first_answer(call: Any) -> str:
    try:
        return str((await call.read()).WhichOneof("message"))
    except grpc.aio.AioRpcError as error:
        return errors.from_rpc_error(error).reason
