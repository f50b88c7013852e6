"""A model of the package audiocraft, loaded. This module alone imports the package."""

from __future__ import annotations

import contextlib
import math
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from audiocraft.models import builders
from audiocraft.models.encodec import HFEncodecCompressionModel
from audiocraft.modules import conditioners
from audiocraft.modules.transformer import set_efficient_attention_backend
from omegaconf import OmegaConf
from transformers import EncodecModel
from transformers.utils import logging as transformers_logging

from segue_renderer.audiocraft.folder import AudiocraftFamily
from segue_renderer.musicgen.checkpoint import audiocraft as layout
from segue_renderer.musicgen.checkpoint import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from segue_renderer.audiocraft.folder import AudiocraftFolder

ATTENTION: Final = {AudiocraftFamily.MUSICGEN: "torch", AudiocraftFamily.MAGNET: "xformers"}
PIECE_FRAMES, LEFT_FRAMES, RIGHT_FRAMES = 1500, 250, 25
"""Long codes are decoded in pieces, each with neighbours that its sound depends on."""
warnings.filterwarnings("ignore", ".*torch.nn.utils.weight_norm", FutureWarning)  # in audiocraft's codec
_process: Final = threading.Lock()
"""torch's generator and audiocraft's choice of attention belong to the process: one call of all models at a time."""


class AudiocraftModel:
    """A language model and its codec. All methods compute: they are called on a thread whose device is the model's."""

    def __init__(self, folder: AudiocraftFolder, device: torch.device) -> None:
        """Load the weights."""
        self.folder = folder
        self.device = device
        progress_bars: Any = transformers_logging  # its functions have no types
        progress_bars.disable_progress_bar()
        # Two kinds of autocast in audiocraft take the device's kind only.
        self._kind = device.type
        with _seeded(0, device):
            self.codec = _codec(folder, self._kind).eval().requires_grad_(requires_grad=False)
            self.language_model = _language_model(folder, self._kind).eval().requires_grad_(requires_grad=False)

    @property
    def num_bytes(self) -> int:
        """The size of the weights on the device."""
        parts = [self.codec, self.language_model]
        parts += [each.t5 for each in self._conditioners.values() if hasattr(each, "t5")]
        return sum(each.numel() * each.element_size() for part in parts for each in part.parameters())

    @property
    def _conditioners(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.language_model.condition_provider.conditioners
        return found

    def encode(self, sound: torch.Tensor) -> torch.Tensor:
        """Return the codes (codebooks, frames) of sound (channels, samples)."""
        with torch.no_grad():
            codes, _ = self.codec.encode(sound[None].to(self.device))
        first: torch.Tensor = codes[0]
        return first

    def generate(
        self,
        prompt: str,
        known: torch.Tensor | None,
        num_frames: int,
        *,
        melody: torch.Tensor | None,
        seed: int,
        sampling: Mapping[str, Any],
        report: Callable[[int, int], None],
    ) -> torch.Tensor:
        """Return codes (codebooks, num_frames) that begin with the known ones.

        `melody` is sound (1, samples). `report` gets the steps done and in all; what it raises ends the work.
        """
        attributes = conditioners.ConditioningAttributes(text={"description": prompt})
        if "self_wav" in self._conditioners:
            attributes.wav["self_wav"] = self._wav_condition(melody)
        with _seeded(seed, self.device), self._autocast():
            set_efficient_attention_backend(ATTENTION[self.folder.family])
            codes: torch.Tensor = self.language_model.generate(
                None if known is None else known[None],
                [attributes],
                max_gen_len=num_frames,
                callback=report,
                **sampling,
            )
        return codes[0]

    def _wav_condition(self, melody: torch.Tensor | None) -> Any:
        # One sample stands for no melody.
        sound = torch.zeros(1, 1) if melody is None else melody
        length = 0 if melody is None else melody.shape[-1]
        rate = self.folder.sizes.codec.sample_rate
        return conditioners.WavCondition(
            sound[None].to(self.device), torch.tensor([length], device=self.device), [rate], [None], [None]
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._kind == "cpu":
            return contextlib.nullcontext()
        cast: contextlib.AbstractContextManager[Any] = torch.autocast(device_type=self._kind, dtype=torch.float16)
        return cast

    def decode(self, codes: torch.Tensor, first: int) -> Iterator[torch.Tensor]:
        """Yield the sound (channels, samples) of the codes from the frame `first` on."""
        hop, total = self.folder.sizes.codec.hop, codes.shape[1]
        while first < total:
            is_whole = total <= PIECE_FRAMES
            last = total if is_whole else min(total, first + PIECE_FRAMES)
            begin = 0 if is_whole else max(0, first - LEFT_FRAMES)
            end = total if is_whole else min(total, last + RIGHT_FRAMES)
            with torch.no_grad():
                sound = self.codec.decode(codes[None, :, begin:end], None)[0]
            yield sound[:, (first - begin) * hop : (last - begin) * hop].float().cpu()
            first = last


def _language_model(folder: AudiocraftFolder, kind: str) -> Any:
    settings = OmegaConf.create({**folder.settings, "device": kind})
    settings.dtype = "float32" if kind == "cpu" else "float16"
    _prepare_conditioners(settings, folder.path)
    if folder.family is AudiocraftFamily.MAGNET:
        # As in audiocraft's own loader. The attention masks have whole seconds, and are cut to the window when used.
        settings.transformer_lm.compression_model_framerate = int(folder.sizes.codec.frame_rate)
        settings.transformer_lm.segment_duration = math.ceil(settings.dataset.segment_duration)
        settings.transformer_lm.span_len = settings.masking.span_len
    set_efficient_attention_backend(ATTENTION[folder.family])
    model = builders.get_lm_model(settings)
    model.load_state_dict(files.open_pickle(folder.path / layout.LANGUAGE_MODEL)["best_state"])
    melody = model.condition_provider.conditioners["self_wav"] if "self_wav" in settings.conditioners else None
    if melody is not None:
        melody.match_len_on_eval = True
        melody._use_masking = False  # noqa: SLF001 - as in audiocraft's own loader of melody models
    return model


def _prepare_conditioners(settings: Any, folder: Path) -> None:
    """Point the conditions to local files, and drop what only training needs."""
    text_folder = layout.text_folder(folder)
    name = str(text_folder)
    conditioners.T5Conditioner.MODELS = sorted({*conditioners.T5Conditioner.MODELS, name})
    conditioners.T5Conditioner.MODELS_DIMS[name] = files.read_json(text_folder / "config.json")["d_model"]
    settings.conditioners.description.t5.name = name
    if "self_wav" in settings.conditioners:
        # These name files of the machine that trained the model.
        for unwanted in ("cache_path", "eval_wavs", "n_eval_wavs"):
            settings.conditioners.self_wav.chroma_stem.pop(unwanted, None)


def _codec(folder: AudiocraftFolder, kind: str) -> Any:
    if folder.codec_settings:
        settings = OmegaConf.create({**folder.codec_settings, "device": kind})
        codec = builders.get_compression_model(settings)
        codec.load_state_dict(files.open_pickle(folder.path / layout.CODEC)["best_state"])
    else:
        path = folder.path / layout.CODEC_FOLDER
        codec = HFEncodecCompressionModel(
            EncodecModel.from_pretrained(path, use_safetensors=True, local_files_only=True)
        ).to(kind)
    return builders.get_wrapped_compression_model(codec, OmegaConf.create({**folder.settings}))


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's one generator for a call, and restore it afterwards."""
    devices = [device] if device.type == "cuda" else []
    with _process, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
