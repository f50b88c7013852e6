"""Checks the audio that a renderer sends: unusable audio is refused before anybody can hear it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from segue.audio.v1 import audio_pb2
from segue_conductor.render.take_store import MIX
from segue_runtime import errors
from segue_runtime.rpc.chunks import crc32c

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from segue.renderer.v1 import renderer_pb2

LOUDEST: Final = 16.0
"""24 dB over full scale: too loud for any mix."""
LARGEST_OFFSET: Final = 0.1
"""The largest absolute mean: music has no constant offset."""
LONGEST_TAIL_S: Final = 60.0
"""How long a take may continue beyond its overlap: a renderer that never ends must not fill the disk."""


class AudioCheck:
    """The check of one take. Every method raises RenderInvalid for unusable audio."""

    def __init__(self, start: renderer_pb2.RenderStart, profile: renderer_pb2.ModelProfile) -> None:
        self._start = start
        self._profile = profile
        self._format = audio_pb2.AudioFormat()
        self._frames: dict[str, int] = {}
        self._loudest = 0.0
        self._sums: NDArray[np.float64] = np.zeros(1)

    def accepted(self, accepted: renderer_pb2.RenderAccepted) -> None:
        """Check the format of the take."""
        promised = accepted.format
        rate = self._profile.sample_rate or self._start.spec.sample_rate
        if promised.sample_format != audio_pb2.SAMPLE_FORMAT_F32LE:
            raise self._invalid(f"the samples are {audio_pb2.SampleFormat.Name(promised.sample_format)}, not F32LE")
        if promised.sample_rate != rate:
            raise self._invalid(f"the sample rate is {promised.sample_rate} instead of {rate}")
        if promised.channels not in {1, 2} or self._profile.channels not in {0, promised.channels}:
            raise self._invalid(f"it has {promised.channels} channels instead of {self._profile.channels}")
        if accepted.HasField("declared_lufs") and not math.isfinite(accepted.declared_lufs):
            raise self._invalid("the declared loudness is not a number")
        self._format = promised
        self._sums = np.zeros(promised.channels)

    def audio(self, audio: audio_pb2.AudioChunk, layer: str) -> None:
        """Check the next chunk of a layer."""
        if not self._format.channels:
            raise self._invalid("no format was sent before the audio")
        first_frame = self._frames.get(layer, 0)
        if audio.first_frame != first_frame or len(audio.data) != audio.frames * self._format.channels * 4:
            raise self._invalid(f"layer {layer} has frame {audio.first_frame} instead of {first_frame}")
        if audio.crc32c != crc32c(audio.data):
            raise self._invalid(f"the checksum of layer {layer} does not match, from frame {first_frame} on")
        end_frame = self._frames[layer] = first_frame + audio.frames
        if end_frame > self._most_frames():
            raise self._invalid(f"layer {layer} does not end: {end_frame} frames were received")
        samples = np.frombuffer(audio.data, np.float32)
        if not samples.size:
            return
        if not np.isfinite(samples).all():
            raise self._invalid(f"layer {layer} has samples that are not finite, from frame {first_frame} on")
        loudest = float(np.abs(samples).max())
        if loudest > LOUDEST:
            raise self._invalid(f"layer {layer} has a sample of {loudest:.3g}; full scale is 1")
        if layer == MIX:
            self._loudest = max(self._loudest, loudest)
            # One channel after the other: numpy's sum along frames takes many times as long.
            channels = samples.reshape(-1, self._format.channels).T
            self._sums += [channel.sum(dtype=np.float64) for channel in channels]

    def finished(self, finished: renderer_pb2.RenderFinished) -> None:
        """Check the complete take."""
        if not self._format.channels:
            raise self._invalid("no format was sent")
        frames = self._frames.get(MIX, 0)
        expected = self._expected_frames()
        if abs(finished.frames - expected) > 1:
            raise self._invalid(f"it has {finished.frames} frames instead of {expected}")
        if frames != finished.frames + finished.tail_frames:
            raise self._invalid(
                f"the renderer declared {finished.frames} + {finished.tail_frames} frames and sent {frames}"
            )
        if self._loudest == 0.0:
            raise self._invalid("all samples are zero")
        offset = float(np.abs(self._sums).max()) / frames
        if offset > LARGEST_OFFSET:
            raise self._invalid(f"it has a constant offset of {offset:.2g}")

    def _expected_frames(self) -> int:
        spec = self._start.spec
        return round(spec.frames * self._format.sample_rate / spec.sample_rate)

    def _most_frames(self) -> int:
        spec = self._start.spec
        asked_s = (spec.frames + spec.tail_frames + self._start.overlap_frames) / spec.sample_rate
        return round((asked_s + LONGEST_TAIL_S) * self._format.sample_rate)

    def _invalid(self, reason: str) -> errors.SegueError:
        section_id = self._start.spec.section_id
        return errors.RenderInvalid(
            f"section {section_id}: the renderer's audio cannot be used: {reason}", metadata={"section_id": section_id}
        )
