"""Stems of pieces whose model gives no layers are separated from the draft, and every place says by what."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from tests.analyzer.separator_files import write_checkpoint
from tests.mesh.faulty_renderer import faulty_renderer
from tests.mesh.harness import embedded, hear, spec
from tests.mesh.test_mesh_section_models import files_of
from tests.mesh.two_models import HUM, TwoModels

from segue.composer.v1 import composition_pb2
from segue_audio.files import read_tags

if TYPE_CHECKING:
    from pathlib import Path

    from segue_client import Client


async def check_stems(client: Client, folder: Path, names: list[str], separator: str, digest: str = "") -> None:
    asked = spec("calm, 120 bpm, C major, a verse and a chorus", seconds=6, stems=True, model=HUM.model)
    planned = await client.plan(asked)
    assert [each.code for each in planned.plan.warnings if "stems" in each.code] == ["stems_separated"]
    made = (await hear(client.compose(asked))).composition
    assert made.state == composition_pb2.STATE_SUCCEEDED, made.error
    warned = [each.text for each in made.warnings if each.code.startswith("stems")]
    assert warned == [f"{HUM.model} gives no layers: the stems are separated from the draft"]
    stems = [each for each in made.outputs if each.kind == composition_pb2.OUTPUT_KIND_STEM]
    assert [each.layer for each in stems] == names

    files = await files_of(client, made)
    draft, rate = soundfile.read(io.BytesIO(files["draft.wav"]), dtype="float32")
    assert rate == made.plan.sample_rate
    sounds = [soundfile.read(io.BytesIO(files[f"stem-{name}.wav"]), dtype="float32")[0] for name in names]
    assert np.abs(draft).max() > 0.01
    assert np.abs(np.sum(sounds, axis=0, dtype=np.float64) - draft).max() <= 2**-24

    used = made.report.stems_separator
    assert (used.name, used.digest, list(used.stems)) == (separator, digest, names)
    named = json.loads(files["manifest.json"])["stems_separator"]
    assert named == {"name": separator, "digest": digest, "stems": names}
    (folder / "stem.wav").write_bytes(files[f"stem-{names[0]}.wav"])
    assert read_tags(folder / "stem.wav").tags["SEPARATOR"] == f"{separator} {digest}".strip()


async def test_a_model_without_layers_gives_separated_stems(tmp_path: Path) -> None:
    async with faulty_renderer(tmp_path, backend=TwoModels()) as renderer:
        flags: dict[str, object] = {"renderer.addresses": renderer.address}
        async with embedded(tmp_path / "two", flags) as (_, client):
            await check_stems(client, tmp_path, ["harmonic", "percussive"], "median-17")
        digest = write_checkpoint(tmp_path / "tiny.onnx")
        flags |= {"analyzer.separator.path": str(tmp_path / "tiny.onnx"), "analyzer.separator.threads": "1"}
        async with embedded(tmp_path / "four", flags) as (_, client):
            await check_stems(client, tmp_path, ["drums", "bass", "other", "vocals"], "tiny", digest)


async def test_layers_of_the_model_are_never_separated(tmp_path: Path) -> None:
    async with embedded(tmp_path) as (_, client):
        made = (await hear(client.compose(spec(seconds=4, stems=True)))).composition
        assert not made.report.HasField("stems_separator")
        assert "stems_separator" not in json.loads((await files_of(client, made))["manifest.json"])
        assert not [each for each in made.warnings if each.code.startswith("stems")]
