"""The place of a section in the audio that a model makes at once, counted in the model's latents. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class LatentGrid:
    """The unit in which a model makes audio, and its limits in that unit."""

    sample_rate: int
    hop: int
    """Samples in one latent."""
    fewest: int
    most: int
    """The latents of the shortest and the longest window."""
    context: int
    """The most latents of the earlier, and of the later section."""

    @property
    def rate(self) -> float:
        """Latents in one second."""
        return self.sample_rate / self.hop

    def up(self, samples: int) -> int:
        """Return the latents that hold a number of samples."""
        return -(-samples // self.hop)


@dataclass(frozen=True)
class LatentRun:
    """Latents from `first` to before `end`."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class DiffusionWindow:
    """One window: the earlier section's end, the section with its tail, and the later section's start."""

    latents: int
    before: LatentRun
    own: LatentRun
    """The section and its tail, which is what is decoded."""
    after: LatentRun
    skipped: int
    """Samples of the later section before its first whole latent."""
    samples: int
    tail: int

    @property
    def kept(self) -> tuple[LatentRun, ...]:
        """The latents that are known and not made anew."""
        return tuple(run for run in (self.before, self.after) if len(run))


def plan_window(grid: LatentGrid, samples: int, tail: int, *, before: int = 0, after: int = 0) -> DiffusionWindow:
    """Place a section of `samples`, a `tail` that is cut where there is no room, and the audio around it.

    The earlier section's last sample is directly before the section, the later section's first sample directly after
    it, where the tail begins: the tail is then the model's version of the later section's start.
    """
    section = grid.up(samples)
    if section > grid.most:
        raise errors.InvalidField(
            f"spec.frames: the section is {samples / grid.sample_rate:.1f} s long; the model makes at most "
            f"{grid.most / grid.rate:.1f} s at once"
        )
    tail = min(tail, grid.most * grid.hop - samples)
    own = grid.up(samples + tail)
    skipped = -samples % grid.hop
    room = grid.most - own
    later = max(0, min((after - skipped) // grid.hop, grid.context, room // 2 if before else room))
    earlier = min(before // grid.hop, grid.context, room - later)
    first_after = earlier + section
    end = max(earlier + own, first_after + later)
    return DiffusionWindow(
        latents=max(end, grid.fewest),
        before=LatentRun(0, earlier),
        own=LatentRun(earlier, earlier + own),
        after=LatentRun(first_after, first_after + later),
        skipped=skipped,
        samples=samples,
        tail=tail,
    )


@dataclass(frozen=True)
class LatentTile:
    """A run of latents that is decoded or encoded at once, with some latents around it that it depends on."""

    run: LatentRun
    around: LatentRun


def tiles(run: LatentRun, latents: int, *, size: int, longest: int, overlap: int) -> Iterator[LatentTile]:
    """Yield the tiles of a run in a window of so many latents, in order. The last one may have up to `longest`."""
    first = run.first
    while first < run.end:
        end = run.end if run.end - first <= longest else first + size
        around = LatentRun(max(0, first - overlap), min(latents, end + overlap))
        yield LatentTile(LatentRun(first, end), around)
        first = end
