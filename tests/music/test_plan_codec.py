"""The dataclasses of segue_music against the contract: same fields, same enum numbers, lossless round trips."""

from __future__ import annotations

import dataclasses
import hashlib
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music import codec, elements, plan, theory, timing
from segue_planner.planner import Planner

PAIRS = [
    (word, getattr(renderer_pb2 if name == "ModelProfile" else music_pb2, name))
    for name, word in vars(plan).items()
    if dataclasses.is_dataclass(word) and isinstance(word, type)
]


@pytest.mark.parametrize(("word", "message"), PAIRS, ids=lambda side: side.__name__)
def test_every_field_of_the_contract_is_in_the_dataclass(word: type, message: type) -> None:
    wire = {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]  # a message class
    assert {field.name.removesuffix("_ns") for field in dataclasses.fields(word)} == wire


@pytest.mark.parametrize(
    "word", [item for item in vars(plan).values() if isinstance(item, type) and issubclass(item, IntEnum)]
)
def test_enum_numbers_equal_those_of_the_contract(word: type[IntEnum]) -> None:
    if word is IntEnum:
        return
    name = word.__name__.removesuffix("Kind") if word is plan.GuideKind else word.__name__
    kinds = {**music_pb2.DESCRIPTOR.enum_types_by_name, **renderer_pb2.DESCRIPTOR.enum_types_by_name}
    values = kinds[name].values
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in name)[1:]
    assert {(f"{prefix}_{item.name}", item.value) for item in word} == {(value.name, value.number) for value in values}


energies = st.lists(st.floats(0, 1), max_size=8).map(tuple)
specs = st.builds(
    plan.SectionSpec,
    section_id=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True),
    role=st.sampled_from(plan.Role),
    bars=st.integers(1, 2048),
    metre=st.none() | st.builds(elements.Metre, beats=st.integers(1, 16), unit=st.sampled_from([2, 4, 8])),
    energy=energies,
    layers=st.lists(
        st.builds(elements.Layer, kind=st.sampled_from(elements.LayerKind), level=st.none() | st.floats(0, 1)),
        max_size=6,
    ).map(tuple),
    prompt=st.text(max_size=40),
    target_lufs=st.none() | st.floats(-60, 0),
    loop=st.booleans(),
)
plans = st.builds(
    plan.Plan,
    quarters_per_minute=st.floats(20, 400),
    metre=st.just(elements.Metre(6, 8)),
    key=st.builds(elements.Key, tonic=st.sampled_from(["C", "F#", "Bb"]), mode=st.sampled_from(elements.Mode)),
    sections=st.lists(st.builds(plan.PlannedSection, spec=specs), min_size=1, max_size=3).map(tuple),
    seed=st.integers(0, 2**32 - 1),
)


@given(plans)
def test_a_plan_survives_protobuf_and_json(piece: plan.Plan) -> None:
    assert codec.plan_from_message(codec.plan_to_message(piece)) == piece
    assert codec.plan_from_json(codec.plan_to_json(piece)) == piece


@given(plans, st.text(max_size=10))
def test_the_digest_covers_the_music_only(piece: plan.Plan, text: str) -> None:
    annotated = dataclasses.replace(piece, version=9, warnings=(plan.Warning("a", text),))
    assert codec.plan_digest(annotated) == codec.plan_digest(piece)
    assert codec.plan_digest(dataclasses.replace(piece, seed=piece.seed ^ 1)) != codec.plan_digest(piece)


@given(st.integers(1, 64), st.integers(1, 16), st.sampled_from([2, 4, 8]), st.floats(20, 400))
def test_frames_of_bars_are_the_nearest_to_their_seconds(bars: int, beats: int, unit: int, tempo: float) -> None:
    metre = elements.Metre(beats, unit)
    frames = timing.section_frames(bars, metre, (elements.TempoPoint(0, tempo),), 48_000)
    exact = bars * beats * 4 / unit * 60 / tempo * 48_000
    assert abs(frames - exact) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("tonic", "mode", "place"),
    [
        ("C", elements.Mode.MAJOR, "8B"),
        ("A", elements.Mode.MINOR, "8A"),
        ("F#", elements.Mode.MINOR, "11A"),
        ("Bb", elements.Mode.MAJOR, "6B"),
        ("F", elements.Mode.MINOR, "4A"),
    ],
)
def test_camelot_positions(tonic: str, mode: elements.Mode, place: str) -> None:
    assert theory.camelot(elements.Key(tonic, mode)) == place


@given(plans)
def test_the_digest_equals_that_of_the_canonical_json(piece: plan.Plan) -> None:
    bare = dataclasses.replace(piece, version=0, digest="", readings=(), warnings=())
    content = codec.canonical_json(codec.plan_to_message(bare))
    assert codec.plan_digest(piece) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_complete_plans_equals_that_of_their_json() -> None:
    """Plans with every field: one from the planner, a loop, and one with unusual numbers."""
    briefs = (
        plan.Brief(
            prompt="pop, half-time chorus, key change, slows down", sampling=plan.SamplingHints(0.0, 0, 1.0, -0.0)
        ),
        plan.Brief(prompt="techno loop", duration_ns=7 * 10**9),
    )
    pieces = [Planner(brief).plan() for brief in briefs]
    first = pieces[0].sections[1]
    odd = dataclasses.replace(
        first.spec, previous=plan.Neighbour(energy=-0.0), energy=(0.0, -0.0, 1), target_lufs=0.0, frames=0, loop=True,
        layers=(elements.Layer(elements.LayerKind.BASS, (), 0.0),),
        motif=elements.Motif((elements.MotifNote(0, 1, -3, -1),), 10**12),
    )  # fmt: skip
    placed = dataclasses.replace(first, spec=odd, join=plan.Join(beats=0.0), waits_for=("a", "b"))
    pieces.append(dataclasses.replace(pieces[0], sections=(placed,), seed=0, quarters_per_minute=100))
    for piece in pieces:
        bare = dataclasses.replace(piece, version=0, digest="", readings=(), warnings=())
        content = codec.canonical_json(codec.plan_to_message(bare))
        assert codec.plan_digest(piece) == hashlib.sha256(content).hexdigest()
