"""Tags and manifest in the files of `segued compose`, and `--from`, which makes such a file again."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

from segue.composer.v1 import composition_pb2
from segue_audio.files import AudioFileSettings, format_of, open_reader, open_writer, read_tags
from segue_audio.loudness import LoudnessMeter
from segue_client import Client
from segued.commands import version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from segue_audio.loudness import Loudness

ASKED = ("sunny funk, 110 bpm, E minor", "--duration", "6", "--seed", "5")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def compose(folder: Path, server: Segued, *arguments: str) -> tuple[int, str]:
    answer = segued(folder, "compose", *arguments, "--server", server.address)
    assert "Traceback" not in answer.stderr
    return answer.returncode, answer.stderr


@pytest.fixture(scope="module")
def song(server: Segued, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("song")
    code, stderr = compose(folder, server, *ASKED, "-o", "song.flac")
    assert code == 0, stderr
    return folder / "song.flac"


def measured(path: Path) -> Loudness:
    with open_reader(path) as reader:
        meter = LoudnessMeter(reader.sample_rate, reader.channels)
        for block in reader.blocks():
            meter.push(block)
        return meter.result()


def test_from_reproduces_the_same_bytes(tmp_path: Path, server: Segued, song: Path) -> None:
    code, stderr = compose(tmp_path, server, "--from", str(song), "-o", "again.flac")
    assert code == 0, stderr
    assert (tmp_path / "again.flac").read_bytes() == song.read_bytes()
    assert "has the same bytes as" in stderr
    assert "warning" not in stderr


def test_from_writes_the_same_piece_in_another_format(tmp_path: Path, server: Segued, song: Path) -> None:
    code, stderr = compose(tmp_path, server, "--from", str(song), "-o", "again.wav")
    assert code == 0, stderr
    master, again = (soundfile.read(path, dtype="int32")[0] for path in (song, tmp_path / "again.wav"))
    assert np.array_equal(master, again)


@pytest.mark.parametrize("suffix", [".wav", ".opus", ".mp3"])
def test_from_every_format_reproduces_the_same_bytes(tmp_path: Path, server: Segued, song: Path, suffix: str) -> None:
    for given, made in ((song.name, f"one{suffix}"), (f"one{suffix}", f"two{suffix}")):
        folder = song.parent if given == song.name else tmp_path
        code, stderr = compose(tmp_path, server, "--from", str(folder / given), "-o", made)
        assert code == 0, stderr
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    if suffix == ".wav":
        code, stderr = compose(tmp_path, server, "--from", "one.wav", "-o", "back.flac")
        assert code == 0, stderr
        assert (tmp_path / "back.flac").read_bytes() == song.read_bytes()


def test_a_private_prompt_is_in_no_file_and_must_be_given_again(tmp_path: Path, server: Segued) -> None:
    secret = "quiet harp for Griselda, 84 bpm"
    code, stderr = compose(tmp_path, server, secret, "--duration", "4", "--private-prompt", "-o", "a.flac")
    assert code == 0, stderr
    assert b"Griselda" not in (tmp_path / "a.flac").read_bytes()
    assert "TITLE" not in read_tags(tmp_path / "a.flac").tags
    code, stderr = compose(tmp_path, server, "--from", "a.flac", "-o", "b.flac")
    assert (code, "its prompt was kept private" in stderr) == (2, True)
    code, stderr = compose(tmp_path, server, secret, "--from", "a.flac", "-o", "b.flac")
    assert code == 0, stderr
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_a_private_piece_with_a_supplied_plan_cannot_be_reproduced(tmp_path: Path, server: Segued) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(segued(tmp_path, "plan", "quiet harp, 84 bpm", "--duration", "4", "--json").stdout)
    code, stderr = compose(tmp_path, server, "--plan", str(plan), "--private-prompt", "-o", "a.flac")
    assert code == 0, stderr
    code, stderr = compose(tmp_path, server, "quiet harp, 84 bpm", "--from", "a.flac", "-o", "b.flac")
    assert (code, "the caller supplied its plan" in stderr) == (2, True)


def with_manifest(path: Path, manifest: str) -> str:
    with open_writer(path, AudioFileSettings(manifest=manifest)) as writer:
        writer.write(np.zeros((480, 2), np.float32))
    return str(path)


def test_changes_that_may_alter_the_bytes_are_reported_first(tmp_path: Path, server: Segued, song: Path) -> None:
    manifest = json.loads(read_tags(song).manifest)
    manifest["model"] |= {"determinism": "SEEDED", "engine": "sketch-0"}
    manifest["software"]["segue"] = "0.0.1"
    odd = with_manifest(tmp_path / "odd.flac", json.dumps(manifest))
    code, stderr = compose(tmp_path, server, "--from", odd, "-o", "again.flac")
    assert code == 0, stderr
    assert "sketch is seeded" in stderr
    assert "made by segue 0.0.1" in stderr
    assert "the engine of sketch has changed: sketch-0 then" in stderr
    assert "has other bytes than" in stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", "has no reproduction manifest"),
        (b"RIFF\x00\x00\x00\x00WAVE", "has no reproduction manifest"),
        ("", "has no reproduction manifest"),
        ("{", "damaged"),
        ("[]", "not a JSON object"),
        ("{}", "of no known kind"),
        ('{"schema": "segue/manifest/1"}', "damaged"),
        ('{"schema": "segue/manifest/1", "spec": {"zebra": 1}, "plan": {}, "software": {}, "model": {}}', "zebra"),
    ],
)
def test_a_file_without_a_valid_manifest_is_refused(
    tmp_path: Path, server: Segued, content: str | bytes | None, words: str
) -> None:
    path = tmp_path / "odd.flac"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with_manifest(path, content)
    code, stderr = compose(tmp_path, server, "--from", "odd.flac", "-o", "again.flac")
    assert code == 2
    assert words in stderr
    assert not (tmp_path / "again.flac").exists()


@pytest.mark.parametrize("flags", [("piano",), ("--seed", "3"), ("--bit-depth", "16"), ("--preset", "club")])
def test_flags_that_would_change_the_piece_are_refused(
    tmp_path: Path, server: Segued, song: Path, flags: tuple[str, ...]
) -> None:
    code, stderr = compose(tmp_path, server, "--from", str(song), "-o", "again.flac", *flags)
    assert code == 2
    assert "beside --from" in stderr


def test_from_does_not_overwrite_its_own_source(server: Segued, song: Path) -> None:
    before = song.read_bytes()
    code, stderr = compose(song.parent, server, "--from", "song.flac", "--force")
    assert (code, "-o names another file" in stderr) == (2, True)
    assert song.read_bytes() == before


@pytest.mark.usefixtures("song")
@pytest.mark.parametrize("suffix", [".flac", ".wav", ".opus", ".mp3"])
def test_every_format_has_tags_and_a_manifest(tmp_path: Path, server: Segued, suffix: str) -> None:
    path = tmp_path / f"song{suffix}"
    # The takes exist already: only the last steps run again.
    code, stderr = compose(tmp_path, server, *ASKED, "-o", path.name)
    assert code == 0, stderr
    found = read_tags(path)
    tags = found.tags
    assert tags["COMMENT"] == ASKED[0]
    assert tags["TITLE"]
    assert tags["SEED"] == "5"
    assert float(tags["BPM"]) == 110
    assert tags["INITIALKEY"] == "E minor"
    assert tags["ENCODER"] == f"Segue {version.versions()['segue']}"
    assert tags["LOUDNESS_INTEGRATED"].endswith("LUFS")
    gain = float(tags["REPLAYGAIN_TRACK_GAIN"].removesuffix(" dB"))
    loudness = measured(path)
    assert loudness.integrated_lufs is not None
    assert gain == pytest.approx(-18 - loudness.integrated_lufs, abs=0.1)
    assert ("R128_TRACK_GAIN" in tags) == (suffix == ".opus")
    manifest = json.loads(found.manifest)
    assert manifest["spec"]["brief"]["prompt"] == ASKED[0]
    assert manifest["software"]["segue"] == version.versions()["segue"]
    assert format_of(suffix).is_lossless == (suffix in {".flac", ".wav"})
    if suffix == ".wav":
        raw = path.read_bytes()
        bext = raw.index(b"bext") + 8
        # Time reference 0 and version 1; no date and no name.
        assert raw[bext : bext + 602] == bytes(346) + b"\1" + bytes(255)
    info = soundfile.info(path)
    # An MP3 encoder pads its last frame.
    assert info.frames / info.samplerate == pytest.approx(6.0, abs=0.1 if suffix == ".mp3" else 1e-9)


@pytest.mark.usefixtures("song")
def test_rate_depth_and_preset_follow_the_flags(tmp_path: Path, server: Segued) -> None:
    asked = ("--sample-rate", "44100", "--bit-depth", "16", "--preset", "broadcast", "--ceiling", "-3")
    code, stderr = compose(tmp_path, server, *ASKED, "-o", "a.wav", *asked)
    assert code == 0, stderr
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.subtype, info.frames) == (44_100, "PCM_16", 6 * 44_100)
    loudness = measured(tmp_path / "a.wav")
    assert loudness.integrated_lufs == pytest.approx(-23.0, abs=0.1)
    assert loudness.true_peak_dbtp is not None
    assert loudness.true_peak_dbtp <= -2.9


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--sample-rate", "12345"), "spec.exports[0].sample_rate"),
        (("--bit-depth", "20"), "spec.exports[0].bit_depth"),
        (("--bit-depth", "32"), "FLAC has 16 or 24 bits"),
        (("--lufs", "20"), "spec.master.target_lufs"),
        (("--ceiling", "3"), "spec.master.ceiling_dbtp"),
        (("--lufs", "nan"), "spec.master.target_lufs"),
    ],
)
def test_values_out_of_range_are_refused_by_name(
    tmp_path: Path, server: Segued, flags: tuple[str, ...], words: str
) -> None:
    code, stderr = compose(tmp_path, server, *ASKED, "-o", "a.flac", *flags)
    assert code == 4
    assert words in stderr


def test_two_files_with_one_name_are_refused_before_the_work(tmp_path: Path, server: Segued) -> None:
    for more in (("--picture", "song.flac"), ("--picture", "./song.mid", "--midi")):
        code, stderr = compose(tmp_path, server, *ASKED, "-o", "song.flac", *more)
        assert code == 2
        assert "two files would have this name" in stderr
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("flag", "name"), [("--midi", "song.mid"), ("--stems", "song-bass.wav")])
def test_an_existing_companion_file_is_refused_before_the_work(
    tmp_path: Path, server: Segued, flag: str, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    code, stderr = compose(tmp_path, server, *ASKED, "-o", "song.flac", flag)
    assert code == 2
    assert f"{name} already exists" in stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_plan_is_written_into_a_new_folder(tmp_path: Path, server: Segued) -> None:
    answer = segued(tmp_path, "plan", "calm piano", "-o", "new/deep/plan.json", "--server", server.address)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "new/deep/plan.json").read_text())["sections"]


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "calm piano", "--home", "{}/file/home"),
        ("serve", "--listen", "127.0.0.1:0", "--home", "{}/file/home"),
        ("health", "127.0.0.1:1", "--tls", "--tls-ca", "{}/file/ca.pem"),
    ],
)
def test_an_impossible_path_is_one_line_of_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("no folder")
    answer = segued(tmp_path, *(word.format(tmp_path) for word in command))
    assert answer.returncode in {1, 2}
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert str(tmp_path / "file") in errors[0]
    assert "Traceback" not in answer.stderr


def test_a_report_in_a_pipe_keeps_one_line_for_each_value(tmp_path: Path, server: Segued) -> None:
    noise = np.zeros((44_100 * 8, 2), np.float32)
    noise[4_410::8_820] = 0.6
    soundfile.write(tmp_path / "crackle.wav", noise, 44_100)
    answer = segued(tmp_path, "analyze", "crackle.wav", "--server", server.address)
    assert answer.returncode == 0, answer.stderr
    faults = [line for line in answer.stdout.splitlines() if line.startswith("fault: click")]
    assert faults
    assert all(line[17:].startswith("at ") for line in faults)
    assert any("a crackle, from a texture or from damage" in line for line in faults)


def test_a_folder_is_measured_as_a_table_and_a_bad_file_does_not_end_the_others(tmp_path: Path, server: Segued) -> None:
    (songs := tmp_path / "songs").mkdir()
    (songs / "more").mkdir()
    soundfile.write(songs / "a, live.wav", np.full((44_100, 2), 0.1, np.float32), 44_100)
    soundfile.write(songs / "more" / "c.FLAC", np.zeros((44_100, 1), np.float32), 44_100, format="FLAC")
    (songs / "b.wav").write_text("no audio")
    (songs / "cover.jpg").write_text("no audio either")
    given = ("analyze", "songs", "uploads/00c0ffee", "--server", server.address)
    answer = segued(tmp_path, *given, "--csv")
    assert answer.returncode == 1
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    files = ["songs/a, live.wav", "songs/b.wav", "songs/more/c.FLAC", "uploads/00c0ffee"]
    assert [row["file"] for row in rows] == files
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    assert [row["duration_s"] for row in rows] == ["1.000", "", "1.000", ""]
    assert {len(row) for row in rows} == {17}
    assert "3 of 4: songs/more/c.FLAC" in answer.stderr
    assert "2 of 4 could not be measured" in answer.stderr

    answer = segued(tmp_path, *given, "--json")
    assert answer.returncode == 1
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [line["file"] for line in lines] == files
    assert [line.get("state") for line in lines] == ["STATE_SUCCEEDED", "STATE_FAILED", "STATE_SUCCEEDED", None]
    assert [("report" in line, "error" in line) for line in lines] == [(True, False), (False, True)] * 2


async def test_what_analyze_uploads_is_deleted(tmp_path: Path, server: Segued) -> None:
    soundfile.write(tmp_path / "a.wav", np.full((44_100, 2), 0.1, np.float32), 44_100)
    async with Client(server.address) as client:
        before = [each.name async for each in client.uploads()]
        answer = await asyncio.to_thread(segued, tmp_path, "analyze", "a.wav", "--server", server.address)
        assert answer.returncode == 0, answer.stderr
        assert [each.name async for each in client.uploads()] == before
        assert (await anext(client.analyses())).state == composition_pb2.STATE_SUCCEEDED


def test_a_folder_without_audio_is_wrong_usage(tmp_path: Path) -> None:
    answer = segued(tmp_path, "analyze", ".")
    assert answer.returncode == 2
    assert "no audio file" in answer.stderr
