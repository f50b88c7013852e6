"""Lesser results: the degradation policy decides whether a composition is degraded or failed."""

from __future__ import annotations

import asyncio
import contextlib
import io
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import Heard, Segued, embedded, free_port, hear, sha256, spec
from tests.mesh.two_models import HUM, TwoModels

from segue.composer.v1 import composition_pb2, spec_pb2, stream_pb2
from segue_client import Client, SegueError
from segue_runtime import errors
from segued.requests import reproduction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.mesh.faulty_renderer import Responses, Spoil

    from segue.renderer.v1 import renderer_pb2

ALLOW = spec_pb2.DEGRADATION_POLICY_ALLOW
BOTH = stream_pb2.AUDIO_SELECTION_BOTH
PROMPT = "calm piano, 120 bpm, C major, verse, chorus and outro"
SECTIONS = ("verse", "chorus", "outro")


@pytest.fixture
def no_analyzer() -> dict[str, object]:
    """Return the flags of a mesh without an analyzer; the conductor retries for a moment only."""
    return {"analyzer.address": f"127.0.0.1:{free_port()}", "conductor.patience": "0.5s"}


async def test_a_refused_degradation_fails_with_its_own_reason(tmp_path: Path, no_analyzer: dict[str, object]) -> None:
    async with embedded(tmp_path, no_analyzer) as (_, client), asyncio.timeout(120):
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(spec(seconds=4)), heard)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DEGRADATION_REFUSED")
    assert heard.composition.state == composition_pb2.STATE_FAILED
    assert not heard.composition.degradations
    assert "the master was not measured" in heard.composition.error.message


async def test_an_allowed_degradation_is_named_in_the_composition(
    tmp_path: Path, no_analyzer: dict[str, object]
) -> None:
    allowed = spec(seconds=4, degradation_policy=ALLOW)
    async with embedded(tmp_path, no_analyzer) as (_, client), asyncio.timeout(120):
        heard = await hear(client.compose(allowed))
    assert heard.composition.state == composition_pb2.STATE_DEGRADED
    assert [each.code for each in heard.composition.degradations] == ["not_analyzed"]
    assert [each.kind for each in heard.composition.outputs].count(composition_pb2.OUTPUT_KIND_MASTER) == 1


def failing(section_id: str, model: str = "", chunks: int = 0) -> Spoil:
    """Fail every attempt at a section, or at all, or only those of one model, after some chunks of its audio."""

    async def spoil(_call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        fails = section_id in {"", start.spec.section_id} and start.model.startswith(model)
        left = chunks if fails else 1 << 30
        async for response in responses:
            is_audio = response.WhichOneof("message") == "audio"
            if is_audio and not left:
                raise errors.RenderInvalid(f"{start.spec.section_id} cannot be played")
            left -= is_audio
            yield response

    return spoil


def asked(**more: Any) -> spec_pb2.CompositionSpec:
    return spec(PROMPT, seconds=12, stems=True, midi=True, **more)


@contextlib.asynccontextmanager
async def two_models(
    home: Path, spoil: Spoil, flags: Mapping[str, object] = MappingProxyType({})
) -> AsyncIterator[Client]:
    async with (
        faulty_renderer(home, spoil, TwoModels()) as renderer,
        embedded(home, {"renderer.addresses": renderer.address, **flags}) as (_, client),
        asyncio.timeout(240),
    ):
        yield client


async def test_another_model_plays_a_section_that_failed(tmp_path: Path) -> None:
    async with two_models(tmp_path, failing("chorus", "sketch")) as client:
        heard = await hear(client.compose(asked(degradation_policy=ALLOW), audio=BOTH))
    made = heard.composition
    assert made.state == composition_pb2.STATE_DEGRADED
    (degradation,) = made.degradations
    assert (degradation.code, degradation.section_id) == ("section_model_replaced", "chorus")
    assert (degradation.failed_model, degradation.model) == ("sketch", "hum")
    assert "chorus cannot be played" in degradation.text
    assert [section.model for section in made.sections] == ["sketch", "hum", "sketch"]
    assert [item.spec.model for item in made.plan.sections] == ["", "hum", ""]
    assert len(heard.draft) == made.plan.frames * 8
    assert "replanned" in heard.kinds


async def test_no_model_that_the_owner_may_not_use_plays_a_section_that_failed(tmp_path: Path) -> None:
    (tmp_path / "tenants.toml").write_text('[default]\nmodels = ["sketch*"]\n')
    flags = {"limits.tenants_file": str(tmp_path / "tenants.toml")}
    async with two_models(tmp_path, failing("chorus", "sketch"), flags) as client:
        made = (await hear(client.compose(asked(degradation_policy=ALLOW)))).composition
    assert made.state == composition_pb2.STATE_DEGRADED
    assert [(each.code, each.model) for each in made.degradations] == [("section_left_out", "")]


async def test_a_piece_with_two_failing_models_leaves_the_section_out(tmp_path: Path) -> None:
    async with two_models(tmp_path, failing("chorus")) as client:
        made = (await hear(client.compose(asked(degradation_policy=ALLOW)))).composition
    assert [(each.code, each.failed_model, each.model) for each in made.degradations] == [
        ("section_model_replaced", "sketch", HUM.model),
        ("section_left_out", HUM.model, ""),
    ]
    assert [section.section_id for section in made.sections] == ["verse", "outro"]


@pytest.mark.parametrize(("section_id", "chunks"), [("verse", 3), ("chorus", 0), ("outro", 3)])
async def test_a_section_is_left_out_and_the_join_closed_over_it(tmp_path: Path, section_id: str, chunks: int) -> None:
    async with (
        faulty_renderer(tmp_path, failing(section_id, chunks=chunks)) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(240),
    ):
        heard = await hear(client.compose(asked(degradation_policy=ALLOW), audio=BOTH))
        made = heard.composition
        left = [name for name in SECTIONS if name != section_id]
        assert made.state == composition_pb2.STATE_DEGRADED
        assert [(each.code, each.section_id) for each in made.degradations] == [("section_left_out", section_id)]
        assert [section.section_id for section in made.sections] == left
        assert {section.state for section in made.sections} == {composition_pb2.SECTION_STATE_JOINED}
        # Plan, draft, master, files and report agree about the shorter piece.
        specs = [item.spec for item in made.plan.sections]
        assert [spec.section_id for spec in specs] == left
        frames = sum(spec.frames for spec in specs) + specs[-1].tail_frames
        assert made.plan.sections[1].first_frame == specs[0].frames
        assert made.plan.frames == made.draft_frames == frames
        assert len(heard.draft) == len(heard.master) == frames * 8
        assert [(join.from_section_id, join.to_section_id) for join in made.joins] == [(left[0], left[1])]
        assert [section.section_id for section in made.report.sections] == left
        files = {
            output.name.rpartition("/")[2]: b"".join([part async for part in client.read(output)])
            for output in made.outputs
        }
        draft, _ = soundfile.read(io.BytesIO(files["draft.wav"]))
        stems = [soundfile.read(io.BytesIO(files[name]))[0] for name in files if name.startswith("stem-")]
        assert np.abs(sum(stems) - draft).max() < 1e-5
        assert draft.astype("<f4").tobytes() == heard.draft
        # The file says how to make the shorter piece: the same bytes, without a fault.
        (tmp_path / "master.flac").write_bytes(files["master.flac"])
        again = await hear(client.compose(reproduction.read(tmp_path / "master.flac", "").spec, audio=BOTH))
        assert again.composition.state == composition_pb2.STATE_SUCCEEDED
        assert sha256(again.draft) == sha256(heard.draft)
        assert sha256(again.master) == sha256(heard.master)
        assert again.digests()["music.mid"] == heard.digests()["music.mid"]


async def test_without_permission_a_failed_section_fails_the_piece_with_the_reason(tmp_path: Path) -> None:
    async with two_models(tmp_path, failing("chorus")) as client:
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(asked()), heard)
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DEGRADATION_REFUSED")
        assert caught.value.metadata["reason"] == "RENDER_INVALID"
        assert caught.value.metadata["section_id"] == "chorus"
        assert caught.value.metadata["degradation"] == "section_model_replaced"
        assert not heard.composition.degradations
        # What is left of it is in the last event and in GetComposition.
        got = await client.get(heard.composition.name)
        failure = heard.composition.failure
        assert got.failure == failure
        assert (failure.stage, failure.section_id) == (composition_pb2.WORK_STAGE_RENDER, "chorus")
        assert list(failure.completed_stages) == [composition_pb2.WORK_STAGE_PLAN]
        assert set(failure.kept_section_ids) <= {"verse", "outro"}
        assert "verse" in failure.kept_section_ids
        assert failure.draft in {output.name for output in got.outputs}
        states = {section.section_id: section.state for section in got.sections}
        assert states["chorus"] == composition_pb2.SECTION_STATE_FAILED


async def test_a_piece_of_failing_sections_only_fails_with_their_error(tmp_path: Path) -> None:
    async with (
        faulty_renderer(tmp_path, failing("")) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
        asyncio.timeout(240),
    ):
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await hear(client.compose(asked(degradation_policy=ALLOW)), heard)
    assert caught.value.reason == "RENDER_INVALID"
    assert {each.code for each in heard.composition.degradations} == {"section_left_out"}
    assert heard.composition.failure.stage == composition_pb2.WORK_STAGE_RENDER


@pytest.mark.parametrize("moment", ["conductor.after_degraded=kill", "conductor.after_leaving_out=kill"])
async def test_a_kill_changes_nothing_about_a_degraded_piece(tmp_path: Path, moment: str) -> None:
    wanted = asked(degradation_policy=ALLOW)
    heard: list[Heard] = []
    async with faulty_renderer(tmp_path, failing("outro", chunks=3)) as renderer:
        for failpoints in ("", moment):
            one = Segued(tmp_path / f"home-{bool(failpoints)}", "--renderer-addresses", renderer.address)
            try:
                one.start(failpoints)
                async with Client(one.address, patience_s=60) as client:
                    listening = asyncio.create_task(hear(client.compose(wanted, audio=BOTH)))
                    if failpoints:
                        assert await one.ended() == -9
                        await asyncio.to_thread(one.start)
                    heard.append(await asyncio.wait_for(listening, 100))
            finally:
                one.stop()
    undisturbed, killed = heard
    assert killed.composition.state == composition_pb2.STATE_DEGRADED
    assert killed.composition.degradations == undisturbed.composition.degradations
    assert sha256(killed.draft) == sha256(undisturbed.draft)
    assert killed.digests() == undisturbed.digests()
