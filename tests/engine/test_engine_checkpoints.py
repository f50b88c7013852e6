"""Checkpoints that are not what they say: refused with the place and the cure, and nothing in them is run."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.renderer.fake_hub import serving

from segue_renderer.model_hub import ModelHub
from segue_renderer.model_library import ModelLibrary
from segue_renderer.musicgen.loaded_model import load_model, open_folder
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Checkpoint


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for name, value in changes.items():
        part = content
        *parents, last = name.split("__")
        for parent in parents:
            part = part[parent]
        part[last] = value
    path.write_text(json.dumps(content))


def remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


HEAD = "decoder.lm_heads.1.weight"
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: remove(f / "model.safetensors"), "model.safetensors is not there"),
    "cut short": (lambda f: cut(f / "model.safetensors"), "damaged or cut short"),
    "a tensor is missing": (lambda f: rewrite(f, lambda t: t.pop(HEAD)), "lm_heads.1.weight is missing"),
    "a tensor too many": (
        lambda f: rewrite(f, lambda t: t.update({"decoder.extra.weight": torch.zeros(2)})),
        "belong to no part of this model: decoder.extra.weight",
    ),
    "another shape": (
        lambda f: rewrite(f, lambda t: t.update({HEAD: torch.zeros(64, 31)})),
        r"\[64, 31\], its configuration says \[64, 32\]",
    ),
    "not a number": (
        lambda f: rewrite(f, lambda t: t.update({HEAD: torch.full((64, 32), torch.nan)})),
        "not finite",
    ),
    "more layers than weights": (lambda f: configure(f, decoder__num_hidden_layers=3), "is missing"),
    "fewer layers than weights": (lambda f: configure(f, decoder__num_hidden_layers=1), "belong to no part"),
    "another kind of model": (lambda f: configure(f, model_type="bark"), "'bark' model"),
    "another activation": (lambda f: configure(f, decoder__activation_function="relu"), "activation_function"),
    "the codec does not fit": (lambda f: configure(f, decoder__audio_channels=2), "codebooks"),
    "a configuration that is no JSON": (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
    "no tokenizer": (
        lambda f: remove(f / "spiece.model", f / "tokenizer.json"),
        "tokenizer",
    ),
    "a damaged tokenizer": (lambda f: cut(f / "spiece.model"), "tokenizer cannot be read"),
    "a tokenizer of another model": (
        lambda f: configure(f, text_encoder__vocab_size=50),
        r"its tokenizer has \d+ tokens, its text encoder 50",
    ),
    "an index that leads out": (
        lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../other.safetensors"}}'),
        "not there",
    ),
    "an empty folder": (lambda f: remove(*f.iterdir()), "neither config.json"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_folder_is_refused_with_the_reason(
    what: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["mono"].folder, folder)
    damage, said = DAMAGED[what]
    damage(folder)
    with pytest.raises(errors.ModelInvalid, match=said):
        load_model(folder)


class Trap:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def resave(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


BIN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no codec": (lambda f: remove(f / "compression_state_dict.bin"), "it is not there"),
    "cut short": (lambda f: cut(f / "state_dict.bin"), "damaged or cut short"),
    "no text encoder": (lambda f: shutil.rmtree(f / "t5-base"), "t5-base"),
    "a tensor too many": (
        lambda f: resave(f / "state_dict.bin", lambda c: c["best_state"].update(extra=torch.zeros(1))),
        "extra belongs to no part",
    ),
    "a tensor is missing": (
        lambda f: resave(f / "state_dict.bin", lambda c: c["best_state"].pop("linears.2.weight")),
        "lm_heads.2.weight is missing",
    ),
    "no state": (lambda f: resave(f / "state_dict.bin", lambda c: c.pop("best_state")), "no best_state"),
}


@pytest.mark.parametrize("what", BIN)
def test_a_damaged_audiocraft_folder_is_refused_with_the_reason(
    what: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["mono"].audiocraft, folder)
    damage, said = BIN[what]
    damage(folder)
    with pytest.raises(errors.ModelInvalid, match=said):
        load_model(folder)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    zipped: bool, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder, mark = tmp_path / "model", tmp_path / "it-ran"
    shutil.copytree(checkpoints["mono"].audiocraft, folder)
    path = folder / "state_dict.bin"
    if zipped:
        torch.save({"best_state": {}, "xp.cfg": Trap(mark)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(errors.ModelInvalid):
        load_model(folder)
    assert not mark.exists()


def test_a_folder_that_is_not_there_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotInstalled, match="no such folder"):
        load_model(tmp_path / "nowhere")


def test_a_sharded_checkpoint_is_the_same_model(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["mono"].folder, folder)
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    files: dict[str, str] = {}
    for part in range(2):
        file = f"model-0000{part + 1}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names[part::2]}, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(names[part::2], file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert load_model(folder).config == load_model(checkpoints["mono"].folder).config


def test_a_folder_with_both_layouts_uses_the_complete_one(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["mono"].folder, folder)
    shutil.copytree(checkpoints["mono"].audiocraft, folder, dirs_exist_ok=True)
    whole = load_model(folder)
    assert whole.digest == load_model(checkpoints["mono"].folder).digest
    (folder / "model.safetensors").unlink()
    assert load_model(folder).digest == load_model(checkpoints["mono"].audiocraft).digest


def test_the_text_embedding_may_have_either_name(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoints["mono"].folder, folder)
    rewrite(
        folder,
        lambda t: t.update({"text_encoder.encoder.embed_tokens.weight": t.pop("text_encoder.shared.weight")}),
    )
    load_model(folder)


@pytest.mark.parametrize("layout", ["folder", "audiocraft"])
def test_a_pulled_model_equals_the_folder_of_the_hub(
    layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    source: Path = getattr(checkpoints["stereo"], layout)

    def repository(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    listed = {"facebook/musicgen-tiny": repository(source)}
    if layout == "audiocraft":
        listed |= {
            "google-t5/t5-base": repository(source / "t5-base"),
            "facebook/encodec_32khz": repository(source / "encodec_32khz"),
        }
    with serving(listed) as hub:
        library = ModelLibrary(tmp_path / "models", ModelHub(hub.address, tmp_path / "cache"))
        folder = library.pull(library.look_up("musicgen-tiny"), lambda *_: None)
    assert load_model(folder).digest == load_model(source).digest
    for path in sorted(folder.rglob("*.*")):
        content = path.read_bytes()
        if path.name == "segue-model.json":
            continue
        path.unlink()  # it is a link to the file in the cache
        # The end of a file of weights is weights: 100 other ones could not be seen otherwise.
        path.write_bytes(content[:-100] + bytes(each ^ 1 for each in content[-100:]))
        with pytest.raises(errors.ModelInvalid, match="checksum" if path.suffix == ".safetensors" else "."):
            load_model(folder)
        path.write_bytes(content)
    assert load_model(folder).digest == load_model(source).digest


@pytest.mark.parametrize("layout", ["folder", "audiocraft"])
@pytest.mark.parametrize("name", ["config.json", "spiece.model"])
def test_another_configuration_or_tokenizer_is_another_digest(
    name: str, layout: str, checkpoints: dict[str, Checkpoint], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(getattr(checkpoints["mono"], layout), folder)
    (path,) = [each for each in (folder / "t5-base" / name, folder / name) if each.is_file()]
    before = open_folder(folder).digest
    path.write_bytes(path.read_bytes() + (b" " if name == "config.json" else b"\x78\x01"))  # an unknown field
    assert open_folder(folder).digest != before
