"""The errors of this library.

AudioError
├── InvalidSettings     a setting that no file or device can have
├── NonFiniteAudio      NaN or infinity, with the frame
├── UnreadableAudio     not an audio file, or a damaged one
└── AudioTooLarge       an audio file beyond the limits
"""

# ruff: noqa: N818 - the names say what is wrong; "Error" at the end of each would repeat it

from __future__ import annotations


class AudioError(ValueError):
    """Base of all errors of this library."""


class InvalidSettings(AudioError):
    """A setting, or a combination of settings, that is not possible."""


class NonFiniteAudio(AudioError):
    """A sample is NaN or infinite."""

    def __init__(self, frame: int, channel: int) -> None:
        super().__init__(f"the sample at frame {frame}, channel {channel} is not a finite number")
        self.frame = frame
        self.channel = channel


class UnreadableAudio(AudioError):
    """A file is not audio of a known kind, is damaged, or is shorter than it claims."""


class AudioTooLarge(AudioError):
    """A file exceeds the limits of length, channels or sample rate."""
