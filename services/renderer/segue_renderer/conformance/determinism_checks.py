"""Checks of what the profile promises about repeated renderings, and of the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from segue.renderer.v1 import renderer_pb2
from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckSkipped, require

if TYPE_CHECKING:
    from segue_renderer.conformance.target import Target


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
    Check("default-model", "a start without a model gets the first one", default_model),
)
