"""Reads SoundFonts, SF2 and SF3: the zones of a preset with their values added up, and the PCM of a sample."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

import numpy as np

from segue_renderer.sketch.sampled.chunks import RiffChunk, chunks_of, content_of, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from segue_renderer.sketch.sampled.pack import Int16

MAX_TABLE_BYTES: Final = 64 << 20
MAX_TEXT_BYTES: Final = 1 << 16
MAX_SAMPLE_FRAMES: Final = 1 << 24
MAX_STREAM_BYTES: Final = 1 << 25
MAX_PRESET_ZONES: Final = 8192
"""Zones of one preset: each of its own zones times each zone of their instruments."""
SAMPLE_RATES: Final = (400, 192_000)
VORBIS: Final = 0x10

RECORDS: Final[Mapping[str, np.dtype[np.void]]] = {
    "phdr": np.dtype([("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("rest", "V12")]),
    "pbag": np.dtype([("gen", "<u2"), ("mod", "<u2")]),
    "pmod": np.dtype([("source", "<u2"), ("to", "<u2"), ("amount", "<i2"), ("by", "<u2"), ("shape", "<u2")]),
    "pgen": np.dtype([("kind", "<u2"), ("amount", "<i2")]),
    "inst": np.dtype([("name", "S20"), ("bag", "<u2")]),
    "ibag": np.dtype([("gen", "<u2"), ("mod", "<u2")]),
    "imod": np.dtype([("source", "<u2"), ("to", "<u2"), ("amount", "<i2"), ("by", "<u2"), ("shape", "<u2")]),
    "igen": np.dtype([("kind", "<u2"), ("amount", "<i2")]),
    "shdr": np.dtype([
        ("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4"),
        ("rate", "<u4"), ("key", "u1"), ("correction", "i1"), ("link", "<u2"), ("type", "<u2"),
    ]),
}  # fmt: skip
"""The records of each table of the list pdta."""

# Numbers of generators: what a zone says about its sound.
START, END, LOOP_START, LOOP_END, START_COARSE = 0, 1, 2, 3, 4
CUTOFF, RESONANCE, MOD_TO_CUTOFF, END_COARSE, PAN, MOD_SUSTAIN = 8, 9, 11, 12, 17, 29
DELAY, ATTACK, HOLD, DECAY, SUSTAIN, RELEASE, HOLD_BY_KEY, DECAY_BY_KEY = 33, 34, 35, 36, 37, 38, 39, 40
INSTRUMENT, KEYS, VELOCITIES, LOOP_START_COARSE, ATTENUATION, LOOP_END_COARSE = 41, 43, 44, 45, 48, 50
COARSE_TUNE, FINE_TUNE, SAMPLE, MODES, SCALE, EXCLUSIVE, ROOT = 51, 52, 53, 54, 56, 57, 58
DEFAULTS: Final[Mapping[int, int]] = {
    CUTOFF: 13_500, DELAY: -12_000, ATTACK: -12_000, HOLD: -12_000, DECAY: -12_000, RELEASE: -12_000, SCALE: 100,
    ROOT: -1,
}  # fmt: skip
"""Values of generators that no zone sets; all others are 0."""
OF_INSTRUMENTS_ONLY: Final = frozenset({
    START, END, LOOP_START, LOOP_END, START_COARSE, END_COARSE, LOOP_START_COARSE, LOOP_END_COARSE, SAMPLE, MODES,
    EXCLUSIVE, ROOT,
})  # fmt: skip
WHOLE: Final = (0, 127)
VELOCITY_SOURCE: Final = 2
DOWNWARDS: Final = 0x100


@dataclass(frozen=True)
class FontSample:
    """A sample of a font, in frames of the font, or in bytes of a compressed one."""

    name: str
    start: int
    end: int
    loop_start: int
    loop_end: int
    rate: int
    key: int
    correction: int
    is_vorbis: bool


@dataclass(frozen=True)
class FontZone:
    """A zone of a preset: for which notes it sounds, its sample, and the sum of the generators."""

    keys: tuple[int, int]
    velocities: tuple[int, int]
    sample: int
    values: Mapping[int, int]
    cutoff_by_velocity: tuple[tuple[int, bool], ...] = ()
    """Cents that the velocity adds to the cutoff, and whether a soft note gets them."""

    def value(self, generator: int) -> int:
        """Return a generator's value, or its default."""
        return self.values.get(generator, DEFAULTS.get(generator, 0))


@dataclass(frozen=True)
class _ZoneGenerators:
    keys: tuple[int, int]
    velocities: tuple[int, int]
    values: Mapping[int, int]
    cutoffs: tuple[tuple[int, bool], ...]


class SoundFont:
    """An open font. Its tables are in memory; samples are read on demand."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file: BinaryIO = path.open("rb")
        try:
            self._size = path.stat().st_size
            self._chunks = chunks_of(self._file, self.name, self._size)
            self._tables = {name: self._table(name) for name in RECORDS}
            self._smpl = self._chunks.get("smpl") or RiffChunk("smpl", self._size, 0)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def text(self, name: str) -> str:
        """Return a text of the list INFO, such as ICOP, the copyright."""
        chunk = self._chunks.get(name)
        if chunk is None:
            return ""
        content = content_of(self._file, self.name, chunk, MAX_TEXT_BYTES).partition(b"\0")[0]
        try:
            return content.decode("utf-8").strip()
        except UnicodeDecodeError:
            return content.decode("latin-1").strip()

    def presets(self) -> dict[tuple[int, int], str]:
        """Return the names of all presets by bank and program; the last one ends the table."""
        rows = self._tables["phdr"][:-1]
        return {(int(row["bank"]), int(row["program"])): _text(row["name"]) for row in rows}

    def zones(self, bank: int, program: int) -> list[FontZone]:
        """Return the zones of a preset, those of its instruments within its own."""
        table = self._tables["phdr"]
        index = next((i for i, row in enumerate(table[:-1]) if row["bank"] == bank and row["program"] == program), None)
        if index is None:
            return []
        found: list[FontZone] = []
        for outer in self._zones("p", int(table[index]["bag"]), int(table[index + 1]["bag"]), INSTRUMENT):
            for zone in self._within(outer):
                found.append(zone)
                if len(found) > MAX_PRESET_ZONES:
                    raise invalid(self.name, f"preset {bank}:{program} has more than {MAX_PRESET_ZONES} zones")
        return found

    def sample(self, index: int) -> FontSample:
        """Return a sample's header."""
        table = self._tables["shdr"]
        if not 0 <= index < len(table) - 1:
            raise invalid(self.name, f"a zone names sample {index}; the table shdr has {max(0, len(table) - 1)}")
        row = table[index]
        found = FontSample(
            _text(row["name"]), int(row["start"]), int(row["end"]), int(row["loop_start"]), int(row["loop_end"]),
            int(row["rate"]), int(row["key"]), int(row["correction"]), bool(int(row["type"]) & VORBIS),
        )  # fmt: skip
        room = self._smpl.size if found.is_vorbis else self._smpl.size // 2
        limit = MAX_STREAM_BYTES if found.is_vorbis else MAX_SAMPLE_FRAMES
        where = f"sample {index} {found.name!r} from {found.start} to {found.end}"
        if not found.start <= found.end <= room:
            raise invalid(self.name, f"{where}: the chunk smpl has {room}")
        if found.end - found.start > limit:
            raise invalid(self.name, f"{where}: longer than {limit}")
        if not SAMPLE_RATES[0] <= found.rate <= SAMPLE_RATES[1]:
            raise invalid(
                self.name, f"{where}: {found.rate} Hz is not a rate from {SAMPLE_RATES[0]} to {SAMPLE_RATES[1]}"
            )
        return found

    def pcm(self, index: int) -> Int16:
        """Read a sample."""
        sample = self.sample(index)
        width = 1 if sample.is_vorbis else 2
        part = RiffChunk("smpl", self._smpl.first + sample.start * width, (sample.end - sample.start) * width)
        content = content_of(self._file, self.name, part, MAX_STREAM_BYTES + 2 * MAX_SAMPLE_FRAMES)
        if sample.is_vorbis:
            return self._decoded(content, index, sample.name)
        return np.frombuffer(content, dtype="<i2").astype(np.int16)

    def _decoded(self, content: bytes, index: int, name: str) -> Int16:
        import soundfile

        try:
            with soundfile.SoundFile(io.BytesIO(content)) as file:
                if file.channels != 1 or not 0 <= file.frames <= MAX_SAMPLE_FRAMES:
                    raise invalid(
                        self.name, f"sample {index} {name!r}: {file.channels} channels of {file.frames} frames"
                    )
                sound = file.read(min(file.frames, MAX_SAMPLE_FRAMES), dtype="float32")
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise invalid(self.name, f"sample {index} {name!r} cannot be decoded: {error}") from error
        found: Int16 = np.clip(np.rint(sound * np.float32(32_767)), -32_768, 32_767).astype(np.int16)
        return found

    def _table(self, name: str) -> NDArray[np.void]:
        chunk = self._chunks.get(name)
        if chunk is None:
            raise invalid(self.name, f"it has no table {name}")
        size = RECORDS[name].itemsize
        if chunk.size % size or (chunk.size < size and name in {"phdr", "inst", "shdr"}):
            raise invalid(
                self.name, f"table {name} at byte {chunk.first}: {chunk.size} bytes are not records of {size}"
            )
        return np.frombuffer(content_of(self._file, self.name, chunk, MAX_TABLE_BYTES), dtype=RECORDS[name])

    def _within(self, outer: _ZoneGenerators) -> Iterator[FontZone]:
        table, index = self._tables["inst"], outer.values[INSTRUMENT]
        if not 0 <= index < len(table) - 1:
            raise invalid(self.name, f"a zone names instrument {index}; the table inst has {max(0, len(table) - 1)}")
        for inner in self._zones("i", int(table[index]["bag"]), int(table[index + 1]["bag"]), SAMPLE):
            keys, velocities = _both(outer.keys, inner.keys), _both(outer.velocities, inner.velocities)
            if keys[0] > keys[1] or velocities[0] > velocities[1]:
                continue
            values = dict(inner.values)
            for kind, amount in outer.values.items():
                if kind not in OF_INSTRUMENTS_ONLY and kind != INSTRUMENT:
                    values[kind] = values.get(kind, DEFAULTS.get(kind, 0)) + amount
            yield FontZone(keys, velocities, inner.values[SAMPLE], values, inner.cutoffs + outer.cutoffs)

    def _zones(self, kind: str, first: int, end: int, ending: int) -> Iterator[_ZoneGenerators]:
        """Return the zones of a preset (p) or instrument (i); a first zone without `ending` is for all others."""
        bags = self._tables[f"{kind}bag"]
        self._check(f"{kind}bag", first, end, len(bags) - 1)
        for_all = _ZoneGenerators(WHOLE, WHOLE, {}, ())
        for index in range(first, end):
            here, after = bags[index], bags[index + 1]
            generators, modulators = self._tables[f"{kind}gen"], self._tables[f"{kind}mod"]
            self._check(f"{kind}gen", int(here["gen"]), int(after["gen"]), len(generators))
            self._check(f"{kind}mod", int(here["mod"]), int(after["mod"]), len(modulators))
            own = _generators(
                generators[int(here["gen"]) : int(after["gen"])],
                modulators[int(here["mod"]) : int(after["mod"])],
                for_all,
            )
            if ending in own.values:
                yield own
            elif index == first:
                for_all = own

    def _check(self, table: str, first: int, end: int, size: int) -> None:
        if not 0 <= first <= end <= size:
            raise invalid(self.name, f"table {table}: entries {first} to {end} are wanted, it has {max(0, size)}")


def _generators(rows: NDArray[np.void], modulators: NDArray[np.void], for_all: _ZoneGenerators) -> _ZoneGenerators:
    keys, velocities, values = for_all.keys, for_all.velocities, dict(for_all.values)
    for kind, amount in rows.tolist():
        bounds = (amount & 0xFF, (amount >> 8) & 0xFF)
        if kind == KEYS:
            keys = bounds
        elif kind == VELOCITIES:
            velocities = bounds
        else:
            # Indexes have no sign.
            values[kind] = amount & 0xFFFF if kind in {INSTRUMENT, SAMPLE} else amount
    cutoffs = tuple(
        (amount, bool(source & DOWNWARDS))
        for source, to, amount, by, _ in modulators.tolist()
        if to == CUTOFF and source & 0xFF == VELOCITY_SOURCE and not by
    )
    return _ZoneGenerators(keys, velocities, values, cutoffs or for_all.cutoffs)


def _both(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return max(one[0], other[0]), min(one[1], other[1])


def _text(name: bytes) -> str:
    return name.partition(b"\0")[0].decode("latin-1").strip()
