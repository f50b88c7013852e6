"""Checks of what the profile promises about repeated renderings, and of the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from segue.renderer.v1 import renderer_pb2
from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckSkipped, require
from segue_renderer.conformance.rendering import collect_takes

if TYPE_CHECKING:
    from segue_renderer.conformance.target import Target

MORE_SEEDS: Final = 7
"""The most that the contract has places for."""


async def repeat(target: Target) -> str:
    """The same spec and seed give the same audio."""
    promised = target.profile.determinism
    if promised == renderer_pb2.DETERMINISM_UNSPECIFIED:
        raise CheckSkipped("the profile promises nothing about its bytes")
    first = await target.base()
    second = await target.render(first.start)
    same = all(first.content(layer) == second.content(layer) for layer in {*first.layers, *second.layers})
    if promised == renderer_pb2.DETERMINISM_BIT_EXACT:
        require(same, "the bytes differ; the profile promises BIT_EXACT")
        require([str(note) for note in first.notes] == [str(note) for note in second.notes], "the notes differ")
        return "the same bytes"
    require(len(first.content()) == len(second.content()), "the second rendering has another length")
    return "the same bytes" if same else "other bytes, as SEEDED permits"


async def seeds(target: Target) -> str:
    """Another seed gives other music."""
    if target.profile.determinism != renderer_pb2.DETERMINISM_SEEDED:
        raise CheckSkipped("the profile does not promise SEEDED")
    first = await target.base()
    start = renderer_pb2.RenderStart()
    start.CopyFrom(first.start)
    start.seed = first.start.seed + 1
    second = await target.render(start)
    require(first.content() != second.content(), "another seed gives the same bytes")
    return ""


async def several_takes(target: Target) -> str:
    """One call gives a take for each seed, each as in a call of its own; more than the profile allows are refused."""
    profile, spec = target.profile, examples.section(bars=1)
    most = max(1, profile.max_takes)
    if most <= MORE_SEEDS:
        start = target.start_of(spec, more_seeds=range(100, 100 + most))
        await target.require_refusal(target.call(start), grpc.StatusCode.INVALID_ARGUMENT, "OPTION_NOT_SUPPORTED")
    if most == 1:
        return "refused: one take a call"
    start = target.start_of(spec, more_seeds=[examples.SEED + 1])
    takes = await collect_takes(target.call(start), start)
    require(sorted(takes) == [0, 1], f"messages came with the seed_index {sorted(takes)}, not 0 and 1")
    first, second = takes[0], takes[1]
    alone = await target.render(target.start_of(spec, seed=examples.SEED + 1))
    for take in (first, second):
        require(take.kinds[:1] == ["accepted"], "a take does not begin with accepted")
        require(take.kinds[-1:] == ["finished"], "a take does not end with finished")
    require(len(second.content()) == len(alone.content()), "a take of two has another length than alone")
    same = second.content() == alone.content()
    if profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT:
        require(same, "a take of two has other bytes than alone; the profile promises BIT_EXACT")
    if profile.determinism == renderer_pb2.DETERMINISM_SEEDED:
        require(first.content() != second.content(), "two seeds give the same bytes")
    return f"{'the same' if same else 'other'} bytes as alone"


async def default_model(target: Target) -> str:
    """A start without a model gets the first of ListModels."""
    start = examples.start_of(examples.section(bars=1))
    accepted = (await target.render(start)).accepted
    require(
        accepted.profile.model == target.models[0].model,
        f"{accepted.profile.model!r} renders; the first model is {target.models[0].model!r}",
    )
    return target.models[0].model


CHECKS: Final = (
    Check("repeat", "the same spec and seed give what the profile's determinism promises", repeat),
    Check("seeds", "another seed gives other music", seeds),
    Check("takes", "one call gives several takes, each as in a call of its own, or refuses them", several_takes),
    Check("default-model", "a start without a model gets the first one", default_model),
)
