"""All checks in order, and the functions that run them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc.aio

from segue_renderer.conformance import (
    determinism_checks,
    input_checks,
    profile_checks,
    refusal_checks,
    slot_checks,
    stream_checks,
)
from segue_renderer.conformance.outcome import CheckFailed, CheckResult, CheckSkipped, Outcome
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_renderer.conformance.check import Check
    from segue_renderer.conformance.target import Target

CHECKS: Final[tuple[Check, ...]] = (
    *profile_checks.CHECKS,
    *stream_checks.CHECKS,
    *determinism_checks.CHECKS,
    *input_checks.CHECKS,
    *refusal_checks.CHECKS,
    *slot_checks.CHECKS,
)
TIME_LIMIT_S: Final = 600.0
"""Of one check: a model on a slow device needs minutes for a few seconds of audio."""


async def run_checks(target: Target, time_limit_s: float = TIME_LIMIT_S) -> AsyncIterator[CheckResult]:
    """Run all checks, one after the other."""
    for check in CHECKS:
        yield await run_check(check, target, time_limit_s)


async def run_check(check: Check, target: Target, time_limit_s: float = TIME_LIMIT_S) -> CheckResult:
    """Run one check. An error of the call fails the check; an unreachable renderer raises."""
    outcome, detail = Outcome.PASSED, ""
    try:
        async with asyncio.timeout(time_limit_s):
            detail = await check.function(target)
    except CheckSkipped as skipped:
        outcome, detail = Outcome.SKIPPED, str(skipped)
    except CheckFailed as failed:
        outcome, detail = Outcome.FAILED, str(failed)
    except TimeoutError:
        outcome, detail = Outcome.FAILED, f"no result after {time_limit_s:g} s"
    except grpc.aio.AioRpcError as error:
        found = errors.from_rpc_error(error)
        outcome, detail = Outcome.FAILED, f"{found.code.name} {found.reason}: {found.message}"
    return CheckResult(check.name, check.promise, outcome, detail)
