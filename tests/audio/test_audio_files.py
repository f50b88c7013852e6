"""Audio files: audio, tags and manifest are read back as written, for any block sizes."""

from __future__ import annotations

import json
import struct
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segue_audio.errors import AudioError, AudioTooLarge, InvalidSettings, NonFiniteAudio, UnreadableAudio
from segue_audio.files import (
    AI_SYSTEM_TAG,
    SOURCE_TYPE_TAG,
    SOURCE_TYPES,
    AudioFileSettings,
    Cue,
    FileFormat,
    ReadLimits,
    loudness_tags,
    open_reader,
    open_writer,
    read_audio,
    read_manifest,
    read_tags,
    wav,
)
from segue_audio.files.provenance import unpack_xmp
from segue_audio.resample import resampled_frames

if TYPE_CHECKING:
    from pathlib import Path

ALL = list(FileFormat)
RATE = 48_000
CUES = (Cue(0, "Intro"), Cue(24_000, "Chorus ♪"))
TAGS = {"TITLE": "Regen über Köln", "COMMENT": "rainy lo-fi, 82 bpm", "BPM": "82.5", "KEY": "F minor", "SEED": "7"}
MANIFEST = json.dumps({"seed": 7, "plan": ["x" * 1000] * 150})


def music(seconds: float = 1.0, channels: int = 2, rate: int = RATE) -> np.ndarray:
    frames = int(seconds * rate)
    time = np.arange(frames)[:, None] / rate
    tones = 0.3 * np.sin(2 * np.pi * (220 + 110 * np.arange(channels)) * time)
    noise = 0.02 * np.random.default_rng(1).standard_normal((frames, channels))
    return (tones + noise).astype(np.float32)


def write(path: Path, audio: np.ndarray, wanted: AudioFileSettings, chunk: int = 5_000) -> bytes:
    with open_writer(path, wanted) as writer:
        for start in range(0, len(audio), chunk):
            writer.write(audio[start : start + chunk])
    return path.read_bytes()


@pytest.mark.parametrize("kind", ALL)
def test_length_tags_and_manifest_come_back(kind: FileFormat, tmp_path: Path) -> None:
    audio = music()
    path = tmp_path / f"song{kind.suffix}"
    write(path, audio, AudioFileSettings(file_format=kind, tags=TAGS, cues=CUES, manifest=MANIFEST))
    decoded, rate = read_audio(path)
    assert (decoded.shape, rate) == (audio.shape, RATE)
    assert {name: read_tags(path).tags[name] for name in TAGS} == TAGS
    assert read_manifest(path) == json.loads(MANIFEST)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ALL)
def test_bytes_do_not_depend_on_chunks_or_time(kind: FileFormat, tmp_path: Path) -> None:
    audio = music(0.7)
    wanted = AudioFileSettings(file_format=kind, bit_depth=16, tags=TAGS, cues=CUES, manifest=MANIFEST)
    first = write(tmp_path / f"a{kind.suffix}", audio, wanted, chunk=997)
    second = write(tmp_path / f"b{kind.suffix}", audio, wanted, chunk=1_000_000)
    assert first == second


@pytest.mark.parametrize("kind", [FileFormat.FLAC, FileFormat.WAV])
@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_lossless_formats_round_to_the_nearest_step(kind: FileFormat, bits: int, channels: int, tmp_path: Path) -> None:
    if bits == 32 and kind is FileFormat.FLAC:
        with pytest.raises(InvalidSettings, match="32 bits"):
            AudioFileSettings(file_format=kind, bit_depth=bits)
        return
    audio = music(0.3, channels)
    path = tmp_path / f"song{kind.suffix}"
    write(path, audio, AudioFileSettings(file_format=kind, bit_depth=bits, channels=channels))
    decoded, _ = read_audio(path)
    steps = {16: 1.5 * 2.0**-15, 24: 2.0**-24, 32: 0.0}[bits]
    assert np.abs(decoded - audio).max() <= steps
    assert soundfile.info(path).subtype == ("FLOAT" if bits == 32 else f"PCM_{bits}")


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_export_rates_are_exact_in_length_and_cues(rate: int, tmp_path: Path) -> None:
    audio = music()
    path = tmp_path / "song.wav"
    write(path, audio, AudioFileSettings(file_format=FileFormat.WAV, file_sample_rate=rate, cues=CUES))
    decoded, found_rate = read_audio(path)
    assert (len(decoded), found_rate) == (resampled_frames(len(audio), RATE, rate), rate)
    with path.open("rb") as source:
        assert wav.read_cues(source) == [(resampled_frames(c.first_frame, RATE, rate), c.label) for c in CUES]


def test_tags_known_only_at_the_end_are_written(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    with open_writer(path, AudioFileSettings(tags=TAGS)) as writer:
        writer.write(music())
        writer.set_tags(loudness_tags(FileFormat.FLAC, integrated_lufs=-14.0, true_peak_dbtp=-1.0))
    tags = read_tags(path).tags
    assert tags["REPLAYGAIN_TRACK_GAIN"] == "-4.00 dB"
    assert tags["TITLE"] == TAGS["TITLE"]


def test_a_failed_file_leaves_nothing_and_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    before = write(path, music(0.1), AudioFileSettings())
    bad = music(0.1)
    bad[17, 0] = np.nan
    with pytest.raises(NonFiniteAudio, match="frame 17"), open_writer(path, AudioFileSettings()) as writer:
        writer.write(bad)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_rf64_is_used_when_riff_is_too_small(tmp_path: Path) -> None:
    audio = music()
    wanted = AudioFileSettings(file_format=FileFormat.WAV, cues=CUES, tags=TAGS, quarters_per_minute=82.5)
    path = tmp_path / "song.wav"
    encoder = wav.WavEncoder(path, wanted, rf64_above_bytes=100_000)
    encoder.write(audio)
    encoder.finish(TAGS, CUES)
    assert path.read_bytes()[:4] == b"RF64"
    decoded, _ = read_audio(path)
    assert np.abs(decoded - audio).max() <= 2.0**-24
    assert read_tags(path).tags["TITLE"] == TAGS["TITLE"]
    with path.open("rb") as source:
        assert wav.read_cues(source) == [(cue.first_frame, cue.label) for cue in CUES]


@pytest.mark.slow
def test_a_file_above_four_gibibytes_is_rf64(tmp_path: Path) -> None:
    wanted = AudioFileSettings(file_format=FileFormat.WAV, bit_depth=32, channels=8, sample_rate=192_000)
    block = np.zeros((1 << 20, 8), dtype=np.float32)
    block[-1] = 0.5
    path = tmp_path / "long.wav"
    with open_writer(path, wanted) as writer:
        for _ in range(129):
            writer.write(block)
    assert soundfile.info(path).frames == 129 << 20
    with open_reader(path) as reader:
        *_, last = reader.blocks(1 << 20)
    assert last[-1, 0] == 0.5


def test_time_reference_and_tempo_are_in_their_chunks(tmp_path: Path) -> None:
    wanted = AudioFileSettings(file_format=FileFormat.WAV, time_reference_frames=5_000_000_000, quarters_per_minute=92)
    raw = write(tmp_path / "song.wav", music(0.5), wanted)
    bext = raw.index(b"bext") + 8
    assert struct.unpack_from("<Q", raw, bext + 338) == (5_000_000_000,)
    acid = raw.index(b"acid") + 8
    assert struct.unpack_from("<f", raw, acid + 20) == (92.0,)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"file_format": FileFormat.OGG_OPUS, "file_sample_rate": 44_100}, "44100"),
        ({"file_format": FileFormat.MP3, "file_sample_rate": 96_000}, "96000"),
        ({"file_format": FileFormat.MP3, "channels": 6}, "6 channels"),
        ({"bitrate_kbps": 128}, "no bit rate"),
        ({"file_format": FileFormat.MP3, "bitrate_kbps": 999}, "999"),
        ({"bit_depth": 20}, "20 bits"),
        ({"tags": {"A=B": "x"}}, "tag name"),
        ({"cues": (Cue(5, "b"), Cue(0, "a"))}, "in order"),
        ({"quarters_per_minute": 90.0}, "WAV only"),
    ],
)
def test_settings_that_a_format_does_not_have_are_refused(wanted: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        AudioFileSettings(**wanted)  # type: ignore[arg-type]  # each case sets other fields


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"\x89PNG\r\n\x1a\n" + bytes(100), b"ID3" + bytes(300), bytes(4096), b"OggS" + bytes(200)],
)
def test_a_file_that_is_not_audio_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError):
        read_audio(path)


def hostile_wav(channels: int = 2, rate: int = RATE, frames: int = 100, value: float = 0.0, bits: int = 32) -> bytes:
    body = struct.pack("<f", value) * (frames * channels)
    head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 3, channels, rate,
                       (rate * channels * 4) & 0xFFFFFFFF, channels * 4 & 0xFFFF, bits)  # fmt: skip
    return head + struct.pack("<4sI", b"data", len(body)) + body


@pytest.mark.parametrize(
    "content",
    [
        hostile_wav(channels=0, frames=0), hostile_wav(channels=65), hostile_wav(rate=0),
        hostile_wav(rate=4_000_000_000), hostile_wav(rate=7_999), hostile_wav(frames=0),
        hostile_wav(value=float("nan")), hostile_wav(value=float("inf")), hostile_wav(bits=0),
    ],
)  # fmt: skip
def test_absurd_headers_and_samples_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError):
        read_audio(path)


def test_a_flac_that_claims_too_many_frames_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    raw = bytearray(write(path, music(2.0), AudioFileSettings()))
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UnreadableAudio):
        read_audio(path)
    # STREAMINFO: 36 bits of total frames end at byte 26.
    raw[21] |= 0x0F
    raw[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(raw)
    with pytest.raises(AudioTooLarge, match="claims"):
        read_audio(path)


def without_length(path: Path) -> Path:
    """Clear the number of frames in the header of a FLAC file, as encoders leave it that write to a pipe."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


def test_a_flac_without_a_length_is_counted_while_decoding(tmp_path: Path) -> None:
    path = tmp_path / "piped.flac"
    sound = np.random.default_rng(1).normal(0, 0.1, (150_000, 2)).astype(np.float32)
    soundfile.write(path, sound, 48_000, subtype="PCM_24")
    expected, _ = read_audio(path)
    without_length(path)
    with open_reader(path) as reader:
        assert reader.frames == 150_000
        assert np.array_equal(np.concatenate(list(reader.blocks())), expected)
    for limits in (ReadLimits(max_seconds=1.0), ReadLimits(max_frames=149_999)):
        with pytest.raises(AudioTooLarge):
            open_reader(path, limits)


def test_limits_are_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    write(path, music(1.0), AudioFileSettings(file_format=FileFormat.WAV))
    with pytest.raises(AudioTooLarge):
        open_reader(path, ReadLimits(max_seconds=0.5))
    with pytest.raises(AudioTooLarge):
        open_reader(path, ReadLimits(max_channels=1))
    with pytest.raises(AudioTooLarge):
        open_reader(path, ReadLimits(max_sample_rate=44_100))


@pytest.mark.parametrize("kind", ALL)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_raise_only_our_errors(
    kind: FileFormat, cut: float, flips: list[tuple[float, int]], tmp_path: Path
) -> None:
    path = tmp_path / f"whole{kind.suffix}"
    if not path.exists():
        write(path, music(0.2), AudioFileSettings(file_format=kind, tags=TAGS, cues=CUES, manifest="{}"))
    raw = bytearray(path.read_bytes())
    for place, value in flips:
        raw[int(place * min(len(raw), 3_000))] = value
    broken = tmp_path / f"broken{kind.suffix}"
    broken.write_bytes(raw[: int(cut * len(raw)) + 1])
    for read in (read_audio, read_tags):
        try:
            read(broken)
        except AudioError:
            continue


@pytest.mark.reference("ffprobe")
@pytest.mark.parametrize("kind", ALL)
def test_ffprobe_shows_duration_chapters_and_tags(kind: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / f"song{kind.suffix}"
    write(path, music(2.0), AudioFileSettings(file_format=kind, tags=TAGS, cues=CUES, manifest=MANIFEST))
    asked = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters", "-of", "json", str(path)]
    run = subprocess.run(asked, capture_output=True, check=True, text=True)
    assert run.stderr == ""
    shown = json.loads(run.stdout)
    # An MP3's padding and Opus's pre-skip count in the container's duration, not in the decoded audio.
    slack = 0.1 if kind is FileFormat.MP3 else 0.01
    assert float(shown["format"]["duration"]) == pytest.approx(2.0, abs=slack)
    assert sorted((float(c["start_time"]), c["tags"]["title"]) for c in shown["chapters"]) == [
        (0.0, "Intro"), (0.5, "Chorus ♪"),
    ]  # fmt: skip
    tags = {**shown["format"].get("tags", {}), **shown["streams"][0].get("tags", {})}
    assert {name.upper(): text for name, text in tags.items()}["TITLE"] == TAGS["TITLE"]


@pytest.mark.reference("ffprobe")
def test_a_time_reference_does_not_hide_the_tags_of_a_wav(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    tags = {**TAGS, "BPM": "82", "SEED": "5", "INITIALKEY": "F minor", "GENRE": "lofi", "ENCODER": "Segue 1"}
    tags |= loudness_tags(FileFormat.WAV, integrated_lufs=-14.0, true_peak_dbtp=-1.0)
    wanted = AudioFileSettings(
        file_format=FileFormat.WAV, tags=tags, cues=CUES, manifest=MANIFEST, time_reference_frames=7
    )
    write(path, music(2.0), wanted)
    asked = ["ffprobe", "-v", "error", "-show_format", "-show_chapters", "-of", "json", str(path)]
    shown = json.loads(subprocess.run(asked, capture_output=True, check=True, text=True).stdout)
    seen = shown["format"]["tags"]
    assert seen["time_reference"] == "7"
    assert {tags["TITLE"], "82", "5", "F minor", "lofi", "Segue 1", "-14.00 LUFS", "-1.00 dBTP"} <= set(seen.values())
    assert len(shown["chapters"]) == len(CUES)
    # The complete tags are in the ID3 chunk.
    assert read_tags(path).tags == tags
    assert read_tags(path).manifest == MANIFEST


@pytest.mark.parametrize("kind", ALL)
def test_small_blocks_read_the_same_audio_as_one_large_block(kind: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / f"sound{kind.suffix}"
    times = np.arange(3 * RATE) / RATE
    with open_writer(path, AudioFileSettings(file_format=kind)) as writer:
        writer.write((0.3 * np.sin(2 * np.pi * 440 * times)[:, None] * np.ones((1, 2))).astype(np.float32))
    with open_reader(path) as reader:
        whole = np.concatenate(list(reader.blocks(1 << 20)))
    with open_reader(path) as reader:
        assert np.array_equal(np.concatenate(list(reader.blocks(10_007))), whole)


SOURCED = {SOURCE_TYPE_TAG: SOURCE_TYPES + "trainedAlgorithmicMedia", AI_SYSTEM_TAG: "a <b> & c", "LICENSE": "MIT\x00"}


@pytest.mark.reference("exiftool")
@pytest.mark.parametrize("kind", ALL)
def test_exiftool_shows_that_a_file_was_generated(kind: FileFormat, tmp_path: Path) -> None:
    path = tmp_path / f"song{kind.suffix}"
    write(path, music(0.5), AudioFileSettings(file_format=kind, tags=TAGS | SOURCED, cues=CUES))
    run = subprocess.run(["exiftool", "-j", "-G", "-n", str(path)], capture_output=True, check=True, text=True)
    (shown,) = json.loads(run.stdout)
    assert "Warning" not in "".join(shown)
    found = {name.rpartition(":")[2].lower(): text for name, text in shown.items()}
    assert found["digitalsourcetype"] == SOURCED[SOURCE_TYPE_TAG]
    if kind in {FileFormat.WAV, FileFormat.MP3}:
        assert shown["XMP:DigitalSourceType"] == SOURCED[SOURCE_TYPE_TAG]
        assert shown["XMP:AISystemUsed"] == SOURCED[AI_SYSTEM_TAG]
        assert shown["XMP:UsageTerms"] == "MIT "


@pytest.mark.parametrize("kind", [FileFormat.WAV, FileFormat.MP3])
def test_a_source_type_in_xmp_alone_is_read(kind: FileFormat, tmp_path: Path) -> None:
    """Other programs write no tag of that name, and other elements around the URI."""
    path = tmp_path / f"song{kind.suffix}"
    content = write(path, music(0.5), AudioFileSettings(file_format=kind, tags=SOURCED))
    path.write_bytes(content.replace(SOURCE_TYPE_TAG.encode(), b"X" * len(SOURCE_TYPE_TAG)))
    assert read_tags(path).tags[SOURCE_TYPE_TAG] == SOURCED[SOURCE_TYPE_TAG]
    as_attribute = b"rdf:about='' Iptc4xmpExt:DigitalSourceType = '" + SOURCED[SOURCE_TYPE_TAG].encode() + b"'"
    as_resource = b'<Iptc4xmpExt:DigitalSourceType rdf:resource="' + SOURCED[SOURCE_TYPE_TAG].encode() + b'"/>'
    for packet in (as_attribute, as_resource):
        assert unpack_xmp(packet) == {SOURCE_TYPE_TAG: SOURCED[SOURCE_TYPE_TAG]}
    for packet in (
        b"",
        b"DigitalSourceType" * 10_000,
        b'DigitalSourceType="http://else.where/trainedAlgorithmicMedia"',
    ):
        assert unpack_xmp(packet) == {}


@pytest.mark.parametrize("kind", ALL)
def test_a_file_without_a_source_type_claims_none(kind: FileFormat, tmp_path: Path) -> None:
    content = write(tmp_path / f"song{kind.suffix}", music(0.5), AudioFileSettings(file_format=kind, tags=TAGS))
    assert b"xmpmeta" not in content
    assert b"DIGITALSOURCETYPE" not in content
