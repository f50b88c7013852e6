"""A newcomer's way: a folder with a checkpoint, one command, a file."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from tests.engine.on_device import flags
from tests.mesh.harness import Segued, hear, spec

from segue.composer.v1 import composition_pb2, spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Checkpoint

SEGUED = (sys.executable, "-m", "segued")
BRIEF = ("soft keys, 120 bpm, C major", "--duration", "8", "--seed", "3")


@pytest.mark.parametrize(("kind", "layout"), [("mono", "folder"), ("stereo", "audiocraft")])
def test_a_model_composes_a_piece_and_streams_before_its_section_is_complete(
    kind: str, layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = getattr(checkpoints[kind], layout)
    target = tmp_path / "song.flac"
    command = (
        *SEGUED,
        "compose",
        *BRIEF,
        "--renderer-backend",
        "musicgen",
        "--renderer-musicgen-model",
        str(folder),
        "--json",
    )
    run = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True, timeout=110, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    finished = first(lines, "section_finished")
    assert first(lines, "audio") < finished, "it is heard while it is made"
    rendered = lines[finished]["section_finished"]["rendered"]
    assert int(rendered["window_frames_used"]) >= 400
    assert lines[-1]["state"] == "SUCCEEDED"
    tags = soundfile.SoundFile(target).copy_metadata()
    assert "CC-BY-NC-4.0" in str(tags), "the licence of the weights is in the file"
    sound, rate = soundfile.read(target)
    assert abs(len(sound) / rate - 8) < 0.1
    assert abs(sound).max() > 0.05


def first(lines: list[dict[str, Any]], kind: str) -> int:
    return next(index for index, line in enumerate(lines) if kind in line)


async def states_of(client: Client) -> dict[str, int]:
    return {each.model: each.state for each in await client.model_statuses()}


@pytest.mark.timeout(240)
async def test_one_process_serves_the_band_and_a_checkpoint_and_a_piece_has_sections_of_both(
    checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = checkpoints["mono"].folder
    server = Segued(tmp_path / "home", "--renderer", "sketch,musicgen", "--model", str(folder), *flags()).start()
    try:
        async with Client(server.address, patience_s=60) as client:
            # The mesh asks its renderers each second.
            while (states := await states_of(client))["sketch"] != renderer_pb2.MODEL_STATE_WARM:  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(0.1)
            assert states[folder.name] == renderer_pb2.MODEL_STATE_COLD
            digest = {each.model: each.model_digest for each in await client.models()}[folder.name]
            assert len(digest) == 64, "the checkpoint was read, and not loaded"
            plan = (await client.plan(spec("calm piano, 120 bpm, C major, a verse and a chorus", seconds=8))).plan
            plan.digest = ""
            for item in plan.sections:
                item.ClearField("join")
                item.spec.ClearField("continuity")
            plan.sections[1].spec.model = folder.name
            heard = await hear(client.compose(spec_pb2.CompositionSpec(plan=plan)))
            assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
            played = [each.event.section_started.model for each in heard.updates if each.kind == "section_started"]
            assert set(played) == {"sketch", folder.name}
            assert [each.model for each in await client.models()] == ["sketch", folder.name]
            while (await states_of(client))[folder.name] != renderer_pb2.MODEL_STATE_WARM:  # noqa: ASYNC110 - it can only be asked
                await asyncio.sleep(0.1)
            (warm,) = [each for each in await client.model_statuses() if each.model == folder.name]
            assert warm.memory_bytes > 0
        assert server.terminate() == 0
        assert "licensed for non-commercial use" in (server.home / "all.log").read_text()
    finally:
        server.stop()


def test_a_folder_without_a_model_gives_one_clear_error_line(tmp_path: Path) -> None:
    command = (*SEGUED, "serve", "--role", "renderer", "--renderer", "musicgen", "--model", str(tmp_path))
    run = subprocess.run(
        [*command, "--listen", f"unix:{tmp_path}/r.sock"], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 1
    (line,) = [line for line in run.stderr.splitlines() if line.startswith("error")]
    assert "neither config.json" in line
