"""What the benchmark of backends compares: each kind of model by our backend, and by its bare library."""

from __future__ import annotations

import importlib
import tempfile
import warnings
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from segue_renderer.backend import Backend

    Play = Callable[[float], None]
    """Makes so many seconds of music."""

PROMPT: Final = "calm piano, 120 bpm, C major"
KINDS: Final = ("musicgen", "audiocraft", "ace-step", "stable-audio")
SECONDS: Final = {"musicgen": 3.0, "audiocraft": 3.0, "ace-step": 30.0, "stable-audio": 30.0}
"""Sections that fit into one window of the tiny models."""
PUBLISHED_SECONDS: Final = 4.0
SLOTS: Final = {"musicgen": 4, "stable-audio": 4}
"""The sections that a kind makes at once; others make one at a time."""
STEPS: Final = 8
LONGEST_WINDOW_S: Final = 30.0
"""The library refuses shorter windows than its stride, also of models that have one."""


def written(kind: str, size: str, folder: Path) -> Path:
    """Write a random model: a tiny one, or one of the published size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return _published(kind, folder) if size == "published" else _tiny(kind, folder)


def _tiny(kind: str, folder: Path) -> Path:
    if kind in {"musicgen", "audiocraft"}:
        from tests.engine import checkpoints

        model = checkpoints.write(folder / "plain", "mono")
        if kind == "musicgen":
            return folder / "plain"
        checkpoints.to_audiocraft(folder / "plain", folder / kind, model, "mono")
        return folder / kind
    from tests.diffusion import tiny_models

    write = tiny_models.write_ace_step if kind == "ace-step" else tiny_models.write_stable_audio
    return write(folder / kind)


def _published(kind: str, folder: Path) -> Path:
    if kind != "musicgen":
        raise SystemExit(f"{kind}: there are no random weights of the published size; give a folder: --folder")
    from benchmarks.engine_serving import write_checkpoint

    write_checkpoint(folder / "small")
    return folder / "small"


def backend_of(kind: str, folder: Path, threads: int) -> Backend:
    """Return our backend, not loaded."""
    from segue_runtime import settings

    if kind == "musicgen":
        from segue_renderer.musicgen.backend import MusicgenBackend

        return MusicgenBackend(
            settings.MusicgenSettings(model=str(folder), slots=SLOTS[kind], threads=threads, precision="fp32")
        )
    if kind == "audiocraft":
        from segue_renderer.audiocraft import stand_ins

        stand_ins.provide_missing_packages()
        from segue_renderer.audiocraft.backend import AudiocraftBackend

        return AudiocraftBackend(settings.AudiocraftSettings(model=str(folder), threads=threads))
    from segue_renderer.diffusion.backend import DiffusionBackend

    given = settings.DiffusionSettings(model=str(folder), steps=STEPS, slots=SLOTS.get(kind, 1))
    return DiffusionBackend(given)


def bare_of(kind: str, folder: Path) -> Play:
    """Return the library's own way to make music, loaded."""
    makers = {"musicgen": _bare_musicgen, "audiocraft": _bare_audiocraft}
    return makers.get(kind, _bare_diffusers)(folder)


def _bare_musicgen(folder: Path) -> Play:
    import torch
    import transformers

    library: Any = transformers
    model = library.MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = torch.arange(1, 9)[None]  # the tokenizer's part is small; a tiny folder has none that transformers reads

    def play(seconds: float) -> None:
        frames = round(seconds * model.config.audio_encoder.frame_rate)
        steps = frames + model.config.decoder.num_codebooks - 1
        with torch.inference_mode():
            model.generate(
                input_ids=tokens, do_sample=True, guidance_scale=3.0, max_new_tokens=steps, min_new_tokens=steps
            )

    return play


def _bare_audiocraft(folder: Path) -> Play:
    import torch

    from segue_renderer.audiocraft.folder import AudiocraftFolder
    from segue_renderer.audiocraft.package import AudiocraftModel

    # After `backend_of`, which stands in for packages that the library imports and does not need.
    models: Any = importlib.import_module("audiocraft.models")
    # The library's own loader downloads by name; ours makes the same networks from the folder.
    loaded = AudiocraftModel(AudiocraftFolder.open(folder), torch.device("cpu"))
    model = models.MusicGen("folder", loaded.codec, loaded.language_model, max_duration=LONGEST_WINDOW_S)

    def play(seconds: float) -> None:
        # A tiny model has fewer tokens than the library chooses among.
        model.set_generation_params(duration=seconds, top_k=min(250, loaded.language_model.card))
        model.generate([PROMPT])

    return play


def _bare_diffusers(folder: Path) -> Play:
    import diffusers
    import torch

    from segue_renderer.diffusion.folder import ACE_STEP, DiffusersFolder
    from segue_renderer.diffusion.network import ModelPlacement

    opened = DiffusersFolder.open(folder)
    ours: Any = ModelPlacement.of("cpu", "fp32", "none").load(opened).pipe
    is_ace_step = opened.family is ACE_STEP
    kind: Any = diffusers.AceStepPipeline if is_ace_step else diffusers.StableAudio3Pipeline
    bare = kind(**ours.components)
    bare.set_progress_bar_config(disable=True)

    def play(seconds: float) -> None:
        length = {"lyrics": "[Instrumental]", "audio_duration": seconds} if is_ace_step else {"duration": seconds}
        chance = torch.Generator().manual_seed(7)
        bare(PROMPT, num_inference_steps=STEPS, generator=chance, output_type="np", **length)

    return play


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for random models."""
    return tempfile.TemporaryDirectory(prefix="segue-backends-")
