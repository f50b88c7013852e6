"""A layer that ACE-Step adds to a mix, or takes out of it: base weights only."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
import torch
from tests.diffusion.playing import clip, render, serving
from tests.diffusion.test_diffusion_sections import HOP, loaded
from tests.diffusion.tiny_models import LATENTS, RATE
from tests.engine.serving import SPEC

from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2
from segue_music.elements import Layer, LayerKind
from segue_music.plan import LayerTask, SamplingHints
from segue_renderer.backend import AudioClip, RenderRequest
from segue_renderer.diffusion.conditions import conditions_of
from segue_renderer.diffusion.section_render import WindowRender
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

ADD, EXTRACT = renderer_pb2.LAYER_TASK_ADD, renderer_pb2.LAYER_TASK_EXTRACT
BASS, LEAD = music_pb2.LAYER_KIND_BASS, music_pb2.LAYER_KIND_LEAD
pytestmark = pytest.mark.timeout(240)


async def test_task_layer_and_mix_change_the_music_and_a_seed_repeats_it(
    models: dict[str, Path], tmp_path: Path
) -> None:
    mix = clip(1.0)
    asked: dict[str, dict[str, Any]] = {
        "add": {"layer_task": ADD, "task_layer": BASS},
        "extract": {"layer_task": EXTRACT, "task_layer": BASS},
        "another layer": {"layer_task": ADD, "task_layer": LEAD},
        "another instrument": {
            "layer_task": ADD, "task_layer": LEAD, "layers": (Layer(LayerKind.LEAD, ("violin",)),),
        },
        "another mix": {"layer_task": ADD, "task_layer": BASS, "clips": {"mix": clip(1.0, seed=2)}},
        "mono": {"layer_task": ADD, "task_layer": BASS, "clips": {"mix": clip(1.0, channels=1)}},
        "another seed": {"layer_task": ADD, "task_layer": BASS, "seed": 8},
    }  # fmt: skip
    async with serving(models["ace-step-base"], tmp_path) as (stub, _):
        plain = await render(stub)
        found = {name: await render(stub, **{"clips": {"mix": mix}, **given}) for name, given in asked.items()}
        again = await render(stub, clips={"mix": mix}, **asked["add"])
    assert all(len(each.samples) == len(plain.samples) for each in found.values())
    assert all(each.warnings == [] for each in found.values())
    heard = {name: each.samples.tobytes() for name, each in found.items()} | {"plain": plain.samples.tobytes()}
    assert len(set(heard.values())) == len(heard)
    assert np.array_equal(again.samples, found["add"].samples)


@pytest.mark.parametrize("kind", ["ace-step", "stable-audio-base"])
async def test_a_model_without_the_task_refuses_it(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    async with serving(models[kind], tmp_path) as (stub, _):
        for task, words in ((ADD, "adds no layer"), (EXTRACT, "takes no layer out")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await render(stub, clips={"mix": clip(1.0)}, layer_task=task, task_layer=BASS)
            error = errors.from_rpc_error(caught.value)
            assert isinstance(error, errors.OptionNotSupported)
            assert words in str(error)


async def test_sft_weights_have_no_tasks(models: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    shutil.copytree(models["ace-step-base"], folder)
    path = folder / "transformer/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_version": "sft"}))
    async with serving(folder, tmp_path) as (stub, _):
        (model,) = (await stub.ListModels(renderer_pb2.ListModelsRequest())).models
    assert not model.layer_tasks


def request(seconds: float, mix_seconds: float, **given: Any) -> RenderRequest:
    spec = replace(SPEC, frames=round(seconds * RATE), **given)
    mix = AudioClip(clip(mix_seconds, seed=3), RATE)
    return RenderRequest(spec, "", 7, layer_task=LayerTask.ADD, task_layer=LayerKind.LEAD, mix=mix)


@pytest.mark.parametrize("seconds", [1.0, 75.0])
def test_the_model_gets_the_mix_of_the_whole_window(seconds: float, models: dict[str, Path]) -> None:
    pipeline, facts = loaded(models["ace-step-base"])
    asked = request(seconds, seconds)
    assert asked.mix is not None
    with torch.inference_mode():
        task = WindowRender(asked, facts, 2).task(pipeline)
        assert task.mix is not None
        assert task.mix.shape == (LATENTS, max(task.window.latents, 250))
        silent = np.zeros((task.window.latents * HOP - len(asked.mix.samples), 2), np.float32)
        whole = pipeline.encode(torch.tensor(np.concatenate([asked.mix.samples, silent]).T))
    # 75 s are encoded in three tiles.
    assert (task.mix - whole).abs().max() < 1e-5


def test_the_library_is_asked_for_the_task_and_the_track(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, facts = loaded(models["ace-step-base"])
    asked = request(1.0, 1.0, layers=(Layer(LayerKind.LEAD, ("alto saxophone",)),), sampling=SamplingHints(steps=1))
    section, read = WindowRender(asked, facts, 1), []
    encode = type(pipeline.pipe).encode_prompt

    def encode_prompt(self: Any, **given: Any) -> Any:
        read.append(given["instruction"])
        return encode(self, **given)

    monkeypatch.setattr(type(pipeline.pipe), "encode_prompt", encode_prompt)
    with torch.inference_mode():
        pipeline.denoise([section.task(pipeline)], lambda _done, _of: None)
    assert read == ["Generate the WOODWINDS track based on the audio context:"]
    text, _ = pipeline.pipe.texts(section.conditions)
    assert read[0] in text, "the words whose end is cut are those that are read"


@pytest.mark.parametrize(
    ("kind", "instruments", "track"),
    [
        (LayerKind.RHYTHM, (), "drums"),
        (LayerKind.RHYTHM, ("congas",), "percussion"),
        (LayerKind.BASS, ("cello",), "bass"),
        (LayerKind.HARMONY, ("rhodes",), "keyboard"),
        (LayerKind.HARMONY, ("nylon guitar",), "guitar"),
        (LayerKind.HARMONY, ("theremin",), "keyboard"),
        (LayerKind.LEAD, ("trumpet",), "brass"),
        (LayerKind.TEXTURES, (), "synth"),
        (LayerKind.TEXTURES, ("strings",), "strings"),
        (LayerKind.VOCALS, ("choir",), "backing_vocals"),
        (LayerKind.VOCALS, (), "vocals"),
    ],
)
def test_a_layer_has_the_models_name_of_its_track(kind: LayerKind, instruments: tuple[str, ...], track: str) -> None:
    asked = request(1.0, 1.0, layers=(Layer(kind, instruments),))
    assert conditions_of(replace(asked, layer_task=LayerTask.EXTRACT, task_layer=kind)).track == track
