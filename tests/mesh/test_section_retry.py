"""The retry of a failed section: which errors are retried, how often, with which seed."""

from __future__ import annotations

import pytest

from segue_conductor import backoff
from segue_conductor.render.section_retry import NUM_SEEDS, RetryPolicy
from segue_runtime import errors

UNUSABLE = errors.RenderInvalid("all samples are zero")
UNREACHABLE = errors.ServiceUnreachable("the renderer ended")
BUSY = errors.QueueFull("no slot", retry_after_s=1)


def test_unusable_audio_is_retried_once_with_another_seed() -> None:
    policy = RetryPolicy(NUM_SEEDS - 1)
    retry = policy.after(UNUSABLE)
    assert retry is not None
    assert retry.seed == 0
    assert policy.after(UNUSABLE) is None


def test_other_failures_are_retried_twice_with_growing_delays_and_the_same_seed() -> None:
    policy = RetryPolicy(7)
    first, second = policy.after(errors.InternalError("one")), policy.after(BUSY)
    assert first is not None
    assert second is not None
    assert (first.seed, second.seed) == (7, 7)
    assert first.delay_s < second.delay_s
    assert policy.after(errors.InternalError("three")) is None


@pytest.mark.parametrize("error", [errors.InvalidField("spec"), errors.TimeLimit("late")])
def test_errors_that_a_retry_cannot_change_are_final(error: errors.SegueError) -> None:
    assert RetryPolicy(7).after(error) is None


def test_an_unavailable_renderer_is_retried_until_the_backoff_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = RetryPolicy(7)
    delays = []
    for _ in range(8):
        retry = policy.after(UNREACHABLE)
        assert retry is not None
        assert retry.seed == 7
        delays.append(retry.delay_s)
    assert delays == sorted(delays)
    assert delays[-1] == backoff.LONGEST_DELAY_S
    monkeypatch.setattr(backoff, "LIMIT_S", -1.0)
    assert policy.after(UNREACHABLE) is None
