"""Chroma of a melody: the strongest of twelve pitch classes, frame by frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from segue_renderer.musicgen.config import MelodyConfig

CENTRE_OCTAVE, WIDTH_OCTAVES = 5.0, 2.0


def of_sound(sound: torch.Tensor, sample_rate: int, config: MelodyConfig) -> torch.Tensor:
    """Return one-hot rows (frames, classes) of audio (samples,)."""
    missing = max(0, config.fft_size - len(sound))
    sound = torch.nn.functional.pad(sound, (missing // 2, missing - missing // 2))
    window = torch.hann_window(config.fft_size)
    spectrum = torch.stft(
        sound, config.fft_size, config.hop, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    power = (spectrum / window.pow(2).sum().sqrt()).abs().pow(2)
    classes = torch.from_numpy(filters(sample_rate, config)).float() @ power
    return torch.nn.functional.one_hot(classes.argmax(dim=0), config.num_chroma).float()


def of_notes(
    notes: Sequence[tuple[float, float, int]], seconds: float, frame_s: float, config: MelodyConfig
) -> torch.Tensor:
    """Return one-hot rows of notes (start, end, MIDI pitch). The highest of simultaneous notes counts.

    In a rest, the note before continues.
    """
    frames = max(1, min(config.chroma_length, 1 + int(seconds / frame_s)))
    classes = np.zeros(frames, np.int64)
    current = min(notes, default=(0.0, 0.0, 0))[2]
    for frame in range(frames):
        middle = frame * frame_s
        sounding = [pitch for start, end, pitch in notes if start <= middle < end]
        current = max(sounding, default=current)
        classes[frame] = current % 12
    return torch.nn.functional.one_hot(torch.from_numpy(classes), config.num_chroma).float()


def filters(sample_rate: int, config: MelodyConfig) -> NDArray[np.float64]:
    """Return the weights of each frequency for each class (classes, frequencies), C first.

    Each frequency is a bump on the circle of classes. Its width is the distance to its neighbour, and its length is
    scaled to 1. Octaves far from the fifth have a lower weight.
    """
    num = config.num_chroma
    frequencies = np.linspace(0, sample_rate, config.fft_size, endpoint=False)[1:]
    classes = num * np.log2(frequencies / (440.0 / 16))
    # Frequency 0 has no class: it is placed far below, half a turn from its neighbour.
    classes = np.concatenate([[classes[0] - 1.5 * num], classes])
    widths = np.concatenate([np.maximum(np.diff(classes), 1.0), [1.0]])
    distance = classes[None, :] - np.arange(num, dtype=np.float64)[:, None]
    distance = np.remainder(distance + round(num / 2) + 10 * num, num) - round(num / 2)
    bumps = np.exp(-0.5 * (2 * distance / widths) ** 2)
    bumps /= np.sqrt((bumps**2).sum(axis=0))
    bumps *= np.exp(-0.5 * ((classes / num - CENTRE_OCTAVE) / WIDTH_OCTAVES) ** 2)
    # The classes start at A; rotate them to start at C.
    return np.ascontiguousarray(np.roll(bumps, -3 * (num // 12), axis=0)[:, : 1 + config.fft_size // 2])
