"""The audiocraft layout: state_dict.bin and compression_state_dict.bin, with a text encoder in a folder of its own."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from segue_renderer.musicgen.checkpoint import files, huggingface, plain_yaml
from segue_renderer.musicgen.checkpoint.tensors import Tensors
from segue_renderer.musicgen.config import CodecConfig, DecoderConfig, MelodyConfig, ModelConfig
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from segue_renderer.musicgen.checkpoint.tensors import Loader

LANGUAGE_MODEL: Final = "state_dict.bin"
CODEC: Final = "compression_state_dict.bin"
TEXT_FOLDERS: Final = ("t5-base", "t5")
CODEC_FOLDER: Final = "encodec_32khz"
RENAMED: Final = (
    (re.compile(r"emb\.(\d+)\.weight"), r"decoder.embed_tokens.\1.weight"),
    (re.compile(r"linears\.(\d+)\.weight"), r"decoder.lm_heads.\1.weight"),
    (re.compile(r"out_norm\.(weight|bias)"), r"decoder.layer_norm.\1"),
    (re.compile(r"condition_provider\.conditioners\.description\.output_proj\.(\w+)"), r"enc_to_dec_proj.\1"),
    (re.compile(r"condition_provider\.conditioners\.self_wav\.output_proj\.(\w+)"), r"audio_enc_to_dec_proj.\1"),
    (re.compile(r"transformer\.layers\.(\d+)\.linear([12])\.weight"), r"decoder.layers.\1.fc\2.weight"),
    (re.compile(r"transformer\.layers\.(\d+)\.norm1\.(\w+)"), r"decoder.layers.\1.self_attn_layer_norm.\2"),
    (re.compile(r"transformer\.layers\.(\d+)\.norm_cross\.(\w+)"), r"decoder.layers.\1.encoder_attn_layer_norm.\2"),
    (re.compile(r"transformer\.layers\.(\d+)\.norm2\.(\w+)"), r"decoder.layers.\1.final_layer_norm.\2"),
    (
        re.compile(r"transformer\.layers\.(\d+)\.self_attn\.out_proj\.weight"),
        r"decoder.layers.\1.self_attn.out_proj.weight",
    ),
    (
        re.compile(r"transformer\.layers\.(\d+)\.cross_attention\.out_proj\.weight"),
        r"decoder.layers.\1.encoder_attn.out_proj.weight",
    ),
)
FUSED: Final = re.compile(r"transformer\.layers\.(\d+)\.(self_attn|cross_attention)\.in_proj_weight")
# The table of a transform; it is computed again.
UNUSED: Final = {"condition_provider.conditioners.self_wav.chroma.spec.window"}
CODEC_NAMES: Final = (
    (re.compile(r"\b(encoder|decoder)\.model\."), r"\1.layers."),
    (re.compile(r"\.(conv|convtr)\.\1\."), ".conv."),
    (re.compile(r"quantizer\.vq\.layers\.(\d+)\._codebook\."), r"quantizer.layers.\1.codebook."),
)


def open_folder(folder: Path) -> tuple[ModelConfig, Tensors, Path]:
    """Return configuration, tensors and the folder of the tokenizer."""
    content = _state(folder / LANGUAGE_MODEL)
    encoder_folder = text_folder(folder)
    found: dict[str, Loader] = {}
    for name, tensor in content["best_state"].items():
        found |= _renamed(name, tensor, folder / LANGUAGE_MODEL)
    codec, of_codec = _codec(folder)
    found |= of_codec
    for name, loader in files.open_safetensors(files.weight_files(encoder_folder)).items():
        # A full T5 also has a decoder, which is not used here.
        if name.startswith(("encoder.", "shared.")):
            found[f"text_encoder.{name}"] = loader
    opened = Tensors(str(folder), found)
    for name in found:
        if huggingface.is_unused(name):
            opened.drop(name)
    text_path = encoder_folder / "config.json"
    config = ModelConfig(
        decoder=_decoder(content, folder),
        text=huggingface.text_config(files.read_json(text_path), text_path),
        codec=codec,
        melody=_melody(content),
    )
    return config, opened, encoder_folder


def paths(folder: Path) -> list[Path]:
    """Return the files of configuration and weights."""
    found = [folder / LANGUAGE_MODEL, folder / CODEC]
    codec_folder = folder / CODEC_FOLDER
    for more in (text_folder(folder), *([codec_folder] if codec_folder.is_dir() else [])):
        found += [more / "config.json", *files.weight_files(more)]
    return found


def _state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise errors.ModelInvalid(f"{path}: it is not there; a model needs both {LANGUAGE_MODEL} and {CODEC}")
    content = files.open_pickle(path)
    if "pretrained" not in content and not isinstance(content.get("best_state"), dict):
        raise errors.ModelInvalid(f"{path}: it has no best_state; did audiocraft export it?")
    return content


def settings_of(content: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with which the model was trained; references in them are not resolved."""
    written = content.get("xp.cfg")
    if not isinstance(written, str):
        return {}
    try:
        return plain_yaml.parse(written)
    except plain_yaml.YamlError as error:
        raise errors.ModelInvalid(f"its xp.cfg cannot be read: {error}") from error


def text_folder(folder: Path) -> Path:
    """Return the folder of the text encoder: inside the model's folder, or beside it."""
    for parent in (folder, folder.parent):
        for name in TEXT_FOLDERS:
            if (parent / name / "config.json").is_file():
                return parent / name
    raise errors.ModelInvalid(
        f"{folder}: an audiocraft checkpoint comes without its text encoder; put the published t5-base "
        f"(config.json, model.safetensors, spiece.model) into {folder / 't5-base'}"
    )


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _third(tensor: torch.Tensor, index: int) -> torch.Tensor:
    return tensor.chunk(3)[index]


def _renamed(name: str, tensor: torch.Tensor, path: Path) -> dict[str, Loader]:
    match = FUSED.fullmatch(name)
    if match:
        kind = "self_attn" if match[2] == "self_attn" else "encoder_attn"
        return {
            f"decoder.layers.{match[1]}.{kind}.{part}_proj.weight": partial(_third, tensor, index)
            for index, part in enumerate("qkv")
        }
    for pattern, replacement in RENAMED:
        if pattern.fullmatch(name):
            return {pattern.sub(replacement, name): partial(_whole, tensor)}
    if name in UNUSED:
        return {}
    raise errors.ModelInvalid(f"{path}: the tensor {name} belongs to no part of a MusicGen model")


def _decoder(content: dict[str, Any], folder: Path) -> DecoderConfig:
    state, settings = content["best_state"], settings_of(content)
    try:
        rows, hidden = state["emb.0.weight"].shape
        ffn = state["transformer.layers.0.linear1.weight"].shape[0]
    except KeyError as error:
        raise errors.ModelInvalid(f"{folder / LANGUAGE_MODEL}: the tensor {error} is missing") from error
    heads = plain_yaml.lookup(settings, "transformer_lm.num_heads")
    stereo = plain_yaml.lookup(settings, "interleave_stereo_codebooks.use")
    layers = {int(match[1]) for name in state if (match := re.match(r"transformer\.layers\.(\d+)\.", name))}
    return DecoderConfig(
        codebook_size=int(rows) - 1,
        hidden_size=int(hidden),
        num_layers=len(layers),
        num_heads=heads if isinstance(heads, int) else int(hidden) // 64,
        ffn_size=int(ffn),
        num_codebooks=sum(name.startswith("emb.") for name in state),
        channels=2 if stereo is True else 1,
        prefix="transformer.layers.0.cross_attention.in_proj_weight" not in state,
    )


def _melody(content: dict[str, Any]) -> MelodyConfig | None:
    key = "condition_provider.conditioners.self_wav.output_proj.weight"
    if key not in content["best_state"]:
        return None
    settings = settings_of(content)
    exponent, duration_s, rate = (
        plain_yaml.lookup(settings, path)
        for path in (
            "conditioners.self_wav.chroma_stem.radix2_exp",
            "dataset.segment_duration",
            "sample_rate",
        )
    )
    fft_size = 2 ** (exponent if isinstance(exponent, int) else 14)
    # As published: chroma frames step by a quarter of their window, and the guide is as long as the model's window.
    hop = fft_size // 4
    samples = (duration_s if isinstance(duration_s, int | float) else 30) * (rate if isinstance(rate, int) else 32_000)
    return MelodyConfig(
        num_chroma=int(content["best_state"][key].shape[1]),
        chroma_length=1 + int(samples) // hop,
        fft_size=fft_size,
        hop=hop,
    )


def _codec(folder: Path) -> tuple[CodecConfig, dict[str, Loader]]:
    content = _state(folder / CODEC)
    if "pretrained" in content:
        codec_folder = folder / CODEC_FOLDER
        if not (codec_folder / "config.json").is_file():
            raise errors.ModelInvalid(
                f"{folder / CODEC}: it only refers to {content['pretrained']!r}; put that codec's config.json and "
                f"model.safetensors into {codec_folder}"
            )
        path = codec_folder / "config.json"
        opened = files.open_safetensors(files.weight_files(codec_folder))
        return huggingface.codec_config(files.read_json(path), path), {
            f"audio_encoder.{huggingface.plain_name(name)}": loader for name, loader in opened.items()
        }
    state: dict[str, torch.Tensor] = {}
    for name, tensor in content["best_state"].items():
        plain = name
        for pattern, replacement in CODEC_NAMES:
            plain = pattern.sub(replacement, plain)
        state[plain] = tensor
    return _codec_config(state, settings_of(content), folder), {
        f"audio_encoder.{name}": partial(_whole, tensor) for name, tensor in state.items()
    }


def _codec_config(state: dict[str, torch.Tensor], settings: dict[str, Any], folder: Path) -> CodecConfig:
    """Derive the codec's sizes from its weights: its settings may be spread over several places."""
    try:
        first, last = state["decoder.layers.0.conv.weight_v"], state["encoder.layers.0.conv.weight_v"]
        embed = state["quantizer.layers.0.codebook.embed"]
        # Transposed convolutions: their kernel is twice their ratio.
        upward = sorted(
            (int(match[1]), tensor.shape)
            for name, tensor in state.items()
            if (match := re.fullmatch(r"decoder\.layers\.(\d+)\.conv\.weight_v", name))
        )
        ratios = tuple(shape[2] // 2 for index, shape in upward[1:-1])
        blocks = sorted(name for name in state if re.fullmatch(r"decoder\.layers\.\d+\.block\.1\.conv\.weight_v", name))
        block = state[blocks[0]]
    except (KeyError, IndexError) as error:
        raise errors.ModelInvalid(f"{folder / CODEC}: it does not hold an EnCodec model: {error}") from error
    rate = plain_yaml.lookup(settings, "sample_rate")
    return CodecConfig(
        sample_rate=rate if isinstance(rate, int) else 32_000,
        hidden_size=int(first.shape[1]),
        num_filters=int(last.shape[0]),
        ratios=ratios,
        codebook_size=int(embed.shape[0]),
        num_codebooks=sum(name.endswith("codebook.embed") for name in state),
        kernel_size=int(first.shape[2]),
        last_kernel_size=int(upward[-1][1][2]),
        residual_kernel_size=int(block.shape[2]),
        num_residual_layers=len(blocks) // len(ratios),
        compress=int(block.shape[1] // block.shape[0]),
        num_lstm_layers=sum(bool(re.fullmatch(r"decoder\.layers\.1\.lstm\.weight_ih_l\d+", name)) for name in state),
        conv_shortcut=any(".shortcut." in name for name in state),
    )
