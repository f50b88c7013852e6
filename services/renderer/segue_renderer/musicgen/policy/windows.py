"""A section longer than the model's window, played in windows that each hear the end of the one before."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """One run of the model."""

    prompt_frames: int
    """Known frames that it hears first, counted in its length."""
    new_frames: int

    @property
    def frames(self) -> int:
        """All frames of the window."""
        return self.prompt_frames + self.new_frames


def plan_windows(frames: int, context: int, *, window: int, stride: int) -> list[Window]:
    """Cover `frames` new frames; `context` frames of earlier sound are heard at the start.

    The first window is filled; each later one goes on by `stride` frames and hears the `window - stride` before them.
    """
    if not 0 < stride <= window or not 0 <= context < window or frames < 1:
        raise ValueError(f"{frames} frames after {context} do not fit windows of {window} by {stride}")
    windows = [Window(context, min(frames, window - context))]
    left = frames - windows[0].new_frames
    while left > 0:
        windows.append(Window(window - stride, min(left, stride)))
        left -= windows[-1].new_frames
    return windows
