"""The first run of every shape that serving uses, and the speed of the loaded model.

The first run of a shape loads kernels and makes plans, which takes up to a second on a GPU: all streams would wait.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from segue_renderer.musicgen.conditions import conditions_of
from segue_renderer.musicgen.engine import CHUNK_FRAMES, FIRST_CHUNK_FRAMES
from segue_renderer.musicgen.model import chroma
from segue_renderer.musicgen.model.stream_decoder import StreamDecoder
from segue_renderer.musicgen.runner import SamplingParams
from segue_renderer.musicgen.section_render import TEXT_TOKENS
from segue_renderer.scheduler import buckets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from segue_renderer.musicgen.loaded_model import LoadedModel
    from segue_renderer.musicgen.policy.delay_pattern import Codes
    from segue_renderer.musicgen.runner import BatchRunner

MEASURED_FRAMES: Final = 12
PROMPT: Final = "warm up"


class WarmUp:
    """Runs a loaded model while all its slots are empty. `contexts` are the usual numbers of known frames."""

    def __init__(self, model: LoadedModel, runner: BatchRunner, *, slots: int, contexts: Sequence[int]) -> None:
        self._model = model
        self._runner = runner
        self._slots = slots
        self._contexts = contexts

    def works(self) -> list[tuple[str, Callable[[], object]]]:
        """Return what serving does, in parts with a name."""
        melody = self._model.config.melody
        return [
            *((f"a window after {frames} frames", partial(self._begin, 0, frames)) for frames in self._contexts),
            *((f"the audio of {frames} known frames", partial(self._encode, frames)) for frames in self._contexts),
            *((f"steps of {bucket}", partial(self._step, bucket)) for bucket in buckets_of(self._slots)),
            *([("a move", self._move)] if self._slots > 1 else []),
            *([("a melody", self._follow)] if melody else []),
            ("the codec's pieces", self._decode),
        ]

    def speed(self) -> float:
        """Run a few steps of one slot; return the seconds of audio per second."""
        self._begin(0, 0, MEASURED_FRAMES)
        steps = []
        for column in range(1, self._runner.pattern.num_columns(MEASURED_FRAMES)):
            began = time.perf_counter()
            self._runner.step(1, column + self._runner.prefix_positions)
            self._runner.is_finite(0)  # waits for the device
            steps.append(time.perf_counter() - began)
        codes = torch.from_numpy(self._runner.frames(0, 0, MEASURED_FRAMES))
        began = 0.0
        for _ in range(2):  # the first decoding of a process loads libraries and chooses kernels
            began = time.perf_counter()
            self._decoder().push(codes, last=True)
        decode_s = (time.perf_counter() - began) / MEASURED_FRAMES
        self._runner.end(0)
        return 1 / self._model.config.codec.frame_rate / (statistics.median(steps) + decode_s)

    # the parts

    def _begin(self, slot: int, known_frames: int, new_frames: int = 1, *, negative: str = "") -> None:
        melody = self._model.config.melody
        rows = torch.eye(melody.num_chroma)[:1] if melody else None
        conditions, _ = conditions_of(self._model, PROMPT, TEXT_TOKENS, rows, negative)
        pattern = self._runner.pattern
        laid = pattern.layout(self._known(known_frames), known_frames + new_frames)
        self._runner.begin(slot, laid, pattern.known_columns(known_frames), conditions, SamplingParams())

    def _step(self, bucket: int) -> None:
        """Step with and without a negative prompt, which captured steps do not contain."""
        for negative in ("", PROMPT):
            for slot in range(bucket):
                self._begin(slot, 0, negative=negative)
            self._runner.step(bucket, 1 + self._runner.prefix_positions)
            self._runner.is_finite(0)
            for slot in range(bucket):
                self._runner.end(slot)

    def _move(self) -> None:
        self._begin(0, 0)
        self._runner.move(0, 1, 1 + self._runner.prefix_positions)
        self._runner.end(1)

    def _encode(self, frames: int) -> None:
        self._model.codec.encode(torch.zeros(frames * self._model.config.codec.hop))

    def _follow(self) -> None:
        melody, rate = self._model.config.melody, self._model.config.codec.sample_rate
        if melody is not None:
            chroma.of_sound(torch.zeros(rate), rate, melody)

    def _decode(self) -> None:
        decoder = self._decoder()
        decoder.push(torch.from_numpy(self._known(FIRST_CHUNK_FRAMES)))
        for last in (False, True):
            decoder.push(torch.from_numpy(self._known(CHUNK_FRAMES)), last=last)

    def _known(self, frames: int) -> Codes:
        return np.zeros((self._model.config.decoder.num_codebooks, frames), np.int64)

    def _decoder(self) -> StreamDecoder:
        return StreamDecoder(self._model.codec, self._model.config.decoder.channels)
