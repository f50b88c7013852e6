"""Tiny random models of both families in diffusers' layout, written by the libraries that write the real ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import diffusers
import torch
import transformers
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

if TYPE_CHECKING:
    from pathlib import Path

# Where they are installed their types say less than they seem to; where they are not they have none.
DF: Any = diffusers
HF: Any = transformers
RATE = 12_800
LATENT_RATE = 25
LATENTS = 8
WORDS = 400
CARD = "---\nlicense: mit\ntags:\n- music\n---\n# A tiny random model\n"


def write_ace_step(folder: Path, *, is_turbo: bool = True, seed: int = 5) -> Path:
    """Write an ACE-Step 1.5 of some 100,000 weights."""
    torch.manual_seed(seed)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    pipe = DF.AceStepPipeline(
        vae=DF.AutoencoderOobleck(
            encoder_hidden_size=2 * LATENTS,
            downsampling_ratios=[2, 4, 8, 8],
            channel_multiples=[1, 1, 1, 1],
            decoder_channels=8,
            decoder_input_channels=LATENTS,
            sampling_rate=RATE,
        ),
        text_encoder=HF.Qwen3Model(
            HF.Qwen3Config(vocab_size=WORDS, num_hidden_layers=2, max_position_embeddings=4096, **sizes)
        ),
        tokenizer=tokenizer(),
        transformer=DF.AceStepTransformer1DModel(
            num_hidden_layers=2,
            in_channels=3 * LATENTS,
            audio_acoustic_hidden_dim=LATENTS,
            is_turbo=is_turbo,
            **sizes,
        ),
        condition_encoder=AceStepConditionEncoder(
            text_hidden_dim=32,
            timbre_hidden_dim=LATENTS,
            num_lyric_encoder_hidden_layers=1,
            num_timbre_encoder_hidden_layers=1,
            **sizes,
        ),
        scheduler=DF.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
    with torch.no_grad():
        # A last layer that passes no constant: a random decoder's sound would stand far away from zero.
        last = pipe.vae.decoder.conv2
        last.weight_v.sub_(last.weight_v.mean(dim=2, keepdim=True))
    return save(pipe, folder)


def write_stable_audio(folder: Path, *, is_distilled: bool = True, seed: int = 5) -> Path:
    """Write a Stable Audio 3 of some 100,000 weights."""
    torch.manual_seed(seed)
    text = {
        "vocab_size": WORDS, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    }  # fmt: skip
    pipe = DF.StableAudio3Pipeline(
        vae=DF.AutoencoderSAME(
            patch_size=128,
            encoder_channels=16,
            encoder_c_mults=[2],
            encoder_strides=[4],
            encoder_transformer_depths=[2],
            latent_dim=LATENTS,
            dim_heads=16,
            sampling_rate=RATE,
        ),
        text_encoder=HF.T5GemmaEncoderModel(
            HF.T5GemmaConfig(encoder=text, decoder=text, is_encoder_decoder=False, vocab_size=WORDS)
        ),
        tokenizer=tokenizer(),
        duration_embedder=DF.StableAudio3DurationEmbedder(output_dim=32, fourier_dim=16, max_val=124.0),
        transformer=DF.StableAudio3DiTModel(
            io_channels=LATENTS,
            embed_dim=32,
            depth=2,
            num_heads=2,
            cond_token_dim=32,
            global_cond_dim=32,
            local_add_cond_dim=LATENTS + 1,
            timestep_features_dim=16,
            num_memory_tokens=4,
        ),
        scheduler=DF.FlowMatchEulerDiscreteScheduler(stochastic_sampling=is_distilled),
    )
    return save(pipe, folder)


def tokenizer() -> Any:
    """Return a tokenizer of words and numbers."""
    known = "rainy lo fi soft keys bpm minor major funk bass drums piano calm bright pop slow drone verse chorus [ ]"
    notes = "A B C D E F G Instrumental unknown en de la seconds"
    tracks = ["BASS", "GUITAR", "STRINGS"]
    words = ["<unk>", "<pad>", "</s>", "<|endoftext|>", *known.split(), *notes.split(), *map(str, range(300)), *tracks]
    fast = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    fast.pre_tokenizer = Whitespace()
    return HF.PreTrainedTokenizerFast(
        tokenizer_object=fast, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", model_max_length=4096
    )


def save(pipe: Any, folder: Path) -> Path:
    """Fill what a new model has as zeros, without which every seed sounds the same, and write the folder."""
    with torch.no_grad():
        for network in pipe.components.values():
            if isinstance(network, torch.nn.Module):
                for parameter in network.parameters():
                    if not parameter.any():
                        parameter.normal_(std=0.05)
    pipe.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder
