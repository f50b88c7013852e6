"""The checks of RendererService on every backend of the registry, and on renderers that break one promise each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.mesh.faulty_renderer import changed, faulty_renderer
from tests.renderer.renderer_server import served
from tests.renderer.scripted_backend import ScriptedBackend
from tests.renderer.tiny_font import written_pack

from segue.renderer.v1 import renderer_pb2_grpc
from segue_renderer import registry
from segue_renderer.conformance import CHECKS, run_check
from segue_renderer.conformance.outcome import Outcome
from segue_renderer.conformance.target import Target
from segue_runtime.rpc import channels
from segue_runtime.settings import Settings, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from segue.renderer.v1 import renderer_pb2

    Response = renderer_pb2.RenderSectionResponse
    Spoil = Callable[[Response], list[Response]]

NAMES = [check.name for check in CHECKS]
NEED_WEIGHTS = {"musicgen", "diffusion", "audiocraft"}
"""Backends that run their checks elsewhere: tests/engine, tests/diffusion and tests/audiocraft."""
BACKENDS = [name for name in registry.BACKENDS if name not in NEED_WEIGHTS]
SKIPPED = {"sketch": {"seeds", "announced", "undeclared"}}
SAMPLED = "sketch with a voice pack"


async def outcomes(address: str, *names: str) -> dict[str, tuple[Outcome, str]]:
    async with channels.connect(address) as channel:
        target = await Target.open(renderer_pb2_grpc.RendererServiceStub(channel))
        results = [await run_check(check, target) for check in CHECKS if not names or check.name in names]
    return {result.name: (result.outcome, result.detail) for result in results}


@pytest.mark.parametrize("backend", [*BACKENDS, SAMPLED])
async def test_every_backend_keeps_every_promise(backend: str, tmp_path: Path) -> None:
    model = ""
    settings = replace(Settings(home=tmp_path), renderer__backend=backend)
    if backend == SAMPLED:
        backend, model = "sketch", "sketch-sampled"
        settings = replace(Settings(home=tmp_path), renderer__sketch__voices=str(written_pack(tmp_path)))
    async with served(registry.make_backend(settings), tmp_path) as stub:
        target = await Target.open(stub)
        assert model in {"", target.profile.model}
        found = [await run_check(check, target) for check in CHECKS]
    assert {each.name: each.detail for each in found if each.outcome is Outcome.FAILED} == {}
    skipped = {each.name for each in found if each.outcome is Outcome.SKIPPED}
    assert skipped == SKIPPED.get(backend, skipped)


def test_every_check_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


def first_chunk(change: Callable[[Any], object], layer: str = "") -> Spoil:
    """Change the first chunk of a layer."""

    def spoil(response: Response) -> list[Response]:
        if (
            response.WhichOneof("message") == "audio"
            and not response.audio.first_frame
            and response.audio.layer == layer
        ):
            change(response.audio)
        return [response]

    return spoil


def message(kind: str, change: Callable[[Any], object]) -> Spoil:
    """Change each message of a kind."""

    def spoil(response: Response) -> list[Response]:
        if response.WhichOneof("message") == kind:
            change(getattr(response, kind))
        return [response]

    return spoil


def marked(response: Response, seed_index: int) -> Response:
    response.seed_index = seed_index
    return response


def repeated(kind: str, times: int) -> Spoil:
    """Send each message of a kind several times, or never."""
    return lambda response: [response] * (times if response.WhichOneof("message") == kind else 1)


def every_chunk(change: Callable[[Any], object]) -> Spoil:
    """Change the samples of each chunk of the mix."""

    def spoil(response: Response) -> list[Response]:
        if response.WhichOneof("message") == "audio" and not response.audio.layer:
            changed(response, change)
        return [response]

    return spoil


def setting(**values: Any) -> Callable[[Any], None]:
    def change(part: Any) -> None:
        for name, value in values.items():
            setattr(part, name, value)

    return change


# A fault, and the checks that must find it.
FAULTS: dict[str, tuple[Spoil, set[str]]] = {
    "nothing is accepted": (repeated("accepted", 0), {"order"}),
    "finished comes twice": (repeated("finished", 2), {"order"}),
    "another profile": (message("accepted", lambda part: setting(model="other")(part.profile)), {"accepted"}),
    "another rate": (message("accepted", lambda part: setting(sample_rate=8_000)(part.format)), {"accepted", "chunks"}),
    "a wrong checksum": (first_chunk(setting(crc32c=1)), {"chunks"}),
    "a gap": (first_chunk(setting(first_frame=9)), {"chunks"}),
    "another take": (first_chunk(setting(take="other")), {"labels"}),
    "NaN": (every_chunk(lambda samples: samples.fill(np.nan)), {"samples"}),
    "silence": (every_chunk(lambda samples: samples.fill(0)), {"samples", "stems"}),
    "a frame less": (message("finished", lambda part: setting(frames=part.frames - 1)(part)), {"length"}),
    "no windows": (message("finished", setting(windows=0)), {"finished"}),
    "conditioning that was not sent": (message("finished", setting(conditioning_applied=True)), {"finished"}),
    "following that was not sent": (message("finished", setting(following_applied=True)), {"finished"}),
    "lyrics that were not sent": (message("finished", setting(lyrics_applied=True)), {"finished"}),
    "a warning without text": (message("finished", lambda part: part.warnings.add(code="odd")), {"finished"}),
    "louder stems": (every_chunk(lambda samples: np.multiply(samples, 0.5, out=samples)), {"stems"}),
    "an unknown stem": (first_chunk(setting(layer="kazoo"), "bass"), {"chunks", "stems"}),
    "notes without length": (message("notes", lambda part: setting(ticks=0)(part.notes[0])), {"notes"}),
    "one take of two": (lambda response: [] if response.seed_index else [response], {"takes"}),
    "a take that nobody asked for": (lambda response: [marked(response, 2)], {"takes"}),
    "progress that goes back": (
        message("progress", setting(frames_done=9, frames_total=1, queue_position=0)), {"queue"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_renderer_fails_the_check_of_the_promise(fault: str, tmp_path: Path) -> None:
    spoil, expected = FAULTS[fault]

    async def spoiled(_call: int, _start: Any, responses: AsyncIterator[Response]) -> AsyncIterator[Response]:
        async for response in responses:
            for each in spoil(response):
                yield each

    async with faulty_renderer(tmp_path, spoiled) as service:
        found = await outcomes(service.address, *expected)
    assert {name for name, (outcome, _) in found.items() if outcome is Outcome.FAILED} == expected, found
    assert all(detail for _, detail in found.values())


ABLE: dict[str, Any] = {
    "following_ns": 500_000_000, "audio_at_end": True, "min_window_ns": 10_000_000_000, "guides": (3,),
    "uses_sampling": True, "sampling": ("steps", "guidance"), "uses_lyrics": True, "lyric_languages": ("de", "en"),
    "layer_tasks": (1, 2),
}  # fmt: skip
ABILITY_CHECKS = (
    "capabilities", "numbers", "progress", "finished", "following", "guide-timbre", "layer-tasks", "sampling", "lyrics",
    "takes",
)  # fmt: skip


async def of_abilities(tmp_path: Path, **script: Any) -> dict[str, Outcome]:
    async with faulty_renderer(tmp_path, backend=ScriptedBackend(**{"fractions": (0.5, 1.0), **script})) as service:
        return {name: outcome for name, (outcome, _) in (await outcomes(service.address, *ABILITY_CHECKS)).items()}


@pytest.mark.parametrize("abilities", [ABLE, {}], ids=["able", "plain"])
async def test_abilities_are_used_and_others_refused(tmp_path: Path, abilities: dict[str, Any]) -> None:
    found = await of_abilities(tmp_path, **abilities)
    assert found == dict.fromkeys(ABILITY_CHECKS, Outcome.PASSED)


@pytest.mark.parametrize(
    ("script", "broken"),
    [
        ({"ignores": ("following",)}, "following"),
        ({"ignores": ("lyrics",)}, "lyrics"),
        ({"ignores": ("guide",)}, "guide-timbre"),
        ({"ignores": ("mix",)}, "layer-tasks"),
        ({"layer_tasks": (1, 1)}, "capabilities"),
        ({"layer_tasks": (0,)}, "capabilities"),
        ({"fractions": ()}, "progress"),
        ({"fractions": (0.5, 0.25)}, "progress"),
        ({"uses_lyrics": False}, "capabilities"),
        ({"uses_sampling": False}, "capabilities"),
        ({"sampling": ("colour",)}, "capabilities"),
        ({"min_window_ns": 0}, "numbers"),
        ({"following_ns": 0}, "numbers"),
    ],
)
async def test_a_promise_about_abilities_that_is_broken_is_found(
    tmp_path: Path, script: dict[str, Any], broken: str
) -> None:
    found = await of_abilities(tmp_path, **{**ABLE, **script})
    assert found[broken] is Outcome.FAILED, found
