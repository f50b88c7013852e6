"""Opens a model folder in audiocraft's layout: its kind, sizes, settings, licence and digest. It loads nothing."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from segue_renderer import model_record
from segue_renderer.model_card import CARD, license_of
from segue_renderer.musicgen.checkpoint import audiocraft as layout
from segue_renderer.musicgen.checkpoint import files, plain_yaml
from segue_renderer.musicgen.model import tokenizer
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from segue_renderer.musicgen.config import ModelConfig

RELEASE: Final = "audiocraft 1.3.0"
WINDOW_S: Final = 30.0
MAX_WINDOW_S: Final = 120.0
STRIDE_SHARE: Final = 0.6
"""audiocraft's own share: windows of 30 s, each 18 s after the one before."""
RESOLVER: Final = re.compile(r"\$\{[^}]*:")
LANGUAGE_MODEL_SETTINGS: Final = (
    "attribute_dropout", "channels", "classifier_free_guidance", "codebooks_pattern", "compression_model_n_q",
    "conditioners", "dataset", "fuser", "interleave_stereo_codebooks", "lm_model", "masking", "sample_rate",
    "transformer_lm",
)  # fmt: skip
CODEC_SETTINGS: Final = ("channels", "compression_model", "encodec", "rvq", "sample_rate", "seanet")
CONDITIONERS: Final = {"description": "t5", "self_wav": "chroma_stem"}


class AudiocraftFamily(enum.Enum):
    """The kinds of language models that the package contains, by `lm_model` of the settings."""

    MUSICGEN = "transformer_lm"
    MAGNET = "transformer_lm_magnet"


@dataclass(frozen=True)
class AudiocraftFolder:
    """A folder whose settings and weights agree."""

    path: Path
    family: AudiocraftFamily
    sizes: ModelConfig
    settings: Mapping[str, Any]
    """The settings from which audiocraft builds the language model."""
    codec_settings: Mapping[str, Any]
    """The same for the codec; empty if the codec is in a folder of its own."""

    @classmethod
    def open(cls, path: Path) -> AudiocraftFolder:
        """Open a folder; ModelNotInstalled and ModelInvalid say what is wrong with it."""
        if not path.is_dir():
            raise errors.ModelNotInstalled(f"{path}: there is no such folder; give the folder of an audiocraft model")
        if not (path / layout.LANGUAGE_MODEL).is_file():
            raise errors.ModelInvalid(
                f"{path}: {layout.LANGUAGE_MODEL} is not there; the backend musicgen opens folders of other layouts"
            )
        settings = _settings(path / layout.LANGUAGE_MODEL, LANGUAGE_MODEL_SETTINGS)
        family = _family(path, settings)
        sizes, _, _ = layout.open_folder(path)
        codec_settings = _settings(path / layout.CODEC, CODEC_SETTINGS)
        folder = cls(path, family, sizes, settings, codec_settings)
        _check_sizes(folder)
        return folder

    @property
    def window_frames(self) -> int:
        """The frames of the window on which the model was trained; whole spans for MAGNeT."""
        seconds = plain_yaml.lookup(self.settings, "dataset.segment_duration")
        seconds = WINDOW_S if seconds is None else seconds
        if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_WINDOW_S:
            raise errors.ModelInvalid(f"{self.path}: dataset.segment_duration is {seconds!r}")
        frames = int(seconds * self.sizes.codec.frame_rate)
        return frames - frames % self._span

    @property
    def stride_frames(self) -> int:
        """The new frames of each later window."""
        return max(1, round(self.window_frames * STRIDE_SHARE))

    @property
    def _span(self) -> int:
        if self.family is not AudiocraftFamily.MAGNET:
            return 1
        span = plain_yaml.lookup(self.settings, "masking.span_len")
        if not isinstance(span, int) or not 0 < span <= 100:
            raise errors.ModelInvalid(f"{self.path}: masking.span_len is {span!r}")
        return span

    @property
    def digest(self) -> str:
        """The digest of weights, configuration and tokenizer. All files are read, and compared with a pull's record."""
        more = tokenizer.file_of(layout.text_folder(self.path))
        return model_record.opened_digest(self.path, [*layout.paths(self.path), more])

    @property
    def license(self) -> str:
        """The licence that the folder's card names, or `unknown`."""
        return license_of(self.path / CARD)


def _settings(path: Path, wanted: tuple[str, ...]) -> dict[str, Any]:
    given = layout.settings_of(files.open_pickle(path)) if path.is_file() else {}
    found = {name: given[name] for name in wanted if name in given}
    for text in _texts(found):
        # Such a reference could read variables of this process.
        if RESOLVER.search(text):
            raise errors.ModelInvalid(f"{path}: its settings refer to {text[:100]!r}, which is outside of them")
    return found


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _family(path: Path, settings: Mapping[str, Any]) -> AudiocraftFamily:
    named = settings.get("lm_model")
    try:
        family = AudiocraftFamily(named)
    except ValueError as error:
        known = ", ".join(each.value for each in AudiocraftFamily)
        raise errors.ModelInvalid(
            f"{path}: its lm_model is {named!r}; {RELEASE} contains {known} (MusicGen and MAGNeT), and no JASCO"
        ) from error
    conditioners = settings.get("conditioners")
    for name, given in (conditioners if isinstance(conditioners, dict) else {}).items():
        kind = given.get("model") if isinstance(given, dict) else None
        if name != "args" and CONDITIONERS.get(name) != kind:
            raise errors.ModelInvalid(
                f"{path}: its condition {name} has the model {kind!r}; this backend knows a text (t5) and a melody "
                f"(chroma_stem), and {RELEASE} contains no style models"
            )
    return family


def _check_sizes(folder: AudiocraftFolder) -> None:
    """Compare the settings and the tokenizer with the weights: audiocraft allocates what the settings say."""
    decoder, codec = folder.sizes.decoder, folder.sizes.codec
    expected: list[tuple[Mapping[str, Any], str, object]] = [
        (folder.settings, "transformer_lm.dim", decoder.hidden_size),
        (folder.settings, "transformer_lm.num_layers", decoder.num_layers),
        (folder.settings, "transformer_lm.n_q", decoder.num_codebooks),
        (folder.settings, "transformer_lm.card", decoder.codebook_size),
        (folder.settings, "transformer_lm.hidden_scale", decoder.ffn_size / decoder.hidden_size),
        (folder.settings, "sample_rate", codec.sample_rate),
    ]
    if folder.codec_settings.get("seanet") is not None:
        expected += [
            (folder.codec_settings, "seanet.dimension", codec.hidden_size),
            (folder.codec_settings, "seanet.n_filters", codec.num_filters),
            (folder.codec_settings, "seanet.ratios", list(codec.ratios)),
            (folder.codec_settings, "seanet.n_residual_layers", codec.num_residual_layers),
            (folder.codec_settings, "seanet.kernel_size", codec.kernel_size),
            (folder.codec_settings, "seanet.last_kernel_size", codec.last_kernel_size),
            (folder.codec_settings, "seanet.residual_kernel_size", codec.residual_kernel_size),
            (folder.codec_settings, "seanet.compress", codec.compress),
            (folder.codec_settings, "seanet.lstm", codec.num_lstm_layers),
            (folder.codec_settings, "rvq.n_q", codec.num_codebooks),
            (folder.codec_settings, "rvq.bins", codec.codebook_size),
            (folder.codec_settings, "sample_rate", codec.sample_rate),
        ]
    text = tokenizer.Tokenizer.open(layout.text_folder(folder.path))
    text.check_size(folder.sizes.text.vocab_size, folder.path)
    for settings, path, value in expected:
        if (found := plain_yaml.lookup(settings, path)) != value:
            raise errors.ModelInvalid(f"{folder.path}: the settings say {path} {found!r}, the weights {value!r}")
    if folder.window_frames < 2:
        raise errors.ModelInvalid(f"{folder.path}: its window has {folder.window_frames} frames")
