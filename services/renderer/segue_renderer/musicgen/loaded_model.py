"""Loads a model folder in either published layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from segue_renderer import model_record
from segue_renderer.musicgen.checkpoint import audiocraft, files, huggingface
from segue_renderer.musicgen.model import tokenizer
from segue_renderer.musicgen.model.codec import Codec
from segue_renderer.musicgen.model.decoder import Decoder
from segue_renderer.musicgen.model.linear import FloatLinear
from segue_renderer.musicgen.model.prompt_encoder import PromptEncoder
from segue_renderer.musicgen.model.text_encoder import TextEncoder
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from segue_renderer.musicgen.checkpoint.tensors import Tensors
    from segue_renderer.musicgen.config import ModelConfig
    from segue_renderer.musicgen.model.tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """All networks of a model, loaded."""

    config: ModelConfig
    prompts: PromptEncoder
    melody_projection: FloatLinear | None
    decoder: Decoder
    codec: Codec
    digest: str
    num_bytes: int
    """The size of the weights on the device."""


@dataclass(frozen=True)
class ModelFolder:
    """A model folder, opened: its sizes are known, its weights are not read."""

    folder: Path
    config: ModelConfig
    tensors: Tensors
    tokenizer: Tokenizer
    paths: list[Path]

    @property
    def digest(self) -> str:
        """The digest of weights, configuration and tokenizer. All files are read, and compared with a pull's record."""
        return model_record.opened_digest(self.folder, self.paths)


def open_folder(folder: Path) -> ModelFolder:
    """Open a folder in either layout; ModelNotInstalled and ModelInvalid say what is wrong with it."""
    if not folder.is_dir():
        raise errors.ModelNotInstalled(
            f"{folder}: there is no such folder; give the folder of a MusicGen model, or fetch a model: "
            "segued models pull musicgen-small"
        )
    in_pickles = (folder / audiocraft.LANGUAGE_MODEL).is_file()
    if (folder / "config.json").is_file() and (files.weight_files(folder)[0].is_file() or not in_pickles):
        config, text_folder = huggingface.model_config(folder / "config.json"), folder
        paths = huggingface.paths(folder)
        if not files.weight_files(folder)[0].is_file():
            raise errors.ModelInvalid(f"{folder}: model.safetensors is not there; is the download complete?")
        tensors = huggingface.tensors(folder)
    elif in_pickles:
        config, tensors, text_folder = audiocraft.open_folder(folder)
        paths = audiocraft.paths(folder)
    else:
        raise errors.ModelInvalid(
            f"{folder}: neither config.json with model.safetensors (Hugging Face) nor "
            f"{audiocraft.LANGUAGE_MODEL} with {audiocraft.CODEC} (audiocraft) is there"
        )
    found = tokenizer.Tokenizer.open(text_folder)
    _check(config, found, folder)
    return ModelFolder(folder, config, tensors, found, [*paths, tokenizer.file_of(text_folder)])


def load_model(folder: Path, *, precision: str = "fp32", device: torch.device | None = None) -> LoadedModel:
    """Load a folder; ModelNotInstalled and ModelInvalid say what is wrong with it."""
    device = device or torch.device("cpu")
    with torch.no_grad():
        opened = open_folder(folder)
        config, tensors = opened.config, opened.tensors
        decoder_size = config.decoder.hidden_size
        projection = melody_projection = None
        if config.text.hidden_size != decoder_size or "enc_to_dec_proj.weight" in tensors:
            projection = _projection(tensors, "enc_to_dec_proj", decoder_size, config.text.hidden_size, device)
        if config.melody is not None:
            melody_projection = _projection(
                tensors, "audio_enc_to_dec_proj", decoder_size, config.melody.num_chroma, device
            )
        text_encoder = TextEncoder(config.text, tensors.scoped("text_encoder"), device)
        model = LoadedModel(
            config=config,
            prompts=PromptEncoder(opened.tokenizer, text_encoder, projection),
            melody_projection=melody_projection,
            decoder=Decoder(config.decoder, tensors.scoped("decoder"), precision=precision, device=device),
            codec=Codec(config.codec, tensors.scoped("audio_encoder"), device),
            digest=opened.digest,
            num_bytes=0,
        )
        tensors.finish()
        width = {"fp32": 4, "int8": 1}.get(precision, 2)
        rest = tensors.count("text_encoder") + tensors.count("audio_encoder")
        return replace(model, num_bytes=4 * rest + width * tensors.count("decoder"))


def _projection(tensors: Tensors, name: str, outward: int, inward: int, device: torch.device) -> FloatLinear:
    weight, bias = tensors.pop(f"{name}.weight", outward, inward), tensors.pop(f"{name}.bias", outward)
    return FloatLinear(weight.to(device), bias.to(device))


def _check(config: ModelConfig, found: Tokenizer, folder: Path) -> None:
    decoder, codec = config.decoder, config.codec
    found.check_size(config.text.vocab_size, folder)
    if decoder.num_codebooks != codec.num_codebooks * decoder.channels or decoder.codebook_size != codec.codebook_size:
        raise errors.ModelInvalid(
            f"{folder}: the decoder has {decoder.num_codebooks} codebooks of {decoder.codebook_size} for "
            f"{decoder.channels} channels, the codec {codec.num_codebooks} of {codec.codebook_size}"
        )
    if decoder.hidden_size % decoder.num_heads or config.decoder.prefix != (config.melody is not None):
        raise errors.ModelInvalid(f"{folder}: its sizes do not fit together")
