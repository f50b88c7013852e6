"""The engine's policy: patterns, windows and the line for slots, without torch."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segue_renderer.musicgen.policy.delay_pattern import FREE, DelayPattern
from segue_renderer.musicgen.policy.windows import plan_windows
from segue_renderer.scheduler import Scheduler, Ticket, bucket_of

DELAYS = st.lists(st.integers(0, 4), min_size=1, max_size=8).map(lambda found: tuple(d - min(found) for d in found))


@given(delays=DELAYS, prompt=st.integers(0, 20), new=st.integers(1, 20))
def test_a_delay_pattern_reads_back_its_layout(delays: tuple[int, ...], prompt: int, new: int) -> None:
    pattern = DelayPattern(delays, pad=99)
    codes = np.arange(len(delays) * prompt).reshape(len(delays), prompt)
    laid = pattern.layout(codes, prompt + new)
    assert (pattern.read(laid, 0, prompt) == codes).all()
    assert (laid == FREE).sum() == len(delays) * new
    known = pattern.known_columns(prompt)
    assert not (laid[:, :known] == FREE).any()
    assert (laid[:, known] == FREE).any()
    assert pattern.complete_frames(laid.shape[1]) == prompt + new
    assert (laid[:, 0] == 99).all()


@given(frames=st.integers(1, 100_000), window=st.integers(2, 2000), draw=st.data())
def test_windows_cover_a_section_once(frames: int, window: int, draw: st.DataObject) -> None:
    stride = draw.draw(st.integers(1, window))
    context = draw.draw(st.integers(0, window - 1))
    windows = plan_windows(frames, context, window=window, stride=stride)
    assert sum(one.new_frames for one in windows) == frames
    assert all(one.new_frames > 0 and one.frames <= window for one in windows)
    heard = context
    for one in windows:
        assert one.prompt_frames <= heard, "no audio is used before it exists"
        heard += one.new_frames
    assert windows[0].prompt_frames == context


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 100)),
        st.tuples(st.just("admit"), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=200)
@given(num_slots=st.integers(1, 9), actions=ACTIONS)
def test_slots_are_dense_fair_and_never_shared(num_slots: int, actions: list[tuple[str, int]]) -> None:
    scheduler = Scheduler(num_slots, max_overtaken=5)
    alive: list[Ticket] = []
    for name, value in actions:
        if name == "submit":
            alive.append(Ticket(f"owner{value}"))
            scheduler.submit(alive[-1])
        elif name == "leave" and alive:
            ticket = alive.pop(value % len(alive))
            before = dict(scheduler.running)
            move = scheduler.leave(ticket)
            if move is not None:
                assert before[move.source] is move.ticket
                assert before[move.target] is ticket
        elif name == "admit":
            waiting, running = list(scheduler.waiting), len(scheduler.running)
            admitted = scheduler.admit()
            assert (admitted is not None) == (bool(waiting) and running < num_slots)
            assert all(other.overtaken <= 5 + num_slots for other in scheduler.waiting)
        assert {t for t in alive if t.slot is not None} == set(scheduler.running.values())
        assert all(slot == ticket.slot for slot, ticket in scheduler.running.items())
        count = len(scheduler.running)
        assert scheduler.bucket == bucket_of(count, num_slots), "the batch is as small as it can be"


def test_an_owner_with_many_requests_does_not_keep_others_waiting() -> None:
    scheduler = Scheduler(2)
    for _ in range(10):
        scheduler.submit(Ticket("greedy"))
    first = scheduler.admit(), scheduler.admit()
    late = Ticket("modest")
    scheduler.submit(late)
    assert first[0] is not None
    scheduler.leave(first[0])
    assert scheduler.admit() is late


@settings(max_examples=50)
@given(others=st.integers(1, 4), slots=st.integers(1, 4))
def test_waiting_is_bounded_whatever_the_others_send(others: int, slots: int) -> None:
    scheduler = Scheduler(slots, max_overtaken=8)
    mine = [Ticket("mine") for _ in range(3)]
    for ticket in mine:
        scheduler.submit(ticket)
    admissions = 0
    while any(ticket in scheduler.waiting for ticket in mine):
        for owner in range(others):
            scheduler.submit(Ticket(f"other{owner}"))
        while scheduler.admit() is not None:
            admissions += 1
        for ticket in list(scheduler.running.values()):
            scheduler.leave(ticket)
        assert admissions <= 3 + (8 + slots) * 3
