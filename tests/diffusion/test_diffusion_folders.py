"""Folders that are not models, half of one, or hostile: each is refused with a clear message."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.diffusion.playing import render, serving

from segue_renderer.diffusion.backend import DiffusionBackend
from segue_renderer.diffusion.folder import DiffusersFolder
from segue_renderer.registry import make_backend
from segue_runtime import errors, failpoints
from segue_runtime.settings import DiffusionSettings, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def edit(path: Path, **values: Any) -> None:
    content = json.loads(path.read_text())
    content.update(values)
    path.write_text(json.dumps(content))


def weights(folder: Path, part: str = "transformer") -> Path:
    return next((folder / part).glob("*.safetensors"))


def changed_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = weights(folder)
    tensors = safetensors.numpy.load_file(path)
    change(tensors)
    safetensors.numpy.save_file(tensors, path)


def cut_short(folder: Path) -> None:
    path = weights(folder)
    path.write_bytes(path.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    path = weights(folder)
    path.unlink()
    torch.save({"a": torch.zeros(1)}, folder / "transformer" / "diffusion_pytorch_model.bin")


def more_words(path: Path) -> None:
    """Give a tokenizer more words than the text encoder knows."""
    content = json.loads(path.read_text())
    known = content["model"]["vocab"]
    known.update({f"word{index}": index for index in range(len(known), 1000)})
    path.write_text(json.dumps(content))


def shard_missing(folder: Path) -> None:
    """Leave the first of two files of weights, as a broken download does."""
    path = weights(folder)
    tensors = safetensors.numpy.load_file(path)
    names = sorted(tensors)
    files = {name: f"{path.stem}-0000{number % 2 + 1}-of-00002.safetensors" for number, name in enumerate(names)}
    index = {"metadata": {"total_size": path.stat().st_size}, "weight_map": files}
    path.with_name(f"{path.name}.index.json").write_text(json.dumps(index))
    first = {name: tensors[name] for name in names[::2]}
    safetensors.numpy.save_file(first, path.with_name(files[names[0]]))
    path.unlink()


def not_finite(tensors: dict[str, Any]) -> None:
    name = min(tensors)
    tensors[name] = np.full_like(tensors[name], np.nan)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (lambda f: (f / "model_index.json").unlink(), "model_index.json: it is not there"),
    "no JSON": (lambda f: (f / "model_index.json").write_text("{"), "cannot be read"),
    "a list": (lambda f: (f / "model_index.json").write_text("[]"), "holds no configuration"),
    "a huge index": (lambda f: (f / "model_index.json").write_text("{}" + " " * (1 << 20)), "larger than"),
    "another pipeline": (
        lambda f: edit(f / "model_index.json", _class_name="StableDiffusionPipeline"),
        "'StableDiffusionPipeline' is not known; the known ones are AceStepPipeline",
    ),
    "a pipeline of its own": (lambda f: edit(f / "model_index.json", _class_name=["own", "Own"]), "is not known"),
    "a part of another class": (
        lambda f: edit(f / "model_index.json", vae=["os", "system"]),
        "vae is .* has AutoencoderOobleck there",
    ),
    "a part is missing": (lambda f: shutil.rmtree(f / "vae"), "vae: this part is not there"),
    "its own code": (lambda f: (f / "transformer" / "own.py").write_text("import os"), "code of its own"),
    "a tokenizer with code": (
        lambda f: edit(f / "tokenizer" / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]}),
        "tokenizer needs code of its own",
    ),
    "a text encoder with code": (lambda f: edit(f / "text_encoder" / "config.json", auto_map={}), "code of its own"),
    "endless layers": (
        lambda f: edit(f / "transformer" / "config.json", num_hidden_layers=10**9),
        "num_hidden_layers is 1000000000",
    ),
    "no length": (lambda f: edit(f / "vae" / "config.json", downsampling_ratios=[2, 0]), "downsampling_ratios"),
    "no rate": (lambda f: edit(f / "vae" / "config.json", sampling_rate="fast"), "sampling_rate is 'fast'"),
    "a pickle": (pickled, "no safetensors weights; only diffusion_pytorch_model.bin is there, and pickles"),
    "no weights": (lambda f: weights(f).unlink(), "is the download complete"),
    "a file cut short": (cut_short, "damaged or cut short"),
    "no safetensors": (lambda f: weights(f).write_bytes(b"hello, world" * 9), "damaged or cut short"),
    "a missing tensor": (
        lambda f: changed_weights(f, lambda tensors: tensors.pop(min(tensors))),
        "missing weights",
    ),
    "a tensor of another model": (
        lambda f: changed_weights(f, lambda tensors: tensors.update(norm_out=np.zeros(3, np.float32), **{
            "time_embed.linear_1.weight": np.zeros((3, 3), np.float32)})),
        "cannot be loaded|mismatched weights",
    ),
    "weights that are not numbers": (lambda f: changed_weights(f, not_finite), "not finite"),
    "no tokenizer": (lambda f: (f / "tokenizer" / "tokenizer.json").write_text("{}"), "tokenizer: cannot be loaded"),
    "a tokenizer of another model": (
        lambda f: more_words(f / "tokenizer" / "tokenizer.json"),
        r"it has \d+ tokens, the text encoder 400; the tokenizer is another model's",
    ),
    "a shard that is missing": (shard_missing, "cannot be loaded|is the download complete"),
    "a shard that leads out": (
        lambda f: (f / "vae" / "x.safetensors.index.json").write_text('{"weight_map": {"a": "../../x.safetensors"}}'),
        "is the download complete",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_folder_that_is_no_model_is_refused(what: str, models: dict[str, Path], tmp_path: Path) -> None:
    change, said = HOSTILE[what]
    folder = shutil.copytree(models["ace-step"], tmp_path / "model")
    change(folder)
    backend = DiffusionBackend(DiffusionSettings(model=str(folder)))
    with pytest.raises(errors.ModelInvalid, match=said):
        await backend.load()
    await backend.close()


CARDS = {
    "---\nlicense: apache-2.0\n---\n": "apache-2.0",
    "---\ntags: [x]\nlicense: 'cc-by-nc-4.0'\n---\n": "cc-by-nc-4.0",
    "---\nlicense: other\nlicense_name: stabilityai-community\n---\n": "stabilityai-community",
    "---\nlicense: other\n---\n": "other",
    "---\ntags: [x]\n---\nlicense: mit\n": "unknown",
    "license: mit\n": "unknown",
    "---\nlicense: [mit, x]\n---\n": "unknown",
    "---\nlicense: <script>\n---\n": "unknown",
    "": "unknown",
}


def test_the_licence_is_the_cards_and_never_guessed(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["ace-step"], tmp_path / "model")
    found = {}
    for card in CARDS:
        (folder / "README.md").write_text(card)
        found[card] = DiffusersFolder.open(folder).license
    assert found == CARDS
    (folder / "README.md").unlink()
    assert DiffusersFolder.open(folder).license == "unknown"


def test_the_digest_changes_with_every_file_that_changes_the_music(models: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(models["ace-step"], tmp_path / "model")
    digests = [DiffusersFolder.open(folder).digest]
    (folder / "README.md").write_text("")
    assert DiffusersFolder.open(folder).digest == digests[0], "the card is no part of the model"
    changes: tuple[Callable[[], None], ...] = (
        lambda: changed_weights(folder, lambda tensors: tensors.update({(n := min(tensors)): tensors[n] + 1})),
        lambda: edit(folder / "scheduler" / "scheduler_config.json", shift=2.0),
        lambda: edit(folder / "transformer" / "config.json", rope_theta=1000.0),
        lambda: edit(folder / "tokenizer" / "tokenizer_config.json", padding_side="left"),
    )
    for change in changes:
        change()
        digests.append(DiffusersFolder.open(folder).digest)
    assert len(set(digests)) == len(digests)


SETTINGS: dict[str, tuple[dict[str, Any], type[errors.SegueError], str]] = {
    "no model": ({}, errors.ModelNotInstalled, "give the folder"),
    "no such GPU": ({"model": "x", "device": "cuda:7"}, errors.DeviceRequired, "not available; use cpu"),
    "fp16 on the CPU": ({"model": "x", "device": "cpu", "precision": "fp16"}, errors.DeviceRequired, "bf16 or fp32"),
    "offload on the CPU": ({"model": "x", "device": "cpu", "offload": "parts"}, errors.DeviceRequired, "use none"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_impossible_settings_name_a_remedy(what: str, tmp_path: Path) -> None:
    given, kind, said = SETTINGS[what]
    flags = {f"renderer.diffusion.{name}": value for name, value in given.items()}
    with pytest.raises(kind, match=said):
        make_backend(load({"home": tmp_path, "renderer.backend": "diffusion", **flags}, environ={}, folder=tmp_path))


async def test_a_model_is_found_by_its_name_among_the_pulled_ones(models: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(models["stable-audio"], tmp_path / "models" / "small")
    flags = {"home": tmp_path, "renderer.backend": "diffusion", "renderer.diffusion.model": "small"}
    backend = make_backend(load(flags, environ={}, folder=tmp_path))
    await backend.describe()
    assert backend.profiles[0].model == "small"
    await backend.close()


async def test_precision_and_steps_are_part_of_the_engine_version(models: dict[str, Path], tmp_path: Path) -> None:
    versions = []
    for steps, precision in ((0, "fp32"), (3, "fp32"), (3, "bf16")):
        async with serving(models["stable-audio"], tmp_path, steps=steps, precision=precision) as (stub, backend):
            versions.append(backend.profiles[0].engine_version)
            assert (await render(stub)).finished.frames > 0
    assert len(set(versions)) == 3


async def test_a_lack_of_memory_and_a_lost_device_are_told_apart(models: dict[str, Path], tmp_path: Path) -> None:
    failpoints.arm("diffusion.load_memory=error")
    backend = DiffusionBackend(DiffusionSettings(model=str(models["stable-audio"])))
    with pytest.raises(errors.OutOfMemory, match=r"renderer\.diffusion\.precision bf16"):
        await backend.load()
    await backend.close()
    failpoints.arm("")
    async with serving(models["stable-audio"], tmp_path) as (stub, backend):
        for point, kind in (("step_memory", errors.OutOfMemory), ("step", errors.DeviceLost)):
            failpoints.arm(f"diffusion.{point}=error")
            with pytest.raises(kind):
                await _refused(stub)
            failpoints.arm("")
            assert len((await render(stub)).samples) > 0
            assert backend.status().healthy
        failpoints.arm("diffusion.step=error")
        for _ in range(2):
            with pytest.raises(errors.DeviceLost):
                await _refused(stub)
        assert not backend.status().healthy, "the host loads it again"


async def _refused(stub: Any) -> None:
    import grpc

    try:
        await render(stub)
    except grpc.aio.AioRpcError as error:
        raise errors.from_rpc_error(error) from error
