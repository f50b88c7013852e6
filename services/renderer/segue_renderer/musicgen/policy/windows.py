"""Splits a section into windows of the model. Each window begins with the end of the one before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """One run of the model."""

    prompt_frames: int
    """Known frames at the start, counted in the window's length."""
    new_frames: int

    @property
    def frames(self) -> int:
        """All frames of the window."""
        return self.prompt_frames + self.new_frames


def plan_windows(frames: int, context: int, *, window: int, stride: int) -> list[Window]:
    """Cover `frames` new frames; `context` frames of earlier audio come before them.

    The first window is full. Each later window adds `stride` frames and begins with the `window - stride` before them.
    """
    if not 0 < stride <= window or not 0 <= context < window or frames < 1:
        raise ValueError(f"{frames} frames after {context} do not fit windows of {window} by {stride}")
    windows = [Window(context, min(frames, window - context))]
    left = frames - windows[0].new_frames
    while left > 0:
        windows.append(Window(window - stride, min(left, stride)))
        left -= windows[-1].new_frames
    return windows
