"""Joins of real sections of the sketch band: first the click check is tested, then it tests the joins."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import pytest
from tests.mixer.mixer_server import RATE, Part, mix_requests, mixed

from segue_audio.loudness import LoudnessMeter
from segue_mixer.mix.join_clicks import has_click
from segue_music.plan import Brief
from segue_planner.planner import Planner
from segue_renderer.sketch.band import SketchBand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mixer.mixer_server import Sound

    from segue.mixer.v1 import mixer_pb2, mixer_pb2_grpc
    from segue_music.plan import SectionSpec

    Stub = mixer_pb2_grpc.MixerServiceAsyncStub
    Mono = np.ndarray

PROMPTS: Final = (
    "rainy lo-fi, 82 bpm, F minor",
    "driving house, 124 bpm",
    "calm piano",
    "rock anthem",
    "jazz trio waltz 3/4",
    "ambient drift, no drums",
    "orchestral film score",
    "techno",
)
CLICK: Final = 0.01
"""-40 dBFS."""
KINDS: Final = ("one sample", "a step that settles", "there and back")
SECOND: Final = RATE


@dataclass(frozen=True)
class Take:
    """A section as the sketch band plays it."""

    spec: SectionSpec
    sound: Sound
    declared_lufs: float

    @property
    def target_lufs(self) -> float:
        assert self.spec.target_lufs is not None
        return self.spec.target_lufs


@lru_cache(maxsize=1)
def takes(num_pieces: int) -> list[Take]:
    """Up to four sections of each of some pieces."""
    found = []
    for seed in range(num_pieces):
        plan = Planner(
            Brief(prompt=PROMPTS[seed % len(PROMPTS)], seed=seed, duration_ns=(50 if num_pieces > 4 else 24) * 10**9)
        ).plan()
        for item in plan.sections[:4]:
            band = SketchBand(item.spec, seed)
            sound = np.concatenate([np.sum(list(stems.values()), axis=0) for _, stems in band.blocks()])
            found.append(Take(item.spec, np.asarray(sound, np.float32), band.declared_lufs()))
    return found


def places(num_pieces: int) -> Iterator[Mono]:
    """Two seconds, mono, around the ends of sections and around random positions, at the level of a mix."""
    rng = np.random.default_rng(3)
    for take in takes(num_pieces):
        level = 10 ** ((take.target_lufs - take.declared_lufs) / 20)
        mono = take.sound.mean(axis=1).astype(np.float64) * level
        for place in (take.spec.frames, *rng.integers(SECOND, len(mono) - SECOND, 30)):
            if SECOND <= place <= len(mono) - SECOND:
                yield mono[place - SECOND : place + SECOND]


def planted(mono: Mono, kind: str, sign: float) -> Mono:
    """The same with a click in the middle."""
    sound, height = mono.copy(), sign * CLICK
    if kind == KINDS[0]:
        sound[SECOND] += height
    elif kind == KINDS[1]:
        sound[SECOND:] += height * np.exp(-np.arange(SECOND) / (0.01 * RATE))
    else:
        sound[SECOND - 1] += height
        sound[SECOND] -= height
    return sound


def rises_db(mono: Mono, clicked: Mono) -> float:
    """Return how far a click rises above the music within 4 ms, in the third of an octave where it rises most.

    At that distance the ear hears only the louder one.
    """
    half, edges = 64, 1000 * 2 ** (np.arange(13) / 3)
    hz = np.fft.rfftfreq(2 * half, 1 / RATE)
    thirds = [(hz >= low) & (hz < high) for low, high in pairwise(edges)]

    def bands(sound: Mono, middle: int) -> Mono:
        power = np.abs(np.fft.rfft(sound[middle - half : middle + half] * np.hanning(2 * half))) ** 2
        return np.array([power[third].sum() for third in thirds]) + 1e-20

    around = np.max([bands(mono, SECOND + shift) for shift in range(-3 * half, 4 * half, half)], axis=0)
    return float((10 * np.log10(bands(clicked - mono, SECOND) / around)).max())


def judged(mono: Mono) -> bool:
    return has_click(mono[:SECOND], mono[SECOND:])


@pytest.mark.parametrize(
    ("num_pieces", "least"), [(4, 0.97), pytest.param(24, 0.99, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_the_check_finds_clicks_of_40_db_and_gives_no_false_alarm(num_pieces: int, least: float) -> None:
    """Only clicks that the music does not mask count: no ear and no check can find the others."""
    false_alarms, found, num_places = 0, [], 0
    for number, mono in enumerate(places(num_pieces)):
        num_places += 1
        false_alarms += judged(mono)
        for kind in KINDS:
            clicked = planted(mono, kind, 1.0 if number % 2 else -1.0)
            if rises_db(mono, clicked) > 6:
                found.append(judged(clicked))
    # Of a few places, two may be chance.
    assert false_alarms <= max(2, num_places // 100)
    # The test needs many that count.
    assert len(found) > num_places / 2
    assert np.mean(found) >= least, (false_alarms, num_places, len(found))


def loudness(sound: Sound) -> float:
    meter = LoudnessMeter(RATE, 2, with_peaks=False)
    meter.push(sound)
    return 10 * float(np.log10(max(meter.hop_powers().mean(), 1e-12)))


async def join_of(stub: Stub, one: Take, other: Take, *, hard: bool) -> tuple[mixer_pb2.SectionMixed, Sound, float]:
    parts = [
        Part(
            name,
            take.sound[: take.spec.frames],
            take.sound[take.spec.frames :],
            hard=hard,
            ending=False,
            start={"sample_locked": True, "declared_lufs": take.declared_lufs, "target_lufs": take.target_lufs},
        )
        for name, take in (("one", one), ("other", other))
    ]
    draft = await mixed(stub, mix_requests(parts))
    gains = [10 ** (report.gain_db / 20) for report in draft.mixed]
    border = one.spec.frames
    # The levels of the takes on their own, without overlap.
    alone = loudness(other.sound[:SECOND] * np.float32(gains[1])) - loudness(
        one.sound[border - SECOND : border] * np.float32(gains[0])
    )
    return draft.mixed[1], draft.sound()[border - SECOND : border + SECOND], alone


@pytest.mark.parametrize(
    ("num_pieces", "num_pairs"), [(4, 12), pytest.param(24, 300, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_no_join_of_random_sections_clicks_or_jumps(stub: Stub, num_pieces: int, num_pairs: int) -> None:
    rng = np.random.default_rng(5)
    sections = [take for take in takes(num_pieces) if take.spec.frames > 2 * SECOND]
    for number in range(num_pairs):
        one, other = (sections[index] for index in rng.integers(0, len(sections), 2))
        report, around, alone = await join_of(stub, one, other, hard=bool(number % 2))
        join = report.join
        assert not join.click
        assert 0.0 < join.score <= 1.0
        # The music itself may change its level; the join must not add a hole or a bump.
        measured = loudness(around[SECOND:]) - loudness(around[:SECOND])
        assert join.level_jump_lu == pytest.approx(measured, abs=1.0)
        louder_tail = loudness(one.sound[one.spec.frames :][:SECOND]) - loudness(other.sound[:SECOND])
        if louder_tail < -10:
            assert measured == pytest.approx(alone, abs=1.0)
        # Each section as a whole has the level that was planned for it.
        assert report.loudness.integrated_lufs == pytest.approx(other.target_lufs, abs=1.0) or report.warnings
