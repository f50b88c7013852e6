"""Tiny random checkpoints in the published formats, written by the libraries that write the real ones."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import sentencepiece
import torch
import transformers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Where it is installed its types say less than they seem to; where it is not it has none.
HF: Any = transformers
KINDS = ("mono", "stereo", "melody")
CODEBOOK = 64
SAMPLE_RATE = 12_800
WINDOW_S = 3.2
"""The window in audiocraft's settings."""
MELODY_SETTINGS = """\
  self_wav:
    model: chroma_stem
    chroma_stem:
      sample_rate: ${sample_rate}
      n_chroma: 12
      radix2_exp: 14
      argmax: true
      match_len_on_eval: false
      eval_wavs: /nowhere/eval.jsonl
      n_eval_wavs: 100
      cache_path: /nowhere/cache
"""
LANGUAGE_MODEL_SETTINGS = """\
dora:
  dir: /nowhere/${{oc.env:USER}}/outputs
sample_rate: {rate}
channels: {channels}
compression_model_checkpoint: //pretrained/nothing
compression_model_n_q: null
dataset:
  segment_duration: {window_s}
lm_model: {lm_model}
masking:
  span_len: 3
transformer_lm:
  dim: {dim}
  num_heads: {num_heads}
  num_layers: {num_layers}
  hidden_scale: {hidden_scale}
  n_q: {n_q}
  card: {card}
  dropout: 0.0
  emb_lr: null
  activation: gelu
  norm_first: true
  bias_ff: false
  bias_attn: false
  bias_proj: false
  past_context: null
  causal: {causal}
  custom: false
  memory_efficient: true
  attention_as_float32: false
  layer_scale: null
  positional_embedding: sin
  xpos: false
  checkpointing: none
  weight_init: gaussian
  depthwise_init: current
  zero_bias_init: true
  norm: layer_norm
  cross_attention: false
  qk_layer_norm: false
  qk_layer_norm_cross: false
  attention_dropout: null
  kv_repeat: 1
  two_step_cfg: false
codebooks_pattern:
  modeling: {pattern}
  delay:
    delays: {delays}
    flatten_first: 0
    empty_initial: 0
interleave_stereo_codebooks:
  use: {stereo}
  per_timestep: false
attribute_dropout:
  text: {{}}
  wav: {{}}
classifier_free_guidance:
  training_dropout: 0.3
  inference_coef: 3.0
fuser:
  cross_attention_pos_emb: false
  cross_attention_pos_emb_scale: 1
  sum: []
  prepend: {prepend}
  cross: {cross}
  input_interpolate: []
conditioners:
  args:
    merge_text_conditions_p: 0.25
    drop_desc_p: 0.5
  description:
    model: t5
    t5:
      name: t5-base
      finetune: false
      word_dropout: 0.3
      normalize_text: false
"""
CODEC_SETTINGS = """\
sample_rate: {rate}
channels: 1
compression_model: encodec
encodec:
  autoencoder: seanet
  quantizer: rvq
  sample_rate: ${{sample_rate}}
  channels: ${{channels}}
  causal: false
  renormalize: false
seanet:
  dimension: {dimension}
  channels: ${{channels}}
  causal: ${{encodec.causal}}
  n_filters: {filters}
  n_residual_layers: 1
  ratios: {ratios}
  activation: ELU
  activation_params:
    alpha: 1.0
  norm: weight_norm
  norm_params: {{}}
  kernel_size: 7
  residual_kernel_size: 3
  last_kernel_size: 7
  dilation_base: 2
  pad_mode: reflect
  true_skip: true
  compress: 2
  lstm: {lstm}
  disable_norm_outer_blocks: 0
  decoder:
    trim_right_ratio: 1.0
    final_activation: null
    final_activation_params: null
  encoder: {{}}
rvq:
  n_q: {books}
  q_dropout: false
  bins: {codebook}
  decay: 0.99
  kmeans_init: true
  kmeans_iters: 50
  threshold_ema_dead_code: 2
"""
SENTENCES = (
    "rainy lo-fi with soft keys and a slow beat, 82 bpm, F minor",
    "sunny funk with slap bass, 108 bpm, E minor",
    "a calm intro of strings and piano",
    "verse: drums, bass and electric piano",
    "the chorus is loud and bright, four on the floor",
    "an outro that fades like the sea at night",
    "dark techno, 130 bpm, C# minor, distorted kick",
)


def write(folder: Path, kind: str, *, seed: int = 5) -> Any:
    """Write a checkpoint in the Hugging Face layout and return transformers' own model."""
    torch.manual_seed(seed)
    text = HF.T5Config(
        vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, relative_attention_max_distance=16
    )
    codec = HF.EncodecConfig(
        target_bandwidths=[1.2],
        sampling_rate=SAMPLE_RATE,
        num_filters=4,
        hidden_size=16,
        upsampling_ratios=[8, 4, 4, 2],
        codebook_size=CODEBOOK,
        codebook_dim=16,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    sizes = {
        "vocab_size": CODEBOOK,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "ffn_dim": 64,
        "num_attention_heads": 4,
        "num_codebooks": 8 if "stereo" in kind else 4,
        "audio_channels": 2 if "stereo" in kind else 1,
        "pad_token_id": CODEBOOK,
        "bos_token_id": CODEBOOK,
    }
    model: Any
    if "melody" in kind:
        melody = HF.MusicgenMelodyConfig(
            text_encoder=text, audio_encoder=codec, decoder=HF.MusicgenMelodyDecoderConfig(**sizes), chroma_length=11
        )
        model = HF.MusicgenMelodyForConditionalGeneration(melody)
    else:
        model = HF.MusicgenForConditionalGeneration(
            HF.MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=HF.MusicgenDecoderConfig(**sizes))
        )
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("decoder.") and parameter.dim() > 1:
                parameter.normal_(0, 0.2)
        for layer in model.audio_encoder.quantizer.layers:
            layer.codebook.embed.normal_(0, 0.5)
        # A random encoder says nearly the same of every sound; louder ears make its codes differ.
        model.audio_encoder.encoder.layers[0].conv.parametrizations.weight.original0.mul_(100)
        # A last layer that passes no constant: a random decoder's sound would stand far away from zero.
        last = model.audio_encoder.decoder.layers[-1].conv
        last.parametrizations.weight.original1.sub_(last.parametrizations.weight.original1.mean(dim=2, keepdim=True))
        last.parametrizations.weight.original0.mul_(3)
        last.bias.zero_()
    generation = model.generation_config
    generation.decoder_start_token_id = generation.pad_token_id = generation.bos_token_id = CODEBOOK
    generation.max_length = 1500
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return model


def write_tokenizer(folder: Path, sentences: Iterable[str] = SENTENCES) -> None:
    """Train T5's kind of tokenizer and put it into a folder."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(sentences), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=180,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    corpus.unlink()
    (folder / "spiece.vocab").unlink()


def to_audiocraft(
    source: Path, target: Path, model: Any, kind: str, *, codec_apart: bool = False, window_s: float = WINDOW_S
) -> None:
    """Write the same weights in audiocraft's layout."""
    target.mkdir(parents=True, exist_ok=True)
    settings = _language_model_settings(model.config, kind, window_s)
    state = {_language_name(name): tensor for name, tensor in _fused(model.decoder.state_dict())}
    for ours, theirs in (("enc_to_dec_proj", "description"), ("audio_enc_to_dec_proj", "self_wav")):
        if hasattr(model, ours):
            for part, tensor in getattr(model, ours).state_dict().items():
                state[f"condition_provider.conditioners.{theirs}.output_proj.{part}"] = tensor
    if "melody" in kind:
        state["condition_provider.conditioners.self_wav.chroma.spec.window"] = torch.hann_window(2**14)
    torch.save(
        {"best_state": state, "xp.cfg": settings, "version": "1.3.0", "exported": True}, target / "state_dict.bin"
    )
    if codec_apart:
        torch.save({"pretrained": "facebook/encodec_32khz", "exported": True}, target / "compression_state_dict.bin")
        model.audio_encoder.save_pretrained(target / "encodec_32khz")
    else:
        codec = {_codec_name(name): tensor for name, tensor in model.audio_encoder.state_dict().items()}
        torch.save(
            {"best_state": codec, "xp.cfg": _codec_settings(model.config), "version": "1.3.0", "exported": True},
            target / "compression_state_dict.bin",
        )
    encoder = HF.T5EncoderModel(model.config.text_encoder)
    encoder.load_state_dict(model.text_encoder.state_dict())
    encoder.save_pretrained(target / "t5-base")
    shutil.copy(source / "spiece.model", target / "t5-base" / "spiece.model")


def _codec_settings(config: Any) -> str:
    codec = config.audio_encoder
    return CODEC_SETTINGS.format(
        rate=codec.sampling_rate,
        dimension=codec.hidden_size,
        filters=codec.num_filters,
        ratios=list(codec.upsampling_ratios),
        lstm=codec.num_lstm_layers,
        books=config.decoder.num_codebooks // config.decoder.audio_channels,
        codebook=codec.codebook_size,
    )


def _language_model_settings(whole: Any, kind: str, window_s: float) -> str:
    config = whole.decoder
    stereo = "stereo" in kind
    pairs = [book // 2 if stereo else book for book in range(config.num_codebooks)]
    has_melody = "melody" in kind
    return LANGUAGE_MODEL_SETTINGS.format(
        rate=whole.audio_encoder.sampling_rate,
        channels=2 if stereo else 1,
        window_s=window_s,
        lm_model="transformer_lm_magnet" if kind == "magnet" else "transformer_lm",
        dim=config.hidden_size,
        num_heads=config.num_attention_heads,
        num_layers=config.num_hidden_layers,
        hidden_scale=config.ffn_dim // config.hidden_size,
        n_q=config.num_codebooks,
        card=whole.audio_encoder.codebook_size,
        causal=str(kind != "magnet").lower(),
        pattern="parallel" if kind == "magnet" else "delay",
        delays=pairs,
        stereo=str(stereo).lower(),
        prepend="[self_wav, description]" if has_melody else "[]",
        cross="[]" if has_melody else "[description]",
    ) + (MELODY_SETTINGS if has_melody else "")


def _fused(state: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    found = []
    for name, tensor in state.items():
        if ".q_proj." in name:
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            found.append((name.replace("q_proj.weight", "in_proj_weight"), torch.cat(parts)))
        elif ".k_proj." not in name and ".v_proj." not in name:
            found.append((name, tensor))
    return found


def _language_name(name: str) -> str:
    for old, new in (
        ("model.decoder.embed_tokens.", "emb."),
        ("model.decoder.layer_norm.", "out_norm."),
        ("model.decoder.layers.", "transformer.layers."),
        ("lm_heads.", "linears."),
        ("encoder_attn_layer_norm", "norm_cross"),
        ("self_attn_layer_norm", "norm1"),
        ("final_layer_norm", "norm2"),
        ("encoder_attn", "cross_attention"),
        ("fc1", "linear1"),
        ("fc2", "linear2"),
    ):
        name = name.replace(old, new)
    return name


def _codec_name(name: str) -> str:
    for old, new in (
        (".parametrizations.weight.original0", ".weight_g"),
        (".parametrizations.weight.original1", ".weight_v"),
        ("quantizer.layers.", "quantizer.vq.layers."),
        (".codebook.", "._codebook."),
    ):
        name = name.replace(old, new)
    if name.startswith(("encoder.layers.", "decoder.layers.")):
        half, _, rest = name.partition(".layers.")
        # The decoder of these sizes goes up at its layers 3, 6, 9 and 12.
        upward = half == "decoder" and rest.split(".")[0] in {"3", "6", "9", "12"}
        inner = "convtr.convtr." if upward else "conv.conv."
        name = f"{half}.model.{rest.replace('conv.', inner, 1)}"
    return name
