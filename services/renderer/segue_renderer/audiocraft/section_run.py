"""One section from request to sound, on the backend's thread: windows, melody, seeds, progress and cancellation."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Final

import torch

from segue_music.plan import Continuity, Warning  # noqa: A004  the contract's word
from segue_renderer.audiocraft.folder import AudiocraftFamily
from segue_renderer.musicgen.policy.windows import plan_windows
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from segue_renderer.audiocraft.folder import AudiocraftFolder
    from segue_renderer.audiocraft.package import AudiocraftModel
    from segue_renderer.backend import RenderRequest
    from segue_renderer.musicgen.policy.windows import Window

SEED_STEP: Final = 0x9E37_79B1
TOP_K: Final = 250
"""audiocraft's default for MusicGen."""


class CancelledRun(Exception):  # noqa: N818 - no error: the caller has gone
    """Nobody waits for the section any more."""


class AudiocraftRun:
    """A section while it is rendered. `cancel` may be called from other threads."""

    def __init__(self, folder: AudiocraftFolder, request: RenderRequest) -> None:
        rate, spec = folder.sizes.codec.sample_rate, request.spec
        self.request = request
        self.warnings: list[Warning] = []
        self.samples = round(spec.frames * rate / spec.sample_rate)
        self.tail_samples = round(request.overlap_frames * rate / spec.sample_rate)
        self._folder = folder
        self._hop = folder.sizes.codec.hop
        self._frames = math.ceil((self.samples + self.tail_samples) / self._hop)
        self.context_frames = self._context()
        self.windows: list[Window] = plan_windows(
            self._frames, self.context_frames, window=folder.window_frames, stride=folder.stride_frames
        )
        self.guide_applied = False
        self._cancelled = threading.Event()
        self._warn_of_unused()

    def cancel(self) -> None:
        """End the run at its next step."""
        self._cancelled.set()

    def play(self, model: AudiocraftModel, report: Callable[[float], None]) -> NDArray[np.float32]:
        """Return all samples (frames, channels). `report` receives the part that is done, after each step."""
        codes = self._context_codes(model)
        for index, window in enumerate(self.windows):
            known = codes[:, codes.shape[1] - window.prompt_frames :]
            found = model.generate(
                self.request.spec.prompt,
                known if window.prompt_frames else None,
                self._run_frames(window),
                melody=self._melody(window, codes.shape[1] - self.context_frames),
                seed=(self.request.seed + index * SEED_STEP) & 0xFFFF_FFFF,
                sampling=self._sampling(),
                report=self._stepped(codes.shape[1] - self.context_frames, window, report),
            )
            codes = torch.cat([codes, found[:, window.prompt_frames : window.frames]], dim=1)
        return self._sound(model, codes)

    @property
    def window_frames_used(self) -> int:
        """The model frames of all windows, their known frames included."""
        return sum(map(self._run_frames, self.windows))

    def _run_frames(self, window: Window) -> int:
        # A MAGNeT always fills its window; a MusicGen stops where the section ends.
        return self._folder.window_frames if self._folder.family is AudiocraftFamily.MAGNET else window.frames

    def _context(self) -> int:
        clip = self.request.conditioning
        if clip is None:
            return 0
        given = len(clip.samples) // self._hop
        frames = min(given, self._folder.window_frames - self._folder.stride_frames)
        if not frames:
            self._warn("conditioning_too_short", "the earlier section's end is shorter than one frame of the model")
        elif frames < given:
            seconds = frames / self._folder.sizes.codec.frame_rate
            self._warn("conditioning_cut", f"the model uses the last {seconds:g} s of it")
        return frames

    def _context_codes(self, model: AudiocraftModel) -> torch.Tensor:
        clip = self.request.conditioning
        if clip is None or not self.context_frames:
            books = self._folder.sizes.decoder.num_codebooks
            return torch.zeros(books, 0, dtype=torch.int64, device=model.device)
        # Its last sample is the one before our first, so whole frames are counted from the end.
        return model.encode(torch.tensor(clip.samples[-self.context_frames * self._hop :].T))

    def _melody(self, window: Window, done: int) -> torch.Tensor | None:
        """Return the guide's sound for a window, or None where it is silent.

        As in audiocraft, a shorter guide is repeated. Behind an earlier section's audio, the guide's start is mirrored.
        """
        guide = self.request.guide
        if guide is None:
            return None
        first = (done - window.prompt_frames) * self._hop
        places = torch.arange(first, first + window.frames * self._hop).abs() % len(guide.samples)
        sound = torch.tensor(guide.samples.mean(axis=1))[places][None]
        if not sound.any():
            return None
        self.guide_applied = True
        return sound

    def _stepped(self, done: int, window: Window, report: Callable[[float], None]) -> Callable[[int, int], None]:
        def stepped(step: int, steps: int) -> None:
            if self._cancelled.is_set():
                raise CancelledRun
            report((done + window.new_frames * min(1.0, step / max(1, steps))) / self._frames)

        return stepped

    def _sound(self, model: AudiocraftModel, codes: torch.Tensor) -> NDArray[np.float32]:
        pieces = []
        for piece in model.decode(codes, self.context_frames):
            if self._cancelled.is_set():
                raise CancelledRun
            pieces.append(piece)
        sound = torch.cat(pieces, dim=1)[:, : self.samples + self.tail_samples]
        if not bool(sound.isfinite().all()):
            raise errors.RenderInvalid("the model computed values that are not numbers")
        found: NDArray[np.float32] = sound.t().contiguous().numpy()
        return found

    def _sampling(self) -> dict[str, Any]:
        """Return audiocraft's arguments. Its top_p takes the place of top_k; 0 switches both off."""
        hints, card = self.request.spec.sampling, self._folder.sizes.decoder.codebook_size
        is_magnet = self._folder.family is AudiocraftFamily.MAGNET
        found: dict[str, Any] = {"top_p": 0.9} if is_magnet else {"top_k": TOP_K, "cfg_coef": 3.0}
        if hints is not None:
            if hints.top_k is not None:
                found |= {"top_k": hints.top_k, "top_p": 0.0}
            if hints.top_p is not None:
                found["top_p"] = hints.top_p if _limits(hints.top_p) else 0.0
            if hints.temperature is not None:
                found["temp"] = hints.temperature
            if hints.guidance is not None:
                found["max_cfg_coef" if is_magnet else "cfg_coef"] = hints.guidance
        if "top_k" in found:
            found["top_k"] = min(found["top_k"], card)
        return found

    def _warn_of_unused(self) -> None:
        spec, hints = self.request.spec, self.request.spec.sampling
        if spec.negative_prompt:
            self._warn("negative_prompt_not_used", "audiocraft has no negative prompt; negative_prompt has no effect")
        if spec.loop:
            self._warn("loop_not_used", "the model cannot lead the end of a section into its own start")
        if hints is not None and hints.top_k and _limits(hints.top_p):
            self._warn("top_k_not_used", "audiocraft takes top_p or top_k; top_p is set, and top_k has no effect")
        if spec.continuity == Continuity.MOTIF:
            self._warn("motif_not_used", "continuity MOTIF has no effect: the model follows no motif")

    def warnings_after(self) -> Iterator[Warning]:
        """Yield all warnings of a finished run."""
        yield from self.warnings
        if self.request.guide is not None and not self.guide_applied:
            yield Warning("guide_not_used", "the guide is silent within the section", self.request.spec.section_id)

    def _warn(self, code: str, text: str) -> None:
        self.warnings.append(Warning(code, text, self.request.spec.section_id))


def _limits(top_p: float | None) -> bool:
    return top_p is not None and 0 < top_p < 1
