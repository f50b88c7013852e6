"""What is opened and what is refused: licences, damaged and hostile folders, models of other releases."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.audiocraft.serving import make_backend

from segue_renderer.audiocraft import factory, stand_ins
from segue_runtime import errors, failpoints
from segue_runtime.settings import Settings, replace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CARD = "---\nlicense: cc-by-nc-4.0\ntags:\n- music\n---\n\n# A model\nlicense: mit\n"


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(folders["mono"], tmp_path / "model")


@pytest.mark.parametrize(
    ("card", "license"), [(CARD, "cc-by-nc-4.0"), ("# No front matter", "unknown"), (None, "unknown")]
)
async def test_the_licence_is_that_of_the_card_and_never_guessed(card: str | None, license: str, copied: Path) -> None:  # noqa: A002  the word
    if card is not None:
        (copied / "README.md").write_text(card)
    backend = make_backend(copied, copied)
    await backend.describe()
    (profile,) = backend.profiles
    assert profile.weights_license == license
    assert (profile.window_ns, profile.stride_ns, profile.grid_ns) == (3_200_000_000, 1_920_000_000, 20_000_000)
    assert profile.memory_bytes == 0, "nothing is loaded"


@pytest.mark.slow
async def test_loading_measures_and_changes_nothing_else(copied: Path) -> None:
    backend = make_backend(copied, copied)
    await backend.describe()
    (described,) = backend.profiles
    await backend.load()
    (loaded,) = backend.profiles
    await backend.close()
    assert loaded.real_time_factor > 0
    assert loaded.memory_bytes > 100_000
    assert (loaded.model_digest, loaded.engine_version) == (described.model_digest, described.engine_version)


async def test_no_memory_to_load_is_named_and_a_second_try_loads(copied: Path) -> None:
    backend = make_backend(copied, copied)
    failpoints.arm("audiocraft.load_memory=error")
    with pytest.raises(errors.OutOfMemory, match="smaller model"):
        await backend.load()
    failpoints.arm("")
    backend = make_backend(copied, copied)
    await backend.load()
    await backend.close()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit",))


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the content of state_dict.bin."""

    def write(folder: Path) -> None:
        path = folder / "state_dict.bin"
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return write


def said(old: str, new: str) -> Callable[[Path], None]:
    """Change the settings in state_dict.bin."""

    def change(content: dict[str, Any]) -> None:
        assert old in content["xp.cfg"]
        content["xp.cfg"] = content["xp.cfg"].replace(old, new)

    return rewritten(change)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no language model": (lambda folder: (folder / "state_dict.bin").unlink(), "state_dict.bin is not there"),
    "no codec": (lambda folder: (folder / "compression_state_dict.bin").unlink(), "compression_state_dict.bin"),
    "no text encoder": (lambda folder: shutil.rmtree(folder / "t5-base"), "t5-base"),
    "cut short": (lambda folder: cut(folder / "state_dict.bin"), "damaged or cut short"),
    "code in a pickle": (lambda folder: pickled(folder / "state_dict.bin"), "none of its code was run"),
    "code in the codec": (lambda folder: pickled(folder / "compression_state_dict.bin"), "none of its code was run"),
    "JASCO": (said("lm_model: transformer_lm", "lm_model: flow_model"), "no JASCO"),
    "a style model": (
        said("    model: t5\n", "    model: t5\n  self_wav:\n    model: style\n"), "contains no style models"
    ),
    "a table of words": (said("    model: t5\n", "    model: lut\n"), "has the model 'lut'"),
    "a variable of the process": (said("norm: layer_norm", "norm: ${oc.env:HOME}"), "outside of them"),
    "another size": (said("  dim: 32", "  dim: 32768"), "the settings say transformer_lm.dim 32768"),
    "more layers": (said("num_layers: 2", "num_layers: 2000"), "num_layers 2000"),
    "an endless window": (said("segment_duration: 3.2", "segment_duration: 1.0e9"), "segment_duration"),
    "no window": (said("segment_duration: 3.2", "segment_duration: 0.01"), "window has 0 frames"),
    "settings that are no settings": (said("dora:", "dora: [\n- {"), "xp.cfg"),
    "a tokenizer of another model": (
        lambda folder: configure(folder / "t5-base", vocab_size=50),
        r"its tokenizer has \d+ tokens, its text encoder 50",
    ),
    "a text encoder cut short": (lambda folder: cut(folder / "t5-base" / "model.safetensors"), "damaged or cut short"),
    "a damaged tokenizer": (lambda folder: cut(folder / "t5-base" / "spiece.model"), "tokenizer cannot be read"),
    "no settings": (rewritten(lambda content: content.pop("xp.cfg")), "lm_model is None"),
}  # fmt: skip


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickled(path: Path) -> None:
    torch.save({"best_state": Hostile()}, path)


@pytest.mark.parametrize("what", REFUSED)
async def test_a_folder_that_cannot_be_played_is_refused_before_it_is_loaded(what: str, copied: Path) -> None:
    spoil, text = REFUSED[what]
    spoil(copied)
    with pytest.raises(errors.ModelInvalid, match=text):
        await make_backend(copied, copied).describe()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("norm: layer_norm", "norm: no_such_norm"),
        ("num_heads: 4", "num_heads: 5"),
        ("normalize_text: false", "normalize_text: true"),
        ("name: t5-base", "names: t5-base"),
    ],
)
async def test_settings_that_audiocraft_cannot_build_are_refused_with_its_reason(
    old: str, new: str, copied: Path
) -> None:
    said(old, new)(copied)
    backend = make_backend(copied, copied)
    with pytest.raises(errors.ModelInvalid):
        await backend.load()
    await backend.close()


def test_no_model_and_no_package_are_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.ModelNotInstalled, match=r"renderer\.audiocraft\.model"):
        factory.make_backend(Settings(home=tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(errors.ModelNotInstalled, match="make setup-audiocraft"):
        factory.make_backend(replace(Settings(home=tmp_path), renderer__audiocraft__model="model"))


@pytest.mark.parametrize("mask", ["none", "causal", "bias"])
def test_the_stand_in_for_attention_computes_attention(mask: str) -> None:
    query, key, value = torch.randn(3, 2, 5, 4, 8, generator=torch.Generator().manual_seed(1))
    bias = torch.zeros(2, 4, 5, 5)
    if mask == "bias":
        bias[..., 2:, :2] = float("-inf")
    if mask == "causal":
        bias += torch.full((5, 5), float("-inf")).triu(1)
    given = {"none": None, "causal": stand_ins.LowerTriangularMask(), "bias": bias}[mask]
    weights = (torch.einsum("bthd,bkhd->bhtk", query, key) / 8**0.5 + bias).softmax(dim=-1)
    expected = torch.einsum("bhtk,bkhd->bthd", weights, value)
    found = stand_ins.memory_efficient_attention(query, key, value, given)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_package_that_is_there_is_not_replaced() -> None:
    assert stand_ins.provide_missing_packages(["xformers"]) in (["xformers"], [])
    assert stand_ins.provide_missing_packages(["xformers"]) == []
