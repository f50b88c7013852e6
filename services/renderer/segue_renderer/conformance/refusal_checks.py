"""Checks of refusals: the right code and the right reason."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc

from segue.audio.v1 import audio_pb2
from segue.renderer.v1 import renderer_pb2
from segue_renderer.conformance import examples
from segue_renderer.conformance.check import Check
from segue_renderer.conformance.outcome import CheckSkipped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from segue_renderer.conformance.target import Target

INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
ANSWER_S: Final = 5.0


async def unknown_model(target: Target) -> str:
    """A model that is not listed is not found."""
    start = examples.start_of(examples.section(bars=1), "no-such-model")
    return await target.require_refusal(target.call(start), grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")


async def no_frames(target: Target) -> str:
    """A section without length is refused."""
    start = target.start_of(examples.section(bars=1, frames=0))
    return await target.require_refusal(target.call(start), INVALID, "INVALID_FIELD")


async def broken_rule(target: Target) -> str:
    """A message that breaks a rule of the contract is refused."""
    start = target.start_of(examples.section(bars=1))
    start.spec.section_id = "Not A Section"
    return await target.require_refusal(target.call(start), INVALID, "INVALID_FIELD")


async def undeclared_options(target: Target) -> str:
    """Stems and notes that the profile does not give are refused."""
    profile = target.profile
    refused = [
        *(["stems"] if not profile.layers else []),
        *(["notes"] if not profile.gives_notes else []),
    ]
    if not refused:
        raise CheckSkipped("the profile gives stems and notes")
    for option in refused:
        start = target.start_of(examples.section(bars=1), **{option: True})
        await target.require_refusal(target.call(start), INVALID, "OPTION_NOT_SUPPORTED")
    return ", ".join(refused)


async def out_of_order(target: Target) -> str:
    """Streams without a start, with two starts, or with data before the start are refused."""
    start = renderer_pb2.RenderSectionRequest(start=target.start_of(examples.section(bars=1)))
    form = audio_pb2.AudioFormat(sample_rate=48_000, channels=1, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE)
    audio = renderer_pb2.RenderSectionRequest(guide=audio_pb2.AudioChunk(format=form, frames=1, data=bytes(4)))
    for messages in (iter([]), iter([start, start]), _one_by_one(audio, start)):
        call = target.stub.RenderSection(messages)
        await target.require_refusal(call, INVALID, "OUT_OF_ORDER")
    return "no start, two starts, audio before the start"


async def _one_by_one(*messages: renderer_pb2.RenderSectionRequest) -> AsyncIterator[renderer_pb2.RenderSectionRequest]:
    """Send messages with time for an answer between them: gRPC loses a refusal that meets the next message."""
    for index, message in enumerate(messages):
        await asyncio.sleep(ANSWER_S if index else 0)
        yield message


CHECKS: Final = (
    Check("unknown-model", "an unknown model is NOT_FOUND MODEL_NOT_FOUND", unknown_model),
    Check("no-frames", "a section without frames is refused", no_frames),
    Check("broken-rule", "a message that breaks the contract's rules is refused", broken_rule),
    Check("undeclared", "stems and notes that the profile does not give are refused", undeclared_options),
    Check("out-of-order", "messages out of order are refused", out_of_order),
)
