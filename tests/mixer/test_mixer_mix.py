"""The mix through a real channel: exact lengths, the same bytes for any chunks, and resuming after any section."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.mixer.mixer_server import RATE, Part, band, mix_requests, mixed, with_mixer

from segue.mixer.v1 import mixer_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

BEAT = 24_000
NO_SOUND = np.zeros((0, 2), np.float32)


def piece(num_sections: int = 3, seconds: float = 1.5, *, hard: tuple[int, ...] = (), last_tail: int = 0) -> list[Part]:
    frames = round(seconds * RATE)
    parts = []
    for index in range(num_sections):
        last = index == num_sections - 1
        tail = last_tail if last else BEAT
        whole = band((frames + tail) / RATE, seed=index + 1)
        parts.append(
            Part(
                f"s{index}",
                whole[:frames],
                whole[frames:],
                hard=index in hard,
                tail_frames=last_tail if last else 0,
            )
        )
    return parts


async def test_the_draft_is_as_long_as_planned_to_the_frame(stub: Stub) -> None:
    parts = piece(last_tail=12_345)
    draft = await mixed(stub, mix_requests(parts))
    assert len(draft.sound()) == 3 * 72_000 + 12_345 == draft.finished.frames
    assert [report.section_id for report in draft.mixed] == ["s0", "s1", "s2"]
    assert [report.HasField("join") for report in draft.mixed] == [False, True, True]
    assert not draft.finished.warnings


CUTS = st.lists(st.integers(1, 9000), min_size=1, max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=CUTS, hard=st.sets(st.integers(1, 2)), last_tail=st.sampled_from([0, 5000]))
def test_the_draft_does_not_depend_on_chunk_sizes(
    tmp_path: Path, sizes: list[int], hard: set[int], last_tail: int
) -> None:
    parts = piece(hard=tuple(hard), last_tail=last_tail)

    async def both(stub: Stub) -> None:
        whole = await mixed(stub, mix_requests(parts))
        cut = await mixed(stub, mix_requests(parts, sizes))
        assert np.array_equal(whole.sound(), cut.sound())
        assert whole.finished == cut.finished
        assert whole.mixed == cut.mixed
        assert whole.checkpoints == cut.checkpoints

    with_mixer(tmp_path, both)


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_other_rates_and_layouts_are_exact_for_any_chunk_sizes(stub: Stub, rate: int, channels: int) -> None:
    frames = round(72_000 * rate / RATE)
    parts = []
    for index in range(2):
        whole = band(2.0, index + 1, rate=rate, channels=channels)[: frames + frames // 3]
        tail = whole[frames:] if index == 0 else whole[:0]
        parts.append(Part(f"s{index}", whole[:frames], tail, frames=72_000, rate=rate))
    draft = await mixed(stub, mix_requests(parts))
    again = await mixed(stub, mix_requests(parts, [1, 501, 77]))
    assert draft.sound().shape == (144_000, 2)
    assert np.array_equal(draft.sound(), again.sound())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=st.integers(0, 2), continuous=st.sets(st.integers(1, 3)), hard=st.sets(st.integers(1, 3)))
def test_resuming_at_any_section_gives_the_same_bytes(
    tmp_path: Path, after: int, continuous: set[int], hard: set[int]
) -> None:
    levels = [{"declared_lufs": -14.0 - index, "target_lufs": -16.0} for index in range(4)]
    parts = [
        replace(part, start={**levels[index], "continuous": index in continuous})
        for index, part in enumerate(piece(4, 1.2, hard=tuple(hard)))
    ]

    async def both(stub: Stub) -> None:
        whole = await mixed(stub, mix_requests(parts))
        name = f"s{after}"
        rest = await mixed(stub, mix_requests(parts, resume_after=name, checkpoint=whole.checkpoints[name]))
        assert np.array_equal(whole.sound()[(after + 1) * len(parts[0].sound) :], rest.sound())
        assert list(whole.mixed)[after + 1 :] == list(rest.mixed)
        assert {key: whole.checkpoints[key] for key in rest.checkpoints} == rest.checkpoints
        assert whole.finished == rest.finished

    with_mixer(tmp_path, both)


async def test_the_draft_is_a_tenth_of_a_second_late_and_a_bar_at_the_end(stub: Stub) -> None:
    call, came = stub.Mix(), 0
    parts = piece(3, 3.0)
    for request in mix_requests(parts):
        await call.write(request)
        if request.WhichOneof("message") != "audio":
            continue
        section = int(request.audio.section_id[1:])
        behind = RATE // 10 if section < len(parts) - 1 else RATE // 10 + 4 * BEAT
        # Audio beyond a section's end waits for its end.
        reached = section * 3 * RATE + min(request.audio.first_frame + request.audio.frames, 3 * RATE)
        # Without the answer the next request is never sent, and the test ends by its time limit.
        while came <= reached - behind:
            response = await call.read()
            assert isinstance(response, mixer_pb2.MixResponse)
            if response.WhichOneof("message") == "audio":
                came = response.audio.first_frame + response.audio.frames
    await call.done_writing()
    while await call.read() != grpc.aio.EOF:
        pass


async def test_a_crossfade_of_different_audio_keeps_the_power(stub: Stub) -> None:
    rng = np.random.default_rng(5)
    noise = [np.asarray(rng.normal(size=(4 * RATE, 2)) * 0.1, np.float32) for _ in range(2)]
    parts = [
        Part("a", noise[0][: 2 * RATE], noise[0][2 * RATE :][: 2 * BEAT], beats=2),
        Part("b", noise[1][: 3 * RATE], beats=2),
    ]
    sound = (await mixed(stub, mix_requests(parts))).sound().astype(np.float64)
    windows = np.square(sound[:, 0]).reshape(-1, 4800).mean(axis=1)
    level_db = 10 * np.log10(windows[2:-2] / 0.01)
    assert np.abs(level_db).max() < 0.5


async def test_the_same_sound_on_both_sides_of_a_hard_continuous_join_is_untouched(stub: Stub) -> None:
    whole = band(3, 4)
    parts = [
        Part("a", whole[:70_000], whole[70_000:80_000]),
        Part("b", whole[70_000:], start={"continuous": True}),
    ]
    draft = await mixed(stub, mix_requests(parts))
    onset = 24  # half a millisecond of rise at the piece's first frame
    assert np.array_equal(draft.sound()[onset:], whole[onset:])
    join = draft.mixed[1].join
    assert join.frames == 0
    assert "continues" in join.note
    assert not join.click
    assert join.score > 0.8


async def test_gain_changes_without_a_step_where_audio_continues(stub: Stub) -> None:
    ones = np.full((2 * RATE, 2), 0.25, np.float32)
    parts = [
        Part("a", ones, start={"declared_lufs": -12.0, "target_lufs": -12.0}),
        Part("b", ones, start={"declared_lufs": -12.0, "target_lufs": -18.0, "continuous": True}),
    ]
    sound = (await mixed(stub, mix_requests(parts))).sound()
    steps = np.abs(np.diff(sound[100:-RATE, 0]))
    assert steps.max() < 1e-4
    assert sound[2 * RATE + 5000, 0] == pytest.approx(0.25 * 10 ** (-6 / 20), rel=1e-4)


@pytest.mark.parametrize("hard", [True, False])
async def test_a_section_without_a_tail_makes_no_click(stub: Stub, hard: bool) -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.asarray(0.5 * np.sin(2 * np.pi * 220.3 * time)[:, None].repeat(2, 1), np.float32)
    quiet = np.zeros((RATE, 2), np.float32)
    parts = [Part("a", tone[: RATE + 77]), Part("b", quiet, hard=hard)]
    draft = await mixed(stub, mix_requests(parts))
    bend = np.abs(np.diff(draft.sound()[RATE - 2000 :, 0], 2)).max()
    # The tone's own bend is 0.5 * (2 pi f / rate)^2; an edge would bend by its whole height.
    assert bend < 0.01
    if not hard:
        assert "no more audio" in draft.mixed[1].join.note
        assert draft.mixed[1].join.frames < BEAT


async def test_tails_ring_over_a_hard_join(stub: Stub) -> None:
    tail = band(0.5, 9)
    parts = [Part("a", band(1, 8), tail), Part("b", np.zeros((RATE, 2), np.float32), hard=True)]
    sound = (await mixed(stub, mix_requests(parts))).sound()
    assert np.array_equal(sound[RATE : RATE + len(tail)], tail)
    assert not sound[RATE + len(tail) :].any()


async def test_a_last_section_without_an_ending_is_faded_within_its_bar(stub: Stub) -> None:
    ones = np.full((3 * RATE, 2), 0.25, np.float32)
    draft = await mixed(stub, mix_requests([Part("a", ones, ending=False)], beat_frames=12_000.0))
    sound = draft.sound()[:, 0]
    assert np.array_equal(sound[100:-48_000], ones[100:-48_000, 0])
    assert abs(sound[-1]) < 1e-6
    assert np.all(np.diff(sound[-48_000:]) <= 0)
    assert [warning.code for warning in draft.mixed[0].warnings] == ["ending_faded"]


async def test_stems_have_the_same_joins_and_add_up_to_the_mix(stub: Stub) -> None:
    parts = []
    for index in range(3):
        low, high = band(2, 10 + index), band(2, 20 + index)
        tail = BEAT if index < 2 else 0
        split = slice(RATE, RATE + tail)
        stems = {"low": (low[:RATE], low[split]), "high": (high[:RATE], high[split])}
        parts.append(
            Part(
                f"s{index}",
                low[:RATE] + high[:RATE],
                low[split] + high[split],
                stems=stems,
                start={"declared_lufs": -15.0, "target_lufs": -15.0 + index},
            )
        )
    draft = await mixed(stub, mix_requests(parts, 4800))
    total = draft.sound("low").astype(np.float64) + draft.sound("high")
    assert np.abs(total - draft.sound()).max() < 1e-6


async def test_the_gain_is_the_difference_of_target_and_declared_level(stub: Stub) -> None:
    parts = [
        Part("a", band(1, 1), start={"declared_lufs": -20.0, "target_lufs": -16.5}),
        Part("b", band(1, 2), start={"declared_lufs": -40.0, "target_lufs": -14.0}),
        Part("c", band(1, 3)),
    ]
    draft = await mixed(stub, mix_requests(parts))
    assert [report.gain_db for report in draft.mixed] == [3.5, 12.0, 0.0]
    assert [[warning.code for warning in report.warnings] for report in draft.mixed] == [[], ["gain_limited"], []]
    assert [(warning.code, warning.section_id) for warning in draft.finished.warnings] == [("gain_limited", "b")]


async def test_the_report_names_a_click(stub: Stub) -> None:
    loud: Sound = np.full((RATE, 2), 0.5, np.float32)
    parts = [Part("a", loud), Part("b", -loud, start={"continuous": True})]
    draft = await mixed(stub, mix_requests(parts))
    assert draft.mixed[1].join.click
    assert draft.mixed[1].join.score == 0.0
