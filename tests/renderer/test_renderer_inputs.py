"""What a call of RenderSection may bring reaches the backend, or is refused or named in a warning."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc.aio
import numpy as np
import pytest
from tests.renderer.renderer_server import served
from tests.renderer.rig import requests, start_of
from tests.renderer.scripted_backend import RATE, ScriptedBackend, noise

from segue.renderer.v1 import renderer_pb2
from segue_music.elements import Key, Metre, Mode, TempoPoint
from segue_music.plan import GuideKind, LyricLine, Lyrics, Role, SamplingHints, SectionSpec
from segue_renderer.conformance.input_checks import audio_messages
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SECOND_NS = 1_000_000_000
SPEC = SectionSpec(
    section_id="verse", role=Role.VERSE, bars=1, frames=48_000, sample_rate=48_000, metre=Metre(4, 4),
    key=Key("C", Mode.MAJOR), tempo_points=(TempoPoint(0, 240.0),), energy=(0.5,), prompt="calm",
)  # fmt: skip
LYRICS = Lyrics("la la\nla", "en", (LyricLine("la la", 0, 960), LyricLine("la", 960, 960)))
CLIP = noise(RATE // 4)
HOSTILE = [
    Lyrics("la\tla"),
    Lyrics("l" * 16_385),
    Lyrics("la", "English"),
    Lyrics("", "en", (LyricLine("la\nla"),)),
    Lyrics("", "en", (LyricLine("la", -1),)),
    Lyrics("", "en", (LyricLine("la"),) * 513),
]
pytestmark = pytest.mark.timeout(60)


@asynccontextmanager
async def scripted(folder: Path, **script: Any) -> AsyncIterator[tuple[Any, ScriptedBackend]]:
    backend = ScriptedBackend(**script)
    async with served(backend, folder) as stub:
        yield stub, backend


def sound(kind: str, samples: Any = CLIP.samples) -> list[Any]:
    return list(audio_messages(kind, samples, RATE))


async def play(stub: Any, start: renderer_pb2.RenderStart, *more: Any) -> renderer_pb2.RenderFinished:
    """Render a section and return the last message."""
    *_, last = [message async for message in stub.RenderSection(requests(start, *more))]
    assert last.HasField("finished")
    return last.finished  # type: ignore[no-any-return]  # the stub has no types


async def refusal(stub: Any, start: renderer_pb2.RenderStart, *more: Any) -> errors.SegueError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await play(stub, start, *more)
    return errors.from_rpc_error(caught.value)


async def test_the_start_of_the_later_section_reaches_the_backend(tmp_path: Path) -> None:
    async with scripted(tmp_path, following_ns=SECOND_NS, conditioning_ns=SECOND_NS) as (stub, backend):
        start = start_of(SPEC, following_frames=len(CLIP.samples), conditioning_frames=10)
        rendered = await play(stub, start, *sound("conditioning", CLIP.samples[:10]), *sound("following"))
        plain = await play(stub, start_of(SPEC))
    request, without = backend.requests
    assert request.following is not None
    assert request.conditioning is not None
    assert (request.following.sample_rate, len(request.conditioning.samples)) == (RATE, 10)
    np.testing.assert_array_equal(request.following.samples, CLIP.samples)
    assert rendered.following_applied
    assert without.following is None
    assert not plain.following_applied


@pytest.mark.parametrize(
    ("announced", "sent", "expected"),
    [
        (len(CLIP.samples) - 1, sound("following"), errors.OutOfOrder),
        (len(CLIP.samples) + 1, sound("following"), errors.InvalidAudio),
        (len(CLIP.samples), [], errors.InvalidAudio),
        (0, sound("following"), errors.OutOfOrder),
        (5_760_001, [], errors.InvalidField),
        (10, sound("following", np.full((10, 1), np.nan, np.float32)), errors.InvalidAudio),
    ],
)
async def test_following_that_is_not_what_start_announced_is_refused(
    tmp_path: Path, announced: int, sent: list[Any], expected: type[errors.SegueError]
) -> None:
    async with scripted(tmp_path, following_ns=SECOND_NS) as (stub, backend):
        error = await refusal(stub, start_of(SPEC, following_frames=announced), *sent)
    assert isinstance(error, expected)
    assert not backend.requests


@pytest.mark.parametrize(
    ("guides", "kind", "reaches"),
    [
        ((2,), renderer_pb2.GUIDE_UNSPECIFIED, GuideKind.MELODY_AUDIO),
        ((2,), renderer_pb2.GUIDE_MELODY_AUDIO, GuideKind.MELODY_AUDIO),
        ((2,), renderer_pb2.GUIDE_TIMBRE_AUDIO, None),
        ((1, 3), renderer_pb2.GUIDE_UNSPECIFIED, None),
        ((1, 3), renderer_pb2.GUIDE_TIMBRE_AUDIO, GuideKind.TIMBRE_AUDIO),
    ],
)
async def test_guide_audio_is_what_guide_kind_says(
    tmp_path: Path, guides: tuple[int, ...], kind: renderer_pb2.Guide, reaches: GuideKind | None
) -> None:
    async with scripted(tmp_path, guides=guides) as (stub, backend):
        start = start_of(SPEC, guide_frames=len(CLIP.samples), guide_kind=kind)
        if reaches is None:
            assert isinstance(await refusal(stub, start, *sound("guide")), errors.OptionNotSupported)
        else:
            assert (await play(stub, start, *sound("guide"))).guide_applied
            assert backend.requests[0].guide_kind == reaches
        await play(stub, start_of(SPEC))
    assert backend.requests[-1].guide_kind == GuideKind.UNSPECIFIED


@pytest.mark.parametrize("changes", [{"guide_kind": 3}, {"guide_kind": 1, "guide_frames": 10}])
async def test_a_guide_kind_without_audio_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    async with scripted(tmp_path, guides=(1, 2, 3)) as (stub, _):
        error = await refusal(stub, start_of(SPEC, **changes))
    assert isinstance(error, errors.InvalidField)
    assert "guide_kind" in str(error)


@pytest.mark.parametrize(
    ("abilities", "unread"),
    [
        ({}, {"temperature", "steps", "guidance"}),
        ({"uses_sampling": True}, {"steps"}),
        ({"uses_sampling": True, "sampling": ("steps", "guidance")}, {"temperature"}),
    ],
)
async def test_hints_that_the_model_does_not_read_are_named(
    tmp_path: Path, abilities: dict[str, Any], unread: set[str]
) -> None:
    given = {"temperature": 0.9, "steps": 20, "guidance": 0.0}
    async with scripted(tmp_path, **abilities) as (stub, _):
        rendered = await play(stub, start_of(replace(SPEC, sampling=SamplingHints(**given))))  # type: ignore[arg-type]  # one of several fields
        silent = await play(stub, start_of(replace(SPEC, sampling=SamplingHints())))
    (warning,) = rendered.warnings
    assert (warning.code, warning.section_id) == ("sampling_not_used", "verse")
    assert {name for name in given if f"sampling.{name}" in warning.text} == unread
    assert not silent.warnings


async def test_lyrics_reach_models_that_sing_them_and_others_refuse_them(tmp_path: Path) -> None:
    start = start_of(replace(SPEC, lyrics=LYRICS))
    async with scripted(tmp_path, uses_lyrics=True) as (stub, backend):
        assert (await play(stub, start)).lyrics_applied
        assert not (await play(stub, start_of(SPEC))).lyrics_applied
    assert [request.spec.lyrics for request in backend.requests] == [LYRICS, None]
    async with scripted(tmp_path) as (stub, _):
        error = await refusal(stub, start)
    assert isinstance(error, errors.OptionNotSupported)
    assert error.metadata["option"] == "spec.lyrics"


@pytest.mark.parametrize("lyrics", HOSTILE)
async def test_lyrics_with_other_characters_or_too_many_are_refused(tmp_path: Path, lyrics: Lyrics) -> None:
    async with scripted(tmp_path, uses_lyrics=True) as (stub, backend):
        error = await refusal(stub, start_of(replace(SPEC, lyrics=lyrics)))
    assert isinstance(error, errors.InvalidField)
    assert not backend.requests


async def test_progress_without_audio_comes_as_a_fraction(tmp_path: Path) -> None:
    async with scripted(tmp_path, audio_at_end=True, fractions=(0.25, 1.0)) as (stub, _):
        found = [message async for message in stub.RenderSection(requests(start_of(SPEC)))]
    kinds = [message.WhichOneof("message") for message in found]
    assert [each.progress.fraction for each in found if each.HasField("progress")] == [0.25, 1.0]
    assert kinds.index("audio") > max(place for place, kind in enumerate(kinds) if kind == "progress")
