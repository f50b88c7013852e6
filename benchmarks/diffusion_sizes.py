"""Random diffusion models of published sizes: the libraries' own default sizes, written without drawing every weight.

ACE-Step 1.5 turbo: 1.6 G weights of the transformer, 0.6 G of its condition encoder, 0.6 G of Qwen3-Embedding-0.6B and
0.2 G of the decoder. Stable Audio 3 medium: 1.5 G of the transformer, 0.3 G of T5Gemma's encoder and 0.1 G of the
decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import diffusers
import torch
import transformers
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from tests.diffusion.tiny_models import CARD, tokenizer
from transformers.initialization import no_init_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DF: Any = diffusers
HF: Any = transformers
BLOCK: Final = 1 << 20
"""So many weights are drawn, and repeated in all networks."""
STD: Final = 0.02


def write_ace_step(folder: Path) -> Path:
    """Write an ACE-Step 1.5 turbo in bf16: 5.9 GB."""
    return _save(
        DF.AceStepPipeline(
            vae=_made(
                lambda: DF.AutoencoderOobleck(downsampling_ratios=[2, 4, 4, 6, 10], sampling_rate=48_000),
            ),
            text_encoder=_made(
                lambda: HF.Qwen3Model(
                    HF.Qwen3Config(
                        vocab_size=151_669, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
                        num_attention_heads=16, num_key_value_heads=8, head_dim=128,
                    )
                )
            ),
            tokenizer=tokenizer(),
            transformer=_made(lambda: DF.AceStepTransformer1DModel(is_turbo=True)),
            condition_encoder=_made(AceStepConditionEncoder),
            scheduler=DF.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        ),
        folder,
    )  # fmt: skip


def write_stable_audio(folder: Path) -> Path:
    """Write a Stable Audio 3 medium in bf16: 3.7 GB."""
    text = {
        "vocab_size": 256_000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
        "num_attention_heads": 12, "num_key_value_heads": 12, "head_dim": 64,
    }  # fmt: skip
    return _save(
        DF.StableAudio3Pipeline(
            vae=_made(DF.AutoencoderSAME),
            text_encoder=_made(
                lambda: HF.T5GemmaEncoderModel(
                    HF.T5GemmaConfig(encoder=text, decoder=text, is_encoder_decoder=False, vocab_size=256_000)
                )
            ),
            tokenizer=tokenizer(),
            duration_embedder=_made(DF.StableAudio3DurationEmbedder),
            transformer=_made(DF.StableAudio3DiTModel),
            scheduler=DF.FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
        ),
        folder,
    )


def _made(make: Callable[[], Any]) -> Any:
    """Return a network with random weights, in bf16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with no_init_weights():
            network = make()
    finally:
        torch.set_default_dtype(before)
    block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(5), dtype=torch.float32) * STD
    with torch.no_grad():
        for parameter in network.parameters():
            repeats = -(-parameter.numel() // BLOCK)
            values = block.to(parameter.dtype).repeat(repeats)[: parameter.numel()].view(parameter.shape)
            parameter.copy_(1 + values if parameter.dim() == 1 else values)
    return network


def _save(pipe: Any, folder: Path) -> Path:
    pipe.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder
