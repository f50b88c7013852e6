"""Opens a model folder in the layout of diffusers: its family, sizes, files, licence and digest. No torch."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import safetensors

from segue_renderer import model_record
from segue_renderer.model_card import CARD, license_of
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INDEX: Final = "model_index.json"
CONFIG_BYTES: Final = 1 << 20
MOST_LAYERS: Final = 1024
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


@dataclass(frozen=True)
class Family:
    """A family of models: its pipelines in `model_index.json`, and the class of each part that is loaded."""

    name: str
    pipelines: tuple[str, ...]
    parts: Mapping[str, str]
    """By folder. The tokenizer is opened by transformers."""


ACE_STEP: Final = Family(
    "ACE-Step 1.5",
    ("AceStepPipeline",),
    {
        "vae": "AutoencoderOobleck",
        "text_encoder": "Qwen3Model",
        "transformer": "AceStepTransformer1DModel",
        "condition_encoder": "AceStepConditionEncoder",
        "scheduler": "FlowMatchEulerDiscreteScheduler",
    },
)
STABLE_AUDIO: Final = Family(
    "Stable Audio 3",
    ("StableAudio3Pipeline", "StableAudio3InpaintPipeline"),
    {
        "vae": "AutoencoderSAME",
        "text_encoder": "T5GemmaEncoderModel",
        "transformer": "StableAudio3DiTModel",
        "duration_embedder": "StableAudio3DurationEmbedder",
        "scheduler": "FlowMatchEulerDiscreteScheduler",
    },
)
FAMILIES: Final = (ACE_STEP, STABLE_AUDIO)
WITHOUT_WEIGHTS: Final = ("scheduler",)
TOKENIZER: Final = "tokenizer"


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder whose files are those of a known family; its weights are not read yet."""

    path: Path
    family: Family
    configs: Mapping[str, Mapping[str, Any]]
    """The configuration of each part, by its folder."""

    @classmethod
    def open(cls, path: Path) -> DiffusersFolder:
        """Open a folder; ModelNotInstalled and ModelInvalid say what is wrong with it."""
        if not path.is_dir():
            raise errors.ModelNotInstalled(
                f"{path}: there is no such folder; give the folder of a model in the layout of diffusers"
            )
        index = read_json(path / INDEX)
        family = _family_of(path, index)
        _check_files(path, family)
        configs = {name: _config_of(path / name) for name in family.parts}
        folder = cls(path, family, configs)
        _check_weights(folder)
        return folder

    @property
    def digest(self) -> str:
        """One digest of weights, configurations and tokenizer. All files are read, and compared with a record."""
        files = [*self.weights(), self.path / INDEX]
        files += [each for name in self.family.parts for each in (self.path / name).glob("*.json")]
        files += [each for each in (self.path / TOKENIZER).iterdir() if each.is_file()]
        return model_record.opened_digest(self.path, dict.fromkeys(files))

    @property
    def license(self) -> str:
        """The licence that the folder's card names, or `unknown`."""
        return license_of(self.path / CARD)

    def weights(self) -> Iterator[Path]:
        """Yield the files with weights of all parts."""
        for name in self.family.parts:
            if name not in WITHOUT_WEIGHTS:
                yield from sorted((self.path / name).glob("*.safetensors"))

    @property
    def num_bytes(self) -> int:
        """The size of the weights in their files."""
        return sum(path.stat().st_size for path in self.weights())


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration."""
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise errors.ModelInvalid(f"{path}: it is larger than {CONFIG_BYTES} bytes, which no configuration is")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.ModelInvalid(f"{path}: it is not there; a folder in the layout of diffusers has it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise errors.ModelInvalid(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise errors.ModelInvalid(f"{path}: it holds no configuration")
    return content


def _family_of(path: Path, index: Mapping[str, Any]) -> Family:
    pipeline = index.get("_class_name")
    family = next((each for each in FAMILIES if pipeline in each.pipelines), None)
    if family is None:
        known = ", ".join(name for each in FAMILIES for name in each.pipelines)
        raise errors.ModelInvalid(
            f"{path / INDEX}: the pipeline {_shown(pipeline)} is not known; the known ones are {known}"
        )
    for name, wanted in family.parts.items():
        entry = index.get(name)
        if not isinstance(entry, list) or len(entry) != 2 or entry[1] != wanted:
            raise errors.ModelInvalid(f"{path / INDEX}: {name} is {_shown(entry)}; {family.name} has {wanted} there")
    return family


def _shown(value: object) -> str:
    return repr(value)[:100]


def _check_files(path: Path, family: Family) -> None:
    for name in (*family.parts, TOKENIZER):
        part = path / name
        if not part.is_dir():
            raise errors.ModelInvalid(f"{part}: this part is not there; is the download complete?")
        code = next((each for each in sorted(part.iterdir()) if each.suffix == ".py"), None)
        if code is not None:
            raise errors.ModelInvalid(f"{code}: the folder brings code of its own, which is never run; remove it")
    if "auto_map" in read_json(path / TOKENIZER / "tokenizer_config.json"):
        raise errors.ModelInvalid(f"{path / TOKENIZER}: its tokenizer needs code of its own, which is never run")


def _config_of(part: Path) -> dict[str, Any]:
    name = "scheduler_config.json" if part.name == "scheduler" else "config.json"
    config = read_json(part / name)
    if "auto_map" in config:
        raise errors.ModelInvalid(f"{part / name}: the model needs code of its own, which is never run")
    for key, value in config.items():
        is_depth = "layers" in key or "depth" in key
        if is_depth and isinstance(value, int) and not 0 <= value <= MOST_LAYERS:
            raise errors.ModelInvalid(f"{part / name}: {key} is {_shown(value)}; at most {MOST_LAYERS} are possible")
    return config


def _check_weights(folder: DiffusersFolder) -> None:
    for name in folder.family.parts:
        if name in WITHOUT_WEIGHTS:
            continue
        part = folder.path / name
        paths = sorted(part.glob("*.safetensors"))
        if not paths:
            pickled = next((each.name for each in sorted(part.iterdir()) if each.suffix in PICKLES), "")
            why = f"only {pickled} is there, and pickles are not opened" if pickled else "is the download complete?"
            raise errors.ModelInvalid(f"{part}: there are no safetensors weights; {why}")
        for path in paths:
            try:
                # The header says how long the file is; its values are read later.
                with safetensors.safe_open(str(path), framework="numpy"):
                    pass
            except (safetensors.SafetensorError, OSError) as error:
                raise errors.ModelInvalid(f"{path}: damaged or cut short: {error}") from error
        _check_shards(part)


def _check_shards(part: Path) -> None:
    for index in part.glob("*.safetensors.index.json"):
        shards = read_json(index).get("weight_map", {})
        names = set(shards.values()) if isinstance(shards, dict) else set()
        missing = sorted(str(name) for name in names if not (part / Path(str(name)).name).is_file())
        if missing or any(Path(str(name)).name != name for name in names):
            raise errors.ModelInvalid(f"{index}: {', '.join(missing[:3])}: not there; is the download complete?")


def positive(config: Mapping[str, Any], key: str, default: int, part: str) -> int:
    """Return a number of a configuration; ModelInvalid if it cannot be one."""
    value = config.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise errors.ModelInvalid(f"{part}: {key} is {_shown(value)}")
    return value


def product(config: Mapping[str, Any], key: str, default: list[int], part: str) -> int:
    """Return the product of a list of numbers of a configuration."""
    values = config.get(key, default)
    if not isinstance(values, list) or not all(isinstance(each, int) and 0 < each < 1 << 16 for each in values):
        raise errors.ModelInvalid(f"{part}: {key} is {_shown(values)}")
    return math.prod(values)
