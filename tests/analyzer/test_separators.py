"""Stems add up to their recording, at every rate and with any number of channels, in constant memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.analyzer.separator_files import WINDOW, save, write_checkpoint

from segue_analyzer.stems.harmonic_percussive import HarmonicPercussive
from segue_analyzer.stems.separator import StemStream
from segue_analyzer.stems.separators import open_separators
from segue_runtime import errors
from segue_runtime.settings.sections import SeparatorSettings

if TYPE_CHECKING:
    from pathlib import Path

    from segue_analyzer.stems.separator import Separator
    from segue_audio.arrays import Float32

RATE = 44_100
STEP = 2.0**-23
MIB = 1 << 20


def music(seconds: float, rate: int = RATE, channels: int = 2, bits: int = 24, level: float = 0.9) -> Float32:
    """Tones and attacks of full scale, on the grid of a number of bits; 0 bits are any floats."""
    rng = np.random.default_rng(5)
    times = np.arange(round(seconds * rate)) / rate
    tones = sum(np.sin(2 * np.pi * hertz * times) for hertz in (220, 277, 330)) / 3
    attacks = rng.standard_normal(len(times)) * np.exp(-((times * 4) % 1) * 40)
    sound = np.stack([tones * (1 - 0.1 * at) + attacks * (0.5 + 0.1 * at) for at in range(channels)], axis=1)
    sound *= level / np.abs(sound).max()
    if bits:
        sound = np.rint(sound * 2 ** (bits - 1)) / 2 ** (bits - 1)
    return sound.astype(np.float32)


def separated(separator: Separator, sound: Float32, rate: int = RATE, block: int = 10_000) -> Float32:
    """Return all stems of a recording, which arrives in blocks."""
    stream = StemStream(separator, rate, sound.shape[1])
    parts = [stream.push(sound[first : first + block]) for first in range(0, len(sound), block)]
    return np.concatenate([*parts, stream.finish()], axis=1)


def error_of_sum(stems: Float32, sound: Float32) -> float:
    assert stems.shape[1:] == sound.shape
    return float(np.abs(stems.sum(axis=0, dtype=np.float64) - sound).max())


@pytest.fixture(scope="module")
def four_stems(tmp_path_factory: pytest.TempPathFactory) -> Separator:
    path = tmp_path_factory.mktemp("weights") / "tiny.onnx"
    found = open_separators(SeparatorSettings(path=path, sha256=write_checkpoint(path), threads=1)).four_stems
    assert found is not None
    return found


@pytest.fixture(params=["harmonic_percussive", "four_stems"])
def separator(request: pytest.FixtureRequest) -> Separator:
    return HarmonicPercussive() if request.param == "harmonic_percussive" else request.getfixturevalue("four_stems")


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (8_000, 3), (96_000, 2)])
def test_stems_of_24_bits_add_up_exactly_and_stay_within_full_scale(
    separator: Separator, rate: int, channels: int
) -> None:
    sound = music(1.7, rate, channels, level=1 - STEP)
    stems = separated(separator, sound, rate)
    assert error_of_sum(stems, sound) == 0
    assert np.abs(stems).max() < 1
    assert (stems / STEP == np.rint(stems / STEP)).all(), "24 bits hold every stem"
    assert min(np.abs(stem).max() for stem in stems) > 0


def test_stems_of_floats_add_up_within_half_a_step(separator: Separator) -> None:
    sound = music(1.2, bits=0, level=1.4)  # beyond full scale, as decoded MP3 can be
    stems = separated(separator, sound)
    assert error_of_sum(stems, sound) <= STEP / 2
    assert np.abs(stems).max() <= 1, "FLAC holds every stem"


@pytest.mark.parametrize("frames", [0, 1, 100, WINDOW, WINDOW * 3 // 4, WINDOW + 1])
def test_any_length_keeps_its_length(separator: Separator, frames: int) -> None:
    sound = music(2, 48_000)[:frames]
    stems = separated(separator, sound, 48_000)
    assert stems.shape[1:] == sound.shape
    assert (stems.sum(axis=0) == sound).all()


def test_blocks_change_nothing(separator: Separator) -> None:
    sound = music(2)
    assert (separated(separator, sound, block=333) == separated(separator, sound, block=1 << 20)).all()


def test_samples_that_are_not_finite_are_silence(separator: Separator) -> None:
    sound = music(1)
    broken = sound.copy()
    broken[1000:1010] = np.nan
    sound[1000:1010] = 0
    assert error_of_sum(separated(separator, broken), sound) == 0


def test_tones_are_harmonic_and_attacks_percussive() -> None:
    times = np.arange(6 * RATE) / RATE
    tone = (0.2 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)[:, None]
    rng = np.random.default_rng(3)
    attacks = (0.3 * rng.standard_normal(len(times)) * np.exp(-((times * 2) % 1) * 120)).astype(np.float32)[:, None]
    harmonic, percussive = separated(HarmonicPercussive(), tone + attacks)

    def left(stem: Float32, wanted: Float32) -> float:
        return float(10 * np.log10(np.mean((stem - wanted) ** 2) / np.mean(wanted**2)))

    assert left(harmonic, tone) < -12
    assert left(percussive, attacks) < -6


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050])
def test_a_network_that_knows_its_stems_gets_them_back_in_time(tmp_path: Path, rate: int) -> None:
    gains = (0.5, 0.25, 0.0, -0.125)
    path = tmp_path / "gains.onnx"
    found = open_separators(SeparatorSettings(path=path, sha256=write_checkpoint(path, weights=gains))).four_stems
    assert found is not None
    assert found.info.stems == ("drums", "bass", "other", "vocals")
    times = np.arange(3 * rate) / rate
    sound = (0.4 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)[:, None].repeat(2, axis=1)
    drums, bass, other, vocals = separated(found, sound, rate)
    inner = slice(rate // 4, -rate // 4)  # converting the rate rings at the ends
    for stem, gain in ((drums, 0.5), (bass, 0.25), (vocals, -0.125), (other, 0.375)):
        np.testing.assert_allclose(stem[inner], gain * sound[inner], atol=2e-4)


# Files of weights.


def test_without_weights_there_are_two_stems_only() -> None:
    separators = open_separators(SeparatorSettings())
    assert separators.choose(0).info.stems == ("harmonic", "percussive")
    with pytest.raises(errors.SegueError, match=r"analyzer\.separator\.path") as caught:
        separators.choose(2)
    assert caught.value.reason == "OPTION_NOT_SUPPORTED"


def refused(path: Path, sha256: str = "") -> errors.SegueError:
    with pytest.raises(errors.SegueError) as caught:
        open_separators(SeparatorSettings(path=path, sha256=sha256))
    return caught.value


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    digest = write_checkpoint(tmp_path / "tiny.onnx")
    error = refused(tmp_path / "tiny.onnx", "0" * 64)
    assert error.reason == "MODEL_INVALID"
    assert digest in error.message
    assert open_separators(SeparatorSettings(path=tmp_path / "tiny.onnx", sha256=digest.upper())).four_stems


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x80\x04\x95pickle.", b"\x08\x09" * 5000, bytes(1 << 16)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.onnx").write_bytes(content)
    assert refused(tmp_path / "weights.onnx").reason == "MODEL_INVALID"


def test_missing_weights_are_named(tmp_path: Path) -> None:
    error = refused(tmp_path / "nothing.onnx")
    assert (error.reason, "nothing.onnx" in error.message) == ("MODEL_NOT_INSTALLED", True)


def test_cut_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    write_checkpoint(path)
    whole = path.read_bytes()
    for length in range(1, len(whole), len(whole) // 12):
        path.write_bytes(whole[:length])
        assert refused(path).reason == "MODEL_INVALID"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stems": 2}, "another layout"),
        ({"window": 2000}, "another layout"),
        ({"window": 44_100 * 61}, "another layout"),
    ],
)
def test_networks_of_another_layout_are_refused(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    write_checkpoint(tmp_path / "tiny.onnx", **options)
    assert text in refused(tmp_path / "tiny.onnx").message


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_file_cannot_name_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_absolute: bool) -> None:
    monkeypatch.chdir(tmp_path)  # the library would look there
    place = str(tmp_path / "outside.bin") if is_absolute else "outside.bin"
    path = tmp_path / "tiny.onnx"
    write_checkpoint(path)
    model = onnx.load(str(path))
    (tmp_path / "outside.bin").write_bytes(bytes(1 << 16))
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", "0")):
            tensor.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    assert "other files" in refused(path).message


def test_a_network_that_gives_no_numbers_fails_the_separation(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sub", ["mix", "mix"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["nan"]),
        helper.make_node("Concat", ["nan"] * 4, ["four"], axis=1),
        helper.make_node("Reshape", ["four", "shape"], ["stems"]),
    ]
    shape = {"shape": np.array([1, 4, 2, WINDOW], np.int64)}
    path = tmp_path / "nan.onnx"
    digest = save(path, nodes, shape, [1, 2, WINDOW], [1, 4, 2, WINDOW])
    found = open_separators(SeparatorSettings(path=path, sha256=digest)).four_stems
    assert found is not None
    with pytest.raises(errors.ModelInvalid, match="not finite"):
        separated(found, music(1))


# Memory.


def peak_mib(separator: Separator, minutes: float, rate: int) -> float:
    """Return the highest memory of numpy and Python while a recording passes through."""
    stream = StemStream(separator, rate, 2)
    block = music(1, rate)
    worst = 0.0
    tracemalloc.start()
    try:
        for _ in range(round(minutes * 60)):
            stems = stream.push(block)
            worst = max(worst, float(np.abs(stems).max()) if stems.size else 0.0)
        stream.finish()
        assert worst > 0
        assert stream.frames == round(minutes * 60) * rate
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_two_minutes_take_the_memory_of_half_a_minute(separator: Separator) -> None:
    short, long = (peak_mib(separator, minutes, 16_000) for minutes in (0.5, 2))
    assert long - short < 4, (short, long)


TEN_MINUTES = """
import resource, sys
import numpy as np
from pathlib import Path
from segue_analyzer.stems.separator import StemStream
from segue_analyzer.stems.separators import open_separators
from segue_runtime.settings.sections import SeparatorSettings

path = sys.argv[1]
separator = open_separators(SeparatorSettings(path=Path(path), threads=1) if path else SeparatorSettings()).choose(0)
stream = StemStream(separator, 44_100, 2)
rng = np.random.default_rng(1)
block = np.rint(rng.uniform(-0.9, 0.9, (44_100, 2)) * 2**23).astype(np.float32) / np.float32(2**23)
worst = 0.0
given = 0

def check(stems):
    global worst, given
    at = (given + np.arange(stems.shape[1])) % len(block)
    worst = max(worst, float(np.abs(stems.sum(axis=0, dtype=np.float64) - block[at]).max(initial=0.0)))
    given += stems.shape[1]

for second in range(600):
    check(stream.push(block))
    if second == 60:
        early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
check(stream.finish())
print(worst, given, early, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["harmonic_percussive", "four_stems"])
def test_ten_minutes_pass_in_constant_memory_and_add_up(tmp_path: Path, kind: str) -> None:
    path = ""
    if kind == "four_stems":
        path = str(tmp_path / "tiny.onnx")
        write_checkpoint(tmp_path / "tiny.onnx", window=343_980)  # as published
    done = subprocess.run(
        [sys.executable, "-c", TEN_MINUTES, path], capture_output=True, text=True, check=True, timeout=580
    )
    worst, given, early_kib, peak_kib = map(float, done.stdout.split())
    assert (worst, given) == (0.0, 600 * 44_100)
    assert (peak_kib - early_kib) / 1024 < 48, (early_kib, peak_kib)  # the audio has 212 MB
