"""Random prompts: each gets a plan or a clear refusal, in bounded time and memory."""

from __future__ import annotations

import contextlib
import gc
import random
import time
from collections import Counter

import pytest
from tests.planner.planner_client import assert_valid
from tests.planner.test_planner_hostile import HOSTILE, WORDS

from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_runtime import errors

LETTERS = "abcxyz0129 .,:/-#'\"()[]{}%$\\\t\n\x00\x1b\u202e\u200b\u0301éßğİ音楽ピア음악музы\U0001f3b9\U0001fae8\ud7ff"  # noqa: RUF001  other scripts are meant


def prompts(count: int, seed: int) -> list[str]:
    """Return prompts of known words, random letters and pieces of hostile texts."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        parts = []
        for _ in range(chance.randint(1, 30)):
            kind = chance.random()
            if kind < 0.7:
                parts.append(chance.choice(WORDS))
            elif kind < 0.85:
                parts.append("".join(chance.choice(LETTERS) for _ in range(chance.randint(1, 12))))
            elif kind < 0.95:
                parts.append(str(chance.choice([0, 1, 7, 99, 120, 400, 10**9, -3, 0.5])))
            else:
                text = chance.choice(HOSTILE)
                start = chance.randrange(len(text))
                parts.append(text[start : start + 40])
        found.append(chance.choice([" ", "", ", "]).join(parts)[:1000])
    return found


def answer(prompt: str) -> str:
    try:
        plan = Planner(Brief(prompt=prompt)).plan()
    except errors.InvalidRequest as error:
        assert error.violations or error.metadata  # noqa: PT017  a plan is allowed too
        return error.reason
    assert_valid(plan)
    return "a plan"


def test_some_random_prompts_are_answered() -> None:
    answers = Counter(answer(prompt) for prompt in prompts(150, seed=1))
    assert answers["a plan"] > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_random_prompts_are_answered() -> None:
    slowest = 0.0
    answers: Counter[str] = Counter()
    for prompt in prompts(10_000, seed=2):
        begun = time.process_time()
        answers[answer(prompt)] += 1
        slowest = max(slowest, time.process_time() - begun)
    assert answers["a plan"] > 7_000
    # Far more than one prompt takes, and far less than a backtracking pattern would take.
    assert slowest < 5.0


def test_many_plans_leak_no_objects() -> None:
    some = prompts(40, seed=3)

    def objects_after_all() -> int:
        for prompt in some:
            with contextlib.suppress(errors.InvalidRequest):
                Planner(Brief(prompt=prompt)).plan()
        gc.collect()
        return len(gc.get_objects())

    objects_after_all()
    first = objects_after_all()
    assert objects_after_all() < first + 50
