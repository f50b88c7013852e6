"""`segued voices`: its answers, exit codes and JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.daemon.segued_command import segued
from tests.renderer.tiny_font import font_bytes, usual_font, written_pack

from segued.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_pack_is_built_listed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "My font.sf2").write_bytes(font_bytes(usual_font()))
    home = ("--home", str(tmp_path / "home"))
    built = segued(tmp_path, "voices", "build", "My font.sf2", "--license", "CC0", "--json", *home)
    assert built.returncode == 0, built.stderr
    fields = json.loads(built.stdout)
    assert (fields["name"], fields["license"], fields["credits"]) == ("My-font", "CC0", "Tiny\npublic domain")
    assert (tmp_path / "home" / "voices" / "My-font.voices").stat().st_size == fields["bytes"]

    again = segued(tmp_path, "voices", "build", "My font.sf2", *home)
    assert again.returncode == 2
    assert "--force replaces it" in again.stderr

    assert json.loads(segued(tmp_path, "voices", "list", "--json", *home).stdout) == fields
    (tmp_path / "home" / "voices" / "broken.voices").write_bytes(b"no pack")
    listed = [json.loads(line) for line in segued(tmp_path, "voices", "list", "--json", *home).stdout.splitlines()]
    assert [(each["name"], bool(each["fault"])) for each in listed] == [("broken", True), ("My-font", False)]
    assert segued(tmp_path, "voices", "remove", "broken", *home).returncode == 0
    removed = segued(tmp_path, "voices", "remove", "My-font", "--json", *home)
    assert json.loads(removed.stdout) == {"freed_bytes": fields["bytes"]}
    empty = segued(tmp_path, "voices", "list", *home)
    assert (empty.returncode, empty.stdout) == (0, "")
    assert "no voice packs" in empty.stderr


def test_wrong_usage_and_unreadable_fonts_have_their_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.sf2").write_bytes(b"RIFF no font")
    for arguments, code, text in (
        (("build", "bad.sf2"), 1, "bad.sf2: it is not a SoundFont"),
        (("build", "none.sf2"), 1, "none.sf2: No such file"),
        (("build",), 2, "a font is needed"),
        (("remove", "none"), 1, "none is not a voice pack here"),
        (("list", "--name", "x"), 2, "--name: segued voices list does not use it"),
    ):
        assert main(["voices", *arguments, "--home", str(tmp_path / "home")]) == code
        answer = capsys.readouterr()
        assert answer.out == ""
        assert text in answer.err


def test_a_piece_with_sampled_voices_is_made_again_from_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    written_pack(folder)
    chosen = ("--voices", "tiny", "--voices-path", str(folder), "-q")
    made = segued(tmp_path, "compose", "folk guitar, 6 seconds", "--seed", "3", "-o", "one.flac", *chosen)
    assert made.returncode == 0, made.stderr
    again = segued(tmp_path, "compose", "--from", "one.flac", "-o", "two.flac", *chosen)
    assert again.returncode == 0, again.stderr
    one, two = ((tmp_path / f"{name}.flac").read_bytes() for name in ("one", "two"))
    assert one == two
    assert b"sketch-sampled" in one
    assert b"algorithmicMedia" in one
    missing = segued(tmp_path, "compose", "--from", "one.flac", "-o", "three.flac", "-q")
    assert missing.returncode == 4
    assert "sketch-sampled" in missing.stderr


def test_voices_that_a_server_would_not_use_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compose", "piano", "--voices", "auto", "--server", "127.0.0.1:1"]) == 2
    assert "have their own voices" in capsys.readouterr().err
    assert main(["compose", "piano", "--voices", "none-here", "--voices-path", str(tmp_path)]) != 0
    assert "none-here is not a voice pack here" in capsys.readouterr().err
