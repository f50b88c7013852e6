"""Continuous batching: what else is in the batch changes nothing; cancels, faults and fairness."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine import on_device
from tests.engine.on_device import load
from tests.engine.playing import GREEDY, play

from segue_renderer.musicgen.code_stream import CodeStream, WindowJob
from segue_renderer.musicgen.conditions import conditions_of
from segue_renderer.musicgen.engine import Engine
from segue_renderer.musicgen.model import sampling
from segue_renderer.musicgen.runner import BatchRunner, SamplingParams
from segue_runtime import errors, failpoints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.engine.conftest import Checkpoint

    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_renderer.musicgen.policy.delay_pattern import Codes

PROMPTS = ["rainy lo-fi, 82 bpm", "funk", "a calm intro of strings and piano", "dark techno, 130 bpm, C# minor"]
SAMPLED = SamplingParams(guidance=3.0, temperature=1.0, top_k=20, seed=11)


@pytest.fixture(scope="module")
def model(checkpoints: dict[str, Checkpoint]) -> LoadedModel:
    return load(checkpoints["mono"].folder)


@contextlib.asynccontextmanager
async def running(model: LoadedModel, slots: int, columns: int = 100) -> AsyncIterator[Engine]:
    engine = Engine(
        lambda: BatchRunner(model, slots=slots, columns=columns, text_positions=64), slots, on_device.device()
    )
    engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def job(
    model: LoadedModel, index: int, frames: int = 40, *, prompt: int = 0, seed: int = 0, owner: str = ""
) -> WindowJob:
    # Every third seed has a negative prompt: it must not change its neighbours, and must move with its slot.
    negative = "drums and guitars" if seed % 3 == 2 else ""
    conditions, _ = conditions_of(model, PROMPTS[index % len(PROMPTS)], 64, negative=negative)
    codes = np.random.default_rng(seed).integers(0, 64, (4, prompt))
    sampling = replace(SAMPLED, seed=seed, top_k=[20, 0, 5][seed % 3], top_p=[0.0, 0.9][seed % 2])
    return WindowJob(conditions, codes, frames, sampling, owner)


async def stopped_before_a_step() -> None:
    while not failpoints.paused("musicgen.step"):  # noqa: ASYNC110 - the other thread has no event of ours
        await asyncio.sleep(0.001)


async def codes_of(stream: CodeStream) -> Codes:
    return np.concatenate([codes async for codes in stream], axis=1)


def alone(model: LoadedModel, jobs: list[WindowJob], bucket: int) -> list[Codes]:
    """Play each job by itself, at the first slot of a padded batch."""
    found = []
    for one in jobs:
        runner = BatchRunner(model, slots=bucket, columns=100, text_positions=64)
        known = runner.pattern.known_columns(one.prompt.shape[1])
        total = one.prompt.shape[1] + one.new_frames
        runner.begin(0, runner.pattern.layout(one.prompt, total), known, one.conditions, one.sampling)
        for column in range(known, runner.pattern.num_columns(total)):
            runner.step(bucket, column)
        found.append(runner.frames(0, one.prompt.shape[1], one.new_frames))
    return found


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=7
)


async def together(model: LoadedModel, jobs: list[WindowJob], cancelled: set[int]) -> list[Codes | None]:
    """Play jobs that come at different times through an engine of four slots; some are cancelled."""
    async with running(model, slots=4) as engine:
        streams = []
        for index, one in enumerate(jobs):
            streams.append(engine.submit(one))
            if index in cancelled:
                streams[-1].cancel()
            await asyncio.sleep(0.002 * (index % 3))
        return [None if i in cancelled else await codes_of(stream) for i, stream in enumerate(streams)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=ARRIVALS, cancelled=st.sets(st.integers(0, 6), max_size=3))
def test_batched_jobs_equal_the_same_jobs_alone(
    model: LoadedModel, arrivals: list[tuple[int, int, int, int]], cancelled: set[int]
) -> None:
    jobs = [job(model, index, frames, prompt=prompt, seed=seed) for index, frames, prompt, seed in arrivals]
    got = asyncio.run(together(model, jobs, cancelled))
    kept = [(one, codes) for one, codes in zip(jobs, got, strict=True) if codes is not None]
    for (one, codes), expected in zip(kept, alone(model, [one for one, _ in kept], 4), strict=True):
        assert codes.shape == (4, one.new_frames)
        assert (codes == expected).all(), "other requests changed this one"


def test_neighbours_change_no_bit_within_one_batch_size(model: LoadedModel) -> None:
    alone_in_four = play(model, PROMPTS[:1], 40, sampling=SAMPLED, bucket=4)[0]
    among_four = play(model, PROMPTS, 40, sampling=SAMPLED)[0]
    assert all(torch.equal(a, b) for a, b in zip(alone_in_four.logits, among_four.logits, strict=True))
    assert (alone_in_four.codes == among_four.codes).all()


def test_logits_agree_across_batch_sizes(model: LoadedModel) -> None:
    (single,) = play(model, PROMPTS[:1], 60)
    for bucket in (2, 4, 8):
        padded = play(model, PROMPTS[:1], 60, bucket=bucket)[0]
        worst = max(float((a - b).abs().max()) for a, b in zip(single.logits, padded.logits, strict=True))
        assert worst <= 1e-5
        assert (single.codes == padded.codes).all()


HAIR = 1e-4
"""Sums of other order may choose another token where a choice between two is nearer than this."""


def margins_of(logits: torch.Tensor, column: int, settings: sampling.SlotSampling) -> torch.Tensor:
    """Return for each codebook how far the nearest of its choices was: the best against the next, and both cuts."""
    scores, _ = sampling.scored(logits, torch.tensor([column]), settings)
    best = scores[0].topk(2).values
    nearest = best[:, 0] - best[:, 1]
    top_k, top_p = int(settings.top_k), float(settings.top_p)
    ranked = logits[0].sort(descending=True).values / settings.temperature
    if 0 < top_k < ranked.shape[1]:
        nearest = nearest.minimum(ranked[:, top_k - 1] - ranked[:, top_k])
        ranked = ranked[:, :top_k]
    if top_p < 1:
        shares = ranked.softmax(-1)
        nearest = nearest.minimum((shares.cumsum(-1) - shares - top_p).abs().min(-1).values)
    return nearest


def with_margins(model: LoadedModel, one: WindowJob) -> tuple[Codes, torch.Tensor]:
    """Play a job in a batch of one; return its codes, and how far each was from being another."""
    runner = BatchRunner(model, slots=1, columns=100, text_positions=64)
    row = sampling.SlotSampling.make(1, torch.device("cpu"))
    row.put(0, **{name: getattr(one.sampling, name) for name in ("guidance", "temperature", "top_k", "top_p", "seed")})
    prompt = one.prompt.shape[1]
    laid = runner.pattern.layout(one.prompt, prompt + one.new_frames)
    known = runner.pattern.known_columns(prompt)
    runner.begin(0, laid, known, one.conditions, one.sampling)
    margins = torch.full(laid.shape, torch.inf)
    for column in range(known, laid.shape[1]):
        runner.step(1, column)
        margins[:, column] = margins_of(runner.last_logits, column, row)
    delays = runner.pattern.delays
    codes = runner.frames(0, prompt, one.new_frames)
    return codes, torch.stack([margins[k, 1 + prompt + d :][: one.new_frames] for k, d in enumerate(delays)])


def test_tokens_differ_across_batch_sizes_only_at_near_ties(
    model: LoadedModel, record_property: Callable[[str, object], None]
) -> None:
    counts = {"tokens": 0, "differing": 0}

    @settings(max_examples=12, deadline=None)
    @given(arrivals=ARRIVALS, cancelled=st.sets(st.integers(0, 6), max_size=3))
    def run(arrivals: list[tuple[int, int, int, int]], cancelled: set[int]) -> None:
        jobs = [job(model, index, frames, prompt=prompt, seed=seed) for index, frames, prompt, seed in arrivals]
        for one, codes in zip(jobs, asyncio.run(together(model, jobs, cancelled)), strict=True):
            if codes is None:
                continue
            expected, margins = with_margins(model, one)
            differing = codes != expected
            counts["tokens"] += codes.size
            if differing.any():
                # Later codes follow a different past; the first different code must have been a near tie.
                book, frame = min(zip(*differing.nonzero(), strict=True), key=lambda at: (at[1] + at[0], at[0]))
                assert margins[book, frame] < HAIR
                counts["differing"] += int(differing.sum())

    run()
    record_property("tokens that differ across batch sizes", f"{counts['differing']} of {counts['tokens']}")
    print(f"{counts['differing']} of {counts['tokens']} tokens differ across batch sizes")  # noqa: T201 - for -s
    assert counts["tokens"] > 0


def test_a_seed_repeats_its_music_and_another_seed_differs(model: LoadedModel) -> None:
    one, two, three = (
        play(model, PROMPTS[:1], 40, sampling=replace(SAMPLED, seed=seed))[0].codes for seed in (1, 1, 2)
    )
    assert (one == two).all()
    assert (one != three).mean() > 0.5


async def test_a_cancelled_request_leaves_within_one_step(model: LoadedModel) -> None:
    async with running(model, slots=1, columns=1600) as engine:
        stream = engine.submit(job(model, 0, frames=1500))
        async for _ in stream:
            break

        def steps() -> int:
            return engine.counts.steps

        stream.cancel()
        # The command before this one in the line was the cancel: at most the step that was under way is counted.
        after = await engine.call(steps)
        await engine.call(lambda: None)
        assert (engine.busy_slots, engine.counts.steps - after) == (0, 0)
        assert len((await codes_of(engine.submit(job(model, 1, frames=5))))[0]) == 5


async def test_out_of_memory_in_a_step_ends_only_the_newest_job(model: LoadedModel) -> None:
    expected = alone(model, [job(model, 0, 60, seed=3)], 4)[0]
    async with running(model, slots=4) as engine:
        failpoints.arm("musicgen.step=pause*9")
        old = engine.submit(job(model, 0, 60, seed=3))
        await stopped_before_a_step()
        new = engine.submit(job(model, 1, 60))
        failpoints.arm("musicgen.step_memory=error*3")
        with pytest.raises(errors.OutOfMemory):
            await codes_of(new)
        failpoints.arm("")
        with contextlib.suppress(errors.OutOfMemory):
            assert (await codes_of(old) == expected).all()
        assert (await codes_of(engine.submit(job(model, 0, 60, seed=3))) == expected).all()


async def test_no_memory_to_join_leaves_other_jobs_alone(model: LoadedModel) -> None:
    async with running(model, slots=4) as engine:
        first = engine.submit(job(model, 0, 90, seed=3))
        async for _ in first:
            break
        failpoints.arm("musicgen.join_memory=error")
        with pytest.raises(errors.OutOfMemory):
            await codes_of(engine.submit(job(model, 1)))
        failpoints.arm("")
        assert (await codes_of(first)).shape[1] == 80


async def test_a_lost_device_ends_running_jobs_and_serves_waiting_ones(model: LoadedModel) -> None:
    async with running(model, slots=1) as engine:
        failpoints.arm("musicgen.step=pause*5")
        first, second = (engine.submit(job(model, 0, 60, seed=3)) for _ in range(2))
        await stopped_before_a_step()
        failpoints.arm("musicgen.step=error")
        with pytest.raises(errors.DeviceLost):
            await codes_of(first)
        failpoints.arm("")
        with contextlib.suppress(errors.DeviceLost):
            await codes_of(second)
        again = await codes_of(engine.submit(job(model, 0, 60, seed=3)))
        assert (again == alone(model, [job(model, 0, 60, seed=3)], 1)[0]).all()


async def test_nan_ends_only_its_own_job(model: LoadedModel) -> None:
    bad = job(model, 0)
    assert bad.conditions.text is not None
    bad = replace(bad, conditions=replace(bad.conditions, text=torch.full_like(bad.conditions.text, torch.nan)))
    async with running(model, slots=2) as engine:
        good_stream, bad_stream = engine.submit(job(model, 1, 60, seed=4)), engine.submit(bad)
        with pytest.raises(errors.RenderInvalid, match="not numbers"):
            await codes_of(bad_stream)
        assert (await codes_of(good_stream) == alone(model, [job(model, 1, 60, seed=4)], 2)[0]).all()
        # The slot that was poisoned is clean for the next.
        good, other = engine.submit(job(model, 1, 60, seed=4)), engine.submit(job(model, 0, 60, seed=5))
        assert (await codes_of(good)).shape == (await codes_of(other)).shape == (4, 60)


async def test_waiting_callers_receive_shutting_down_when_the_engine_stops(model: LoadedModel) -> None:
    async with running(model, slots=1, columns=1600) as engine:
        streams = [engine.submit(job(model, 0, 1500)) for _ in range(2)]
    for stream in streams:
        with pytest.raises(errors.ShuttingDown):
            await codes_of(stream)
    with pytest.raises(errors.ShuttingDown):
        engine.submit(job(model, 0))
    with pytest.raises(errors.ShuttingDown):
        await engine.call(lambda: None)


@pytest.mark.parametrize(
    "change",
    [{"top_k": 0}, {"top_k": 1}, {"top_p": 1e-9}, {"guidance": 0.0}, {"guidance": 1.0}, {"temperature": 4.0}],
)
def test_every_sampling_setting_works(model: LoadedModel, change: dict[str, float]) -> None:
    codes = play(model, PROMPTS[:2], 30, sampling=replace(SAMPLED, **change))[0].codes  # type: ignore[arg-type]  # one of several fields
    assert codes.min() >= 0
    assert codes.max() < 64
    if change in ({"top_k": 1}, {"top_p": 1e-9}):
        assert (codes == play(model, PROMPTS[:2], 30, sampling=GREEDY)[0].codes).all()


def test_guidance_one_uses_the_prompt_alone_and_zero_ignores_it(model: LoadedModel) -> None:
    one, two = (play(model, [prompt], 30, sampling=replace(SAMPLED, guidance=0.0))[0].codes for prompt in PROMPTS[:2])
    assert (one == two).all()
    one, two = (play(model, [prompt], 30, sampling=replace(SAMPLED, guidance=1.0))[0].codes for prompt in PROMPTS[:2])
    assert (one != two).any()


def test_draws_follow_the_probabilities() -> None:
    weights = torch.tensor([0.5, 0.25, 0.15, 0.1])
    row = sampling.SlotSampling.make(1, torch.device("cpu"))
    row.put(0, guidance=1, temperature=1, top_k=0, top_p=0, seed=9)
    counts = torch.zeros(4)
    for column in range(1500):
        chosen = sampling.choose(weights.log().expand(1, 4, 4), torch.tensor([column]), row)
        counts += torch.bincount(chosen.flatten(), minlength=4)
    assert (counts / counts.sum() - weights).abs().max() < 0.02


async def test_an_error_in_the_engine_reaches_every_caller(model: LoadedModel) -> None:
    async with running(model, slots=1) as engine:
        with pytest.raises(errors.InternalError):
            await codes_of(engine.submit(replace(job(model, 0), owner=["not", "a", "name"])))  # type: ignore[arg-type]  # on purpose
        with pytest.raises(errors.InternalError):
            await engine.call(lambda: None)
