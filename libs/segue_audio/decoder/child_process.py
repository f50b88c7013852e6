"""The child process that decodes a file that may be hostile: it limits itself first, then writes PCM to stdout.

Run as `python -I -m segue_audio.decoder.child_process PATH`. It writes messages of one letter, a length and a body:
`H` rate, channels and frames, `P` float32 PCM, `E` an error, `Z` the end.
"""

from __future__ import annotations

import resource
import struct
import sys
from pathlib import Path
from typing import BinaryIO, Final

HEAD: Final = struct.Struct("<cI")
SHAPE: Final = struct.Struct("<IIQ")
BLOCK_FRAMES: Final = 32_768
MEMORY_BYTES: Final = 1 << 30
CPU_S: Final = 300
MAX_SECONDS: Final = 3 * 3600.0
MAX_SAMPLES: Final = 3 * 3600 * 96_000 * 2
"""Three hours of stereo at 96 kHz; more channels or a higher rate shorten the longest file."""


def main() -> int:
    """Decode one file."""
    limit()
    out = sys.stdout.buffer
    try:
        decode(Path(sys.argv[1]), out)
    except MemoryError:
        send(out, b"E", b"decoding it needs too much memory")
    out.flush()
    return 0


def limit() -> None:
    """Drop the rights that a decoder does not need, before it reads the file."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))


def decode(path: Path, out: BinaryIO) -> None:
    """Write the decoded audio; sends an error instead of raising it."""
    import numpy as np

    from segue_audio.errors import AudioError
    from segue_audio.files import ReadLimits, open_reader

    try:
        with open_reader(path, ReadLimits(max_frames=MAX_SAMPLES, max_seconds=MAX_SECONDS)) as reader:
            if reader.frames * reader.channels > MAX_SAMPLES:
                seconds = MAX_SAMPLES // (reader.channels * reader.sample_rate)
                text = f"it is too long; with its channels and rate the limit is {seconds} s"
                return send(out, b"E", text.encode())
            send(out, b"H", SHAPE.pack(reader.sample_rate, reader.channels, reader.frames))
            for block in reader.blocks(BLOCK_FRAMES):
                send(out, b"P", np.ascontiguousarray(block, "<f4").tobytes())
    except AudioError as error:
        return send(out, b"E", str(error).replace(str(path), "it").replace(path.name, "the file").encode())
    return send(out, b"Z", b"")


def send(out: BinaryIO, kind: bytes, body: bytes) -> None:
    """Write one message."""
    out.write(HEAD.pack(kind, len(body)))
    out.write(body)


if __name__ == "__main__":
    sys.exit(main())
