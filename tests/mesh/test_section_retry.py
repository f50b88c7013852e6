"""The retry of a failed section: which errors are retried, how often, with which seed."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from segue_conductor.backoff import LONGEST_DELAY_S, Backoff
from segue_conductor.pool.renderer_pool import WrongModel
from segue_conductor.progress import ProgressBoard
from segue_conductor.render.section_retry import NUM_SEEDS, RetryPolicy
from segue_runtime import errors

UNUSABLE = errors.RenderInvalid("all samples are zero")
LOST = errors.RoleLost("the renderer ended", metadata={"service": "renderer", "grpcCode": "UNAVAILABLE"})
REFUSED = errors.ServiceUnreachable("no connection", metadata={"service": "renderer", "grpcCode": "UNAVAILABLE"})
FULL = errors.QueueFull("no slot", retry_after_s=1)
BUSY = errors.OutOfMemory("no memory")


def policy_of(seed: int = 7, patience_s: float = 600, services: Any = None) -> RetryPolicy:
    shared: Any = services or SimpleNamespace(store=None, roles_seen={})  # deciding needs no store
    return RetryPolicy(seed, Backoff(patience_s, shared, "verse-1", {"section_id": "verse-1"}))


def test_unusable_audio_is_retried_once_with_another_seed() -> None:
    policy = policy_of(NUM_SEEDS - 1)
    assert policy.after(UNUSABLE, accepted=True).seed == 0
    with pytest.raises(errors.RenderInvalid):
        policy.after(UNUSABLE, accepted=True)


def test_other_failures_are_retried_twice_with_growing_delays_and_the_same_seed() -> None:
    policy = policy_of()
    first = policy.after(errors.InternalError("one"), accepted=True)
    second = policy.after(BUSY, accepted=False)
    assert (first.seed, second.seed) == (7, 7)
    assert first.delay_s < second.delay_s
    with pytest.raises(errors.InternalError):
        policy.after(errors.InternalError("three"), accepted=True)


def test_a_full_renderer_uses_up_nothing() -> None:
    policy = policy_of(patience_s=-1)
    retries = [policy.after(FULL, accepted=False) for _ in range(8)]
    assert not any(retry.is_attempt for retry in retries)
    assert {retry.seed for retry in retries} == {7}


def test_another_model_than_the_offered_one_costs_an_attempt_and_keeps_the_seed() -> None:
    policy = policy_of()
    lie = WrongModel("the renderer plays another model")
    assert [policy.after(lie, accepted=False).seed for _ in range(2)] == [7, 7]
    with pytest.raises(WrongModel):
        policy.after(lie, accepted=False)


@pytest.mark.parametrize("error", [errors.InvalidField("spec"), errors.TimeLimit("late")])
def test_errors_that_a_retry_cannot_change_are_final(error: errors.SegueError) -> None:
    with pytest.raises(type(error)):
        policy_of().after(error, accepted=True)


def test_a_renderer_that_is_away_is_awaited_for_as_long_as_the_patience_allows() -> None:
    policy = policy_of()
    retries = [policy.after(REFUSED, accepted=False) for _ in range(8)]
    assert not any(retry.is_attempt for retry in retries)
    assert {retry.seed for retry in retries} == {7}
    delays = [retry.delay_s for retry in retries]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S
    impatient = policy_of(patience_s=-1)
    with pytest.raises(errors.ServiceUnreachable):
        impatient.after(REFUSED, accepted=False)


@pytest.mark.parametrize("error", [LOST, errors.DeviceLost("the GPU was reset")])
def test_a_section_that_loses_its_renderer_three_times_fails(error: errors.SegueError) -> None:
    policy = policy_of(patience_s=-1)
    for _ in range(2):
        assert policy.after(error, accepted=False).is_attempt
    with pytest.raises(errors.TooManyTries) as caught:
        policy.after(error, accepted=False)
    assert caught.value.metadata == {"service": "renderer", "section_id": "verse-1"}
    assert error.message in caught.value.message


def test_the_patience_begins_again_when_the_renderer_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    board, policy = ProgressBoard(), policy_of(patience_s=600)
    board.backoffs.append(policy.backoff)
    policy.after(REFUSED, accepted=False)
    board.answered("mixer")
    assert board.waiting_for == "renderer"
    now = 600.0
    policy.after(REFUSED, accepted=False)
    board.answered("renderer")
    assert board.waiting_for == ""
    for now in (900.0, 1499.0):  # noqa: B007 - the clock
        policy.after(REFUSED, accepted=False)
    now = 1501.0
    with pytest.raises(errors.ServiceUnreachable):
        policy.after(REFUSED, accepted=False)


def test_the_patience_of_other_work_begins_again_when_the_renderer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guilty section may end a renderer that was back before an innocent one had its turn."""
    now = 1.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    services = SimpleNamespace(store=None, roles_seen={})
    innocent, guilty = policy_of(services=services), policy_of(services=services)
    innocent.after(REFUSED, accepted=False)
    now = 500.0
    guilty.after(LOST, accepted=True)
    now = 1000.0
    innocent.after(REFUSED, accepted=False)
    now = 1101.0
    with pytest.raises(errors.ServiceUnreachable):
        innocent.after(REFUSED, accepted=False)


def test_a_renderer_that_drains_takes_no_attempt_away() -> None:
    policy = policy_of()
    for _ in range(5):
        policy.after(errors.ShuttingDown("this renderer is stopping"), accepted=True)
