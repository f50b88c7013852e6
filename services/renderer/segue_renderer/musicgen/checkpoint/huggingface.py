"""The Hugging Face layout: config.json and model.safetensors, with text encoder and codec inside."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from segue_renderer.musicgen.checkpoint import files
from segue_renderer.musicgen.checkpoint.tensors import Tensors
from segue_renderer.musicgen.config import CodecConfig, DecoderConfig, MelodyConfig, ModelConfig, TextConfig
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {"musicgen": False, "musicgen_melody": True}
EXTRACTOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"


def model_config(path: Path) -> ModelConfig:
    """Read config.json."""
    content = files.read_json(path)
    kind = content.get("model_type")
    if kind not in KINDS:
        raise errors.ModelInvalid(f"{path}: it describes a {kind!r} model, not a MusicGen model")
    try:
        return ModelConfig(
            decoder=_decoder(content["decoder"], prefix=KINDS[kind], path=path),
            text=text_config(content["text_encoder"], path),
            codec=codec_config(content["audio_encoder"], path),
            melody=_melody(content, path) if KINDS[kind] else None,
        )
    except KeyError as error:
        raise errors.ModelInvalid(f"{path}: it has no {error}") from error


def _only(path: Path, **values: tuple[object, object]) -> None:
    for name, (value, supported) in values.items():
        if value != supported:
            raise errors.ModelInvalid(f"{path}: {name} is {value!r}; the engine supports {supported!r} only")


def _decoder(given: dict[str, Any], *, prefix: bool, path: Path) -> DecoderConfig:
    _only(
        path,
        activation_function=(given.get("activation_function", "gelu"), "gelu"),
        scale_embedding=(given.get("scale_embedding", False), False),
    )
    return DecoderConfig(
        codebook_size=given.get("vocab_size", 2048),
        hidden_size=given.get("hidden_size", 1024),
        num_layers=given.get("num_hidden_layers", 24),
        num_heads=given.get("num_attention_heads", 16),
        ffn_size=given.get("ffn_dim", 4096),
        num_codebooks=given.get("num_codebooks", 4),
        channels=given.get("audio_channels", 1),
        prefix=prefix,
    )


def text_config(given: dict[str, Any], path: Path) -> TextConfig:
    """Read the configuration of T5."""
    _only(path, feed_forward_proj=(given.get("feed_forward_proj", "relu"), "relu"))
    return TextConfig(
        vocab_size=given.get("vocab_size", 32128),
        hidden_size=given.get("d_model", 768),
        head_size=given.get("d_kv", 64),
        ffn_size=given.get("d_ff", 3072),
        num_layers=given.get("num_layers", 12),
        num_heads=given.get("num_heads", 12),
        num_buckets=given.get("relative_attention_num_buckets", 32),
        max_distance=given.get("relative_attention_max_distance", 128),
        epsilon=given.get("layer_norm_epsilon", 1e-6),
    )


def codec_config(given: dict[str, Any], path: Path) -> CodecConfig:
    """Read the configuration of EnCodec."""
    _only(
        path,
        use_causal_conv=(given.get("use_causal_conv", True), False),
        norm_type=(given.get("norm_type", "weight_norm"), "weight_norm"),
        pad_mode=(given.get("pad_mode", "reflect"), "reflect"),
        normalize=(given.get("normalize", False), False),
        chunk_length_s=(given.get("chunk_length_s"), None),
        audio_channels=(given.get("audio_channels", 1), 1),
    )
    size = given.get("codebook_size", 1024)
    ratios = tuple(given.get("upsampling_ratios", (8, 5, 4, 2)))
    codec = CodecConfig(
        sample_rate=given.get("sampling_rate", 24_000),
        hidden_size=given.get("hidden_size", 128),
        num_filters=given.get("num_filters", 32),
        ratios=ratios,
        codebook_size=size,
        num_codebooks=0,
        kernel_size=given.get("kernel_size", 7),
        last_kernel_size=given.get("last_kernel_size", 7),
        residual_kernel_size=given.get("residual_kernel_size", 3),
        num_residual_layers=given.get("num_residual_layers", 1),
        dilation_growth=given.get("dilation_growth_rate", 2),
        compress=given.get("compress", 2),
        num_lstm_layers=given.get("num_lstm_layers", 2),
        conv_shortcut=given.get("use_conv_shortcut", True),
    )
    bits = (size - 1).bit_length()
    bandwidth = max(given.get("target_bandwidths", [24.0]))
    # As published: the largest bandwidth sets the number of codebooks, with the frame rate rounded up.
    num = int(1000 * bandwidth // (-(-codec.sample_rate // codec.hop) * bits))
    return replace(codec, num_codebooks=num)


def paths(folder: Path) -> list[Path]:
    """Return the files of configuration and weights."""
    extras = [folder / name for name in (EXTRACTOR, PROCESSOR)]
    return [folder / "config.json", *(path for path in extras if path.is_file()), *files.weight_files(folder)]


def _melody(content: dict[str, Any], path: Path) -> MelodyConfig:
    extractor = path.with_name(EXTRACTOR)
    more = files.read_json(extractor) if extractor.is_file() else {}
    processor = path.with_name(PROCESSOR)
    if not more and processor.is_file():
        more = files.read_json(processor).get("feature_extractor", {})
    return MelodyConfig(
        num_chroma=content.get("num_chroma", 12),
        chroma_length=content.get("chroma_length", 235),
        fft_size=more.get("n_fft", 16_384),
        hop=more.get("hop_length", 4096),
    )


def tensors(folder: Path) -> Tensors:
    """Open the weights by name; the decoder's double prefix is removed."""
    found = {}
    for name, loader in files.open_safetensors(files.weight_files(folder)).items():
        found[plain_name(name)] = loader
    # The two are one tensor; files hold one name or the other.
    words, copies = "text_encoder.shared.weight", "text_encoder.encoder.embed_tokens.weight"
    if words not in found and copies in found:
        found[words] = found.pop(copies)
    opened = Tensors(str(folder), found)
    for name in found:
        if is_unused(name):
            opened.drop(name)
    return opened


def plain_name(name: str) -> str:
    """Return the present spelling of a name."""
    for old, new in (
        ("decoder.model.decoder.", "decoder."),
        (".parametrizations.weight.original0", ".weight_g"),
        (".parametrizations.weight.original1", ".weight_v"),
    ):
        name = name.replace(old, new)
    return name


def is_unused(name: str) -> bool:
    """Return whether a tensor is a copy, a table or a training statistic."""
    last = name.rpartition(".")[2]
    return name in {"decoder.embed_positions.weights", "text_encoder.encoder.embed_tokens.weight"} or (
        "codebook." in name and last in {"inited", "cluster_size", "embed_avg"}
    )
