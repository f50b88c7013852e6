"""Sections that are not sample-locked move until their measured beats meet; the length stays as planned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.mixer.mixer_server import RATE, Part, band, mix_requests, mixed, with_mixer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mixer.mixer_server import Draft, Sound

    from segue.mixer.v1 import mixer_pb2_grpc

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub

BEAT = 24_000
FRAMES = 8 * BEAT
BAR = 4 * BEAT
LATE = 4_800
"""A tenth of a second."""


def played(offset: float, beat: float, frames: int, side: int, bar_offset: int = 0) -> tuple[Sound, list[int]]:
    """Strokes on the beats in one channel, over noise in both; returns the beats too."""
    rng = np.random.default_rng(side)
    # Dark noise: white noise is almost a click by itself.
    noise = np.cumsum(rng.normal(size=(frames + 64, 2)), axis=0)
    sound = np.asarray((noise[64:] - noise[:-64]) * 1e-4, np.float32)
    beats = [round(offset + number * beat) for number in range(int((frames - 600 - offset) / beat) + 1)]
    stroke = np.exp(-np.arange(600) / 60).astype(np.float32)
    for number, place in enumerate(beats):
        sound[place : place + 600, side] += stroke * (0.5 if (number - bar_offset) % 4 == 0 else 0.3)
    return sound, beats


def taken(
    name: str, offset: float, *, beat: float = BEAT, side: int = 0, tail: int = BEAT, last: bool = False, **more: Any
) -> Part:
    sound, beats = played(offset, beat, FRAMES + tail, side)
    start = {"beats": beats, "tail_frames": tail, **more}
    return Part(name, sound[:FRAMES], sound[FRAMES:], start=start, ending=not last)


def strokes(sound: Sound, side: int) -> list[int]:
    """Return the first frame of each stroke."""
    steps = np.abs(np.diff(sound[:, side], prepend=np.float32(0)))
    found: list[int] = []
    for place in np.flatnonzero(steps > 0.03):
        if not found or place - found[-1] > BEAT // 4:
            found.append(int(place))
    return found


def nearest(places: list[int], to: int) -> int:
    return min(places, key=lambda place: abs(place - to))


def longest_silence(sound: Sound) -> int:
    quiet = np.flatnonzero(np.abs(sound).max(axis=1) > 1e-7)
    return int(np.diff(quiet, prepend=-1, append=len(sound)).max())


def check(draft: Draft, parts: list[Part]) -> None:
    sound = draft.sound()
    assert len(sound) == FRAMES * len(parts) == draft.finished.frames
    assert longest_silence(sound) < 100


async def test_a_take_that_begins_late_is_joined_on_the_beat(stub: Stub) -> None:
    parts = [taken("a", 0), taken("b", LATE, side=1, last=True)]
    draft = await mixed(stub, mix_requests(parts))
    check(draft, parts)
    assert draft.mixed[1].shift_frames == -LATE
    # The fade is one beat long: the stroke on the join is the one before, the next is its own.
    assert [place - FRAMES for place in strokes(draft.sound(), 0)][-1] == pytest.approx(0, abs=2)
    assert [place - FRAMES for place in strokes(draft.sound(), 1)][:2] == pytest.approx([BEAT, 2 * BEAT], abs=2)
    assert draft.mixed[1].join.tempo_drift == pytest.approx(0.0, abs=1e-3)
    assert "moved by -4800 frames" in draft.mixed[1].join.note
    # Without measured beats it stays off the beat, and the report claims no drift.
    blind = await mixed(stub, mix_requests([parts[0], replace(parts[1], start={})]))
    assert nearest(strokes(blind.sound(), 1), FRAMES + BEAT) == pytest.approx(FRAMES + BEAT + LATE, abs=2)
    assert not blind.mixed[1].join.HasField("tempo_drift")


async def test_the_next_section_meets_beats_measured_at_the_end(stub: Stub) -> None:
    heard_at_once = taken("a", LATE)
    beats = heard_at_once.start["beats"]
    parts = [replace(heard_at_once, start={}, late_beats=beats), taken("b", 0, side=1, last=True)]
    draft = await mixed(stub, mix_requests(parts))
    assert [mixed.shift_frames for mixed in draft.mixed] == [0, LATE]
    assert draft.mixed[1].join.tempo_drift == pytest.approx(0.0, abs=1e-3)
    for wrong in ({"beats": beats}, {"sample_locked": True}):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mixed(stub, mix_requests([replace(parts[0], start=wrong), parts[1]]))
        assert "section_end.beats" in (caught.value.details() or "")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.tuples(st.integers(0, BEAT - 1), st.integers(0, BEAT - 1), st.integers(0, BEAT - 1)),
    tempos=st.tuples(st.floats(0.96, 1.04), st.floats(0.96, 1.04), st.floats(0.96, 1.04)),
    sizes=st.lists(st.integers(1, 9000), max_size=5),
)
@example(offsets=(0, LATE, BEAT - LATE), tempos=(1.0, 1.0, 1.0), sizes=[])
@example(offsets=(0, 0, 0), tempos=(0.96875, 1.03125, 1.0), sizes=[])
@example(offsets=(5446, 1521, 11902), tempos=(0.96875, 1.03125, 1.0), sizes=[])
def test_beats_meet_at_every_join_wherever_they_were(
    tmp_path: Path, offsets: tuple[int, ...], tempos: tuple[float, ...], sizes: list[int]
) -> None:
    parts = [
        taken(f"s{index}", offset, beat=BEAT * tempo, side=index % 2, tail=2 * BEAT, last=index == 2)
        for index, (offset, tempo) in enumerate(zip(offsets, tempos, strict=True))
    ]

    async def work(stub: Stub) -> None:
        draft = await mixed(stub, mix_requests(parts))
        check(draft, parts)
        cut = await mixed(stub, mix_requests(parts, sizes))
        assert np.array_equal(draft.sound(), cut.sound())
        rest = await mixed(stub, mix_requests(parts, resume_after="s0", checkpoint=draft.checkpoints["s0"]))
        assert np.array_equal(draft.sound()[FRAMES:], rest.sound())
        for index in (1, 2):
            report = draft.mixed[index]
            assert abs(report.shift_frames) < BEAT * 1.05
            assert abs(report.join.tempo_drift) < 0.01
            # The beats of each part, with the reported shift.
            earlier, later = (
                [beat + FRAMES * each + draft.mixed[each].shift_frames for beat in parts[each].start["beats"]]
                for each in (index - 1, index)
            )
            # A take that is moved may begin, or end, within a beat: its beats continue there.
            later.insert(0, later[0] - round(BEAT * tempos[index]))
            earlier += [earlier[-1] + round(BEAT * tempos[index - 1] * more) for more in (1, 2)]
            # They meet at the first beat of the earlier section; a beat just before the join counts as on it.
            edge = FRAMES * index - 0.05 * BEAT * tempos[index - 1]
            first, second = [beat for beat in earlier if beat > edge - 2][:2]
            # At the very edge, rounding decides between two beats.
            meant = [first, second] if first < edge + 2 else [first]
            assert any(abs(beat - nearest(later, beat)) < 0.02 * BEAT for beat in meant)
            heard = strokes(draft.sound(), index % 2)
            assert any(abs(place - second) <= 2 for second in later[2:5] for place in heard)

    with_mixer(tmp_path, work)


async def test_a_sample_locked_section_stays_where_it_is_planned(stub: Stub) -> None:
    parts = [taken("a", 0), taken("b", LATE, side=1, sample_locked=True)]
    draft = await mixed(stub, mix_requests(parts))
    assert draft.mixed[1].shift_frames == 0
    assert strokes(draft.sound(), 1)[0] == pytest.approx(FRAMES + LATE, abs=2)
    assert draft.mixed[1].join.tempo_drift == pytest.approx(LATE / BEAT, abs=1e-3)


async def test_without_audio_to_move_by_a_section_stays_and_the_note_says_so(stub: Stub) -> None:
    parts = [taken("a", 0, tail=0), taken("b", LATE + 500, side=1, tail=0)]
    draft = await mixed(stub, mix_requests(parts))
    check(draft, parts)
    assert draft.mixed[1].shift_frames == 0
    assert draft.mixed[1].join.tempo_drift == pytest.approx((LATE + 500) / BEAT, abs=1e-3)
    assert "too little audio to move it" in draft.mixed[1].join.note
    better = await mixed(stub, mix_requests([parts[0], taken("b", 500, side=1, tail=0)]))
    assert better.mixed[1].join.score > draft.mixed[1].join.score > 0


@pytest.mark.parametrize("beat", [BEAT * 0.8, BEAT * 1.3])
async def test_beats_of_another_tempo_move_nothing(stub: Stub, beat: float) -> None:
    draft = await mixed(stub, mix_requests([taken("a", 0), taken("b", LATE, beat=beat, side=1)]))
    assert draft.mixed[1].shift_frames == 0
    assert "another tempo" in draft.mixed[1].join.note


@pytest.mark.parametrize("octave", [0.5, 2])
async def test_beats_at_half_or_double_speed_are_accepted(stub: Stub, octave: float) -> None:
    parts = [taken("a", 0), taken("b", LATE, beat=BEAT * octave, side=1, tail=2 * BEAT)]
    draft = await mixed(stub, mix_requests(parts))
    assert draft.mixed[1].shift_frames == pytest.approx(-LATE, abs=2)


async def test_bars_meet_where_there_is_enough_audio_and_otherwise_beats(stub: Stub) -> None:
    downbeats = [LATE + BEAT, LATE + BEAT + BAR]
    rich = taken("b", LATE, side=1, tail=2 * BEAT, downbeats=downbeats)
    poor = taken("b", LATE, side=1, tail=BEAT, downbeats=downbeats)
    shifts = [(await mixed(stub, mix_requests([taken("a", 0), part]))).mixed[1] for part in (rich, poor)]
    assert [report.shift_frames for report in shifts] == [-LATE - BEAT, -LATE]
    assert "bars" in shifts[0].join.note


async def test_continuous_audio_moves_with_the_section_before_it(stub: Stub) -> None:
    whole = band(2 * FRAMES / RATE + 1, 5)[3_000:][: 2 * FRAMES]
    # A tenth of a second early, so that it moves later: that needs no tail.
    beats = [BEAT - LATE + number * BEAT for number in range(7)]
    parts = [
        taken("a", 0),
        Part("b", whole[:FRAMES], start={"beats": beats}),
        Part("c", whole[FRAMES:], start={"continuous": True}, ending=False),
    ]
    draft = await mixed(stub, mix_requests(parts))
    check(draft, parts)
    assert [report.shift_frames for report in draft.mixed] == [0, LATE, LATE]
    seam = 2 * FRAMES
    around = slice(seam - 2 * BEAT, seam + 2 * BEAT)
    assert np.array_equal(draft.sound()[around], whole[FRAMES - 2 * BEAT - LATE : FRAMES + 2 * BEAT - LATE])
    assert not draft.mixed[2].join.click


async def test_a_kept_shift_keeps_every_bit_after_an_edit(stub: Stub) -> None:
    parts = [taken("a", 0), taken("b", LATE, side=1), taken("c", 2 * LATE), taken("d", 500, side=1, last=True)]
    before = await mixed(stub, mix_requests(parts))
    shifts = {report.section_id: report.shift_frames for report in before.mixed}
    edited = [
        parts[0],
        taken("b", 3 * LATE, beat=BEAT * 1.03, side=1),
        *(replace(part, start={**part.start, "shift_frames": shifts[part.section_id]}) for part in parts[2:]),
    ]
    after = await mixed(stub, mix_requests(edited))
    assert np.array_equal(before.sound()[:FRAMES], after.sound()[:FRAMES])
    kept = 2 * FRAMES + 2 * BEAT
    assert np.array_equal(before.sound()[kept:], after.sound()[kept:])
    assert abs(after.mixed[2].join.tempo_drift) > 0.01
    # Without it the later sections move too.
    moved = await mixed(stub, mix_requests([*edited[:2], *parts[2:]]))
    assert not np.array_equal(moved.sound()[kept:], before.sound()[kept:])


async def test_stems_move_with_the_mix(stub: Stub) -> None:
    parts = []
    for name, offset, side in (("a", 0, 0), ("b", LATE, 1)):
        part = taken(name, offset, side=side)
        halves = (part.sound * np.float32(0.5), part.tail * np.float32(0.5))
        parts.append(replace(part, stems={"one": halves, "two": halves}))
    draft = await mixed(stub, mix_requests(parts, 4800))
    assert draft.mixed[1].shift_frames == -LATE
    assert np.abs(draft.sound("one") + draft.sound("two") - draft.sound()).max() < 1e-6


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"beats": [100, 100]}, "beats[1]"),
        ({"beats": [-1, 5]}, "beats[0]"),
        ({"downbeats": [5, 4]}, "downbeats[1]"),
        ({"sample_locked": True, "shift_frames": 4}, "sample_locked"),
    ],
)
async def test_impossible_beats_are_refused(stub: Stub, start: dict[str, Any], says: str) -> None:
    parts = [taken("a", 0), replace(taken("b", 0), start=start)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mixed(stub, mix_requests(parts))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert says in (caught.value.details() or "")


async def test_an_announced_tail_must_arrive(stub: Stub) -> None:
    parts = [taken("a", 0), replace(taken("b", 0), start={"tail_frames": BEAT + 1})]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await mixed(stub, mix_requests(parts))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"{BEAT} frames beyond its end arrived" in (caught.value.details() or "")
