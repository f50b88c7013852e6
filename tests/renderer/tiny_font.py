"""Small SoundFonts in the published format, SF2 and SF3, with programs and kits of computed tones, and their pack."""

from __future__ import annotations

import functools
import io
import shutil
import struct
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from segue_renderer.sketch.sampled.build import build_pack
from segue_renderer.sketch.sampled.pack import read_pack, write_pack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from segue_renderer.sketch.sampled.pack import VoicePack

RATE = 22_050
Generators = tuple[tuple[int, int], ...]
# Numbers of generators.
PAN, ATTACK, DECAY, SUSTAIN, RELEASE, INSTRUMENT, KEYS, VELOCITIES = 17, 34, 36, 37, 38, 41, 43, 44
CUTOFF, ATTENUATION, FINE_TUNE, SAMPLE, MODES, EXCLUSIVE, ROOT = 8, 48, 52, 53, 54, 57, 58
VORBIS = 0x10


@dataclass(frozen=True)
class TinySample:
    """A sample, with a loop or without."""

    name: str
    pcm: NDArray[np.int16]
    key: int
    loop: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class TinyZone:
    """A zone of an instrument: the number of its sample, and generators."""

    sample: int
    generators: Generators = ()


@dataclass(frozen=True)
class TinyFont:
    """What a font has: samples, and for each bank and program the zones of one instrument."""

    samples: Sequence[TinySample]
    presets: Mapping[tuple[int, int], Sequence[TinyZone]]
    modulators: Mapping[tuple[int, int], Sequence[tuple[int, int, int]]] = field(default_factory=dict)
    """For the last zone of a preset: source, generator and amount."""
    texts: Mapping[str, str] = field(default_factory=lambda: {"INAM": "Tiny", "ICOP": "public domain"})


def keys(low: int, high: int) -> tuple[int, int]:
    return KEYS, low | high << 8


def velocities(low: int, high: int) -> tuple[int, int]:
    return VELOCITIES, low | high << 8


def tone(
    key: int, seconds: float, partials: Sequence[float] = (1.0, 0.5, 0.3), half_s: float = 0.0
) -> NDArray[np.int16]:
    """Return a tone at the pitch of a key; with `half_s` it fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    hertz = 440.0 * 2.0 ** ((key - 69) / 12)
    sound = sum(weight * np.sin(2 * np.pi * hertz * n * time) for n, weight in enumerate(partials, 1))
    if half_s:
        sound = sound * 0.5 ** (time / half_s)
    return np.asarray(np.rint(sound * 14_000 / sum(partials)), dtype=np.int16)


def loop_of(key: int, pcm: NDArray[np.int16], near: int) -> tuple[int, int]:
    """Return a loop of whole periods at the end of a tone."""
    period = RATE / (440.0 * 2.0 ** ((key - 69) / 12))
    count = max(1, round(near / period))
    return len(pcm) - round(count * period), len(pcm)


def noise(seconds: float, half_s: float, seed: int) -> NDArray[np.int16]:
    """Return a burst of noise that fades."""
    time = np.arange(round(seconds * RATE)) / RATE
    sound = (np.random.default_rng(seed).random(len(time)) - 0.5) * 0.5 ** (time / half_s)
    return np.asarray(np.rint(sound * 24_000), dtype=np.int16)


def usual_font() -> TinyFont:
    """Return a font with piano, organ, guitars, basses, violin, strings, flute and a kit; others are left out."""
    piano = tone(60, 1.2, half_s=0.4)
    held = tone(60, 0.5)
    samples = [
        TinySample("piano", piano, 60),
        TinySample("held", held, 60, loop_of(60, held, 4_000)),
        TinySample("kick", tone(30, 0.3, (1.0,), 0.05), 60),
        TinySample("snare", noise(0.25, 0.04, 1), 60),
        TinySample("open hat", noise(0.6, 0.2, 2), 60),
    ]
    struck = [
        TinyZone(0, ((PAN, -500), (RELEASE, -2_000), keys(0, 72))),
        TinyZone(0, ((PAN, 500), (RELEASE, -2_000), (CUTOFF, 9_000), velocities(0, 63), keys(0, 72))),
        TinyZone(0, ((PAN, 500), (RELEASE, -2_000), velocities(64, 127), keys(0, 72))),
        TinyZone(0, ((RELEASE, -2_000), keys(73, 96), (FINE_TUNE, 4))),
    ]
    looped = [TinyZone(1, ((MODES, 1), (ATTACK, -4_000), (RELEASE, -1_500), (SUSTAIN, 60), (DECAY, 0)))]
    drums = [
        TinyZone(2, (keys(36, 36), (ROOT, 36))),
        TinyZone(3, (keys(38, 38), (ROOT, 38))),
        TinyZone(4, (keys(42, 42), (ROOT, 42), (DECAY, -3_000), (SUSTAIN, 1_000), (EXCLUSIVE, 1))),
        TinyZone(4, (keys(46, 46), (ROOT, 46), (EXCLUSIVE, 1))),
    ]
    presets: dict[tuple[int, int], Sequence[TinyZone]] = {}
    presets |= {(0, program): struck for program in (0, 4, 24, 25, 27, 32, 33)}
    presets |= {(0, program): looped for program in (16, 29, 30, 40, 48, 52, 73)}
    presets |= {(128, program): drums for program in (0, 16)}
    return TinyFont(samples, presets, {(0, 0): [(0x0102, CUTOFF, -6_000)]})


def font_bytes(font: TinyFont, *, compressed: bool = False, padded: bool = True) -> bytes:
    """Return a font's file; `padded` off leaves out the padding after an odd chunk, as some fonts do."""
    smpl, headers = _samples(font, compressed=compressed)
    lists = b"".join(_chunk(name.encode(), text.encode() + b"\0") for name, text in font.texts.items())
    sdta = _chunk(b"smpl", smpl, padded=padded)
    content = b"sfbk" + _list(b"INFO", lists) + _list(b"sdta", sdta, padded=padded)
    content += _list(b"pdta", _hydra(font, headers))
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _samples(font: TinyFont, *, compressed: bool) -> tuple[bytes, bytes]:
    smpl, headers = b"", b""
    for sample in font.samples:
        first = len(smpl) if compressed else len(smpl) // 2
        if compressed:
            file = io.BytesIO()
            soundfile.write(file, sample.pcm.astype(np.float32) / 32_768, RATE, format="OGG", subtype="VORBIS")
            smpl += file.getvalue()
        else:
            smpl += sample.pcm.astype("<i2").tobytes() + bytes(92)
        end = len(smpl) if compressed else first + len(sample.pcm)
        shift = 0 if compressed else first
        headers += _name(sample.name) + struct.pack(
            "<IIIIIBbHH", first, end, sample.loop[0] + shift, sample.loop[1] + shift, RATE, sample.key, 0, 0,
            1 | (VORBIS if compressed else 0),
        )  # fmt: skip
    return smpl, headers + _name("EOS") + bytes(26)


def _hydra(font: TinyFont, headers: bytes) -> bytes:
    phdr = pbag = pgen = inst = ibag = igen = imod = b""
    for number, ((bank, program), zones) in enumerate(sorted(font.presets.items())):
        phdr += _name(f"preset {program}") + struct.pack("<HHH", program, bank, number) + bytes(12)
        pbag += struct.pack("<HH", number, 0)
        pgen += struct.pack("<Hh", INSTRUMENT, number)
        inst += _name(f"instrument {program}") + struct.pack("<H", len(ibag) // 4)
        for zone in zones:
            ibag += struct.pack("<HH", len(igen) // 4, len(imod) // 10)
            ordered = sorted(zone.generators, key=lambda each: each[0] not in {KEYS, VELOCITIES})
            for kind, amount in (*ordered, (SAMPLE, zone.sample)):
                igen += struct.pack("<HH", kind, amount & 0xFFFF)
        for source, to, amount in font.modulators.get((bank, program), ()):
            imod += struct.pack("<HHhHH", source, to, amount, 0, 0)
    count = len(font.presets)
    phdr += _name("EOP") + struct.pack("<HHH", 0, 0, count) + bytes(12)
    pbag += struct.pack("<HH", count, 0)
    inst += _name("EOI") + struct.pack("<H", len(ibag) // 4)
    ibag += struct.pack("<HH", len(igen) // 4, len(imod) // 10)
    tables = {
        b"phdr": phdr, b"pbag": pbag, b"pmod": bytes(10), b"pgen": pgen + bytes(4), b"inst": inst, b"ibag": ibag,
        b"imod": imod + bytes(10), b"igen": igen + bytes(4), b"shdr": headers,
    }  # fmt: skip
    return b"".join(_chunk(name, content) for name, content in tables.items())


def _name(text: str) -> bytes:
    return text.encode()[:19].ljust(20, b"\0")


def _chunk(name: bytes, content: bytes, *, padded: bool = True) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2 if padded else 0)


def _list(kind: bytes, content: bytes, *, padded: bool = True) -> bytes:
    return _chunk(b"LIST", kind + content, padded=padded)


@functools.cache
def tiny_pack() -> VoicePack:
    """Return the pack of the usual font, as it is read from its file."""
    folder = Path(tempfile.mkdtemp(prefix="segue-voices-"))
    try:
        return read_pack(written_pack(folder), digest="0" * 64)
    finally:
        # The pack maps the file, which stays readable.
        shutil.rmtree(folder, ignore_errors=True)


def written_pack(folder: Path) -> Path:
    """Write the pack of the usual font into a folder."""
    font, path = folder / "tiny.sf2", folder / "tiny.voices"
    font.write_bytes(font_bytes(usual_font()))
    write_pack(build_pack(font, "tiny", "CC0", lambda _done, _total: None), path)
    return path
