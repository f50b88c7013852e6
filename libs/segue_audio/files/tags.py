"""Tags of every output format: written into an encoded file, and read from any file."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING, Final, Protocol

from segue_audio.errors import UnreadableAudio
from segue_audio.files import flac, ogg, wav
from segue_audio.files.id3 import id3_size, pack_id3, unpack_id3
from segue_audio.files.provenance import pack_xmp
from segue_audio.files.vorbis import chapter_tags
from segue_audio.formats import Tags

if TYPE_CHECKING:
    from collections.abc import Mapping

    from segue_audio.files.settings import Cue

_LARGEST_ID3 = 64 << 20


class TagCopier(Protocol):
    """Copies an encoded file with tags and cues."""

    def __call__(
        self,
        source: IO[bytes],
        target: IO[bytes],
        tags: Mapping[str, str],
        cues: tuple[Cue, ...],
        *,
        sample_rate: int,
        total_frames: int,
    ) -> None:
        """Copy `source` to `target`; cues are frames of the file."""


def _copy_flac(
    source: IO[bytes], target: IO[bytes], tags: Mapping[str, str], cues: tuple[Cue, ...], *, sample_rate: int, **_: int
) -> None:
    flac.copy_with_tags(source, target, {**tags, **chapter_tags(cues, sample_rate)})


def _copy_ogg(
    source: IO[bytes], target: IO[bytes], tags: Mapping[str, str], cues: tuple[Cue, ...], *, sample_rate: int, **_: int
) -> None:
    ogg.copy_with_tags(source, target, {**tags, **chapter_tags(cues, sample_rate)})


def _copy_after_id3(
    source: IO[bytes],
    target: IO[bytes],
    tags: Mapping[str, str],
    cues: tuple[Cue, ...],
    *,
    sample_rate: int,
    total_frames: int,
) -> None:
    target.write(pack_id3(tags, cues, sample_rate=sample_rate, total_frames=total_frames, xmp=pack_xmp(tags)))
    shutil.copyfileobj(source, target, 1 << 20)


TAG_COPIERS: Final[Mapping[Tags, TagCopier]] = {
    Tags.FLAC_BLOCK: _copy_flac,
    Tags.OGG_PACKET: _copy_ogg,
    Tags.ID3_HEAD: _copy_after_id3,
}
"""For formats that libsndfile encodes; an encoder of our own writes its tags itself."""

TAG_READERS: Final = {b"fLaC": flac.read_tags, b"OggS": ogg.read_tags, b"RIFF": wav.read_tags, b"RF64": wav.read_tags}
"""By the first four bytes of a file."""


def read_any_tags(source: IO[bytes]) -> dict[str, str]:
    """Read the tags of a file from its start; empty for kinds without known tags."""
    head = source.read(10)
    source.seek(0)
    reader = TAG_READERS.get(head[:4])
    if reader is not None:
        return reader(source)
    size = id3_size(head)
    if size > _LARGEST_ID3:
        raise UnreadableAudio("the ID3 tag is too large")
    return unpack_id3(source.read(size)) if size else {}
