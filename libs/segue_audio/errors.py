"""What can be wrong with audio: the errors of this library, free of any service.

AudioError
├── InvalidSettings     a value that no file or device can have
├── NonFiniteAudio      NaN or Inf, with the frame
├── UnreadableAudio     not a sound file, or a damaged one
└── AudioTooLarge       a sound file beyond the limits
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would say it again

from __future__ import annotations


class AudioError(ValueError):
    """Base of this library's errors; the message says what, where, and what to do."""


class InvalidSettings(AudioError):
    """A setting, or a combination of settings, that cannot be honoured."""


class NonFiniteAudio(AudioError):
    """A sample is NaN or infinite."""

    def __init__(self, frame: int, channel: int) -> None:
        super().__init__(f"sample of frame {frame}, channel {channel} is not a finite number")
        self.frame = frame
        self.channel = channel


class UnreadableAudio(AudioError):
    """A file is not sound of a known kind, is damaged, or is shorter than it claims."""


class AudioTooLarge(AudioError):
    """A file has more frames, channels or frames a second than the limits allow."""
