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
DIFFUSION: Final = ("ace-step", "stable-audio")
SECONDS: Final = {
    # Sections that fit into one window of the tiny models.
    "tiny": {"musicgen": 3.0, "audiocraft": 3.0, "ace-step": 30.0, "stable-audio": 30.0},
    # A second of MusicGen is 53 steps of all its weights; ACE-Step makes no less than 10 s.
    "published": {"musicgen": 1.0, "audiocraft": 1.0, "ace-step": 10.0, "stable-audio": 3.0},
}
REPEATS: Final = {"tiny": 15, "published": 1}
TOGETHER: Final = {"tiny": (1, 2, 4), "published": (1, 2)}
"""Sections at once."""
PRECISIONS: Final[dict[str, dict[str, str]]] = {"tiny": {}, "published": {"ace-step": "bf16"}}
"""Others are in fp32. ACE-Step has 2.9 G weights, which are 12 GB in fp32."""
SLOTS: Final = {"musicgen": 4, "stable-audio": 4}
"""The sections that a kind makes at once; others make one at a time."""
STEPS: Final = {"tiny": 8, "published": 2}
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
    if kind in DIFFUSION:
        from benchmarks.diffusion_sizes import write_ace_step, write_stable_audio

        return (write_ace_step if kind == "ace-step" else write_stable_audio)(folder / kind)
    from benchmarks.engine_serving import write_checkpoint

    write_checkpoint(folder / "small")
    if kind == "musicgen":
        return folder / "small"
    import transformers
    from tests.engine import checkpoints

    library: Any = transformers
    model = library.MusicgenForConditionalGeneration.from_pretrained(folder / "small")
    checkpoints.to_audiocraft(folder / "small", folder / kind, model, "mono", window_s=LONGEST_WINDOW_S)
    return folder / kind


def backend_of(kind: str, folder: Path, threads: int, precision: str, steps: int) -> Backend:
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

    given = settings.DiffusionSettings(
        model=str(folder), steps=steps, slots=SLOTS.get(kind, 1), precision=precision, device="cpu"
    )
    return DiffusionBackend(given)


def bare_of(kind: str, folder: Path, backend: Backend, steps: int) -> Play:
    """Return the library's own way to make music, loaded. That of diffusers has the networks of our backend."""
    if kind in DIFFUSION:
        return _bare_diffusers(backend, steps)
    return (_bare_musicgen if kind == "musicgen" else _bare_audiocraft)(folder)


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


def _bare_diffusers(backend: Any, steps: int) -> Play:
    import diffusers
    import torch

    from segue_renderer.diffusion.folder import ACE_STEP

    pipeline, facts = backend._loaded  # noqa: SLF001 - a second copy of real sizes has no room
    ours, is_ace_step = pipeline.pipe, facts.family is ACE_STEP
    kind: Any = diffusers.AceStepPipeline if is_ace_step else diffusers.StableAudio3Pipeline
    bare = kind(**ours.components)
    bare.set_progress_bar_config(disable=True)

    def play(seconds: float) -> None:
        length = {"lyrics": "[Instrumental]", "audio_duration": seconds} if is_ace_step else {"duration": seconds}
        chance = torch.Generator().manual_seed(7)
        bare(PROMPT, num_inference_steps=steps, generator=chance, output_type="np", **length)

    return play


def temporary() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for random models."""
    return tempfile.TemporaryDirectory(prefix="segue-backends-")
