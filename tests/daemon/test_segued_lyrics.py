"""`--lyrics` and `--lrc` of `segued`: words from a file or standard input, and a file of their times."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.daemon.segued_command import segued
from tests.mesh.harness import Segued

from segue_audio.files import read_tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SONG = "[verse]\r\nGriselda\twaits\r\nby the door\r\n[chorus]\r\nCome home\r\n"
ASKED = ("calm pop, 120 bpm, C major", "--duration", "8", "--seed", "5")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def test_words_are_planned_sung_and_written(tmp_path: Path, server: Segued) -> None:
    (tmp_path / "words.txt").write_text(SONG, newline="")
    asked = (*ASKED, "--lyrics", "words.txt", "--lyrics-language", "en", "--server", server.address)
    shown = segued(tmp_path, "plan", *asked)
    assert "Griselda waits" in shown.stdout, shown.stderr
    made = segued(tmp_path, "compose", *asked, "--lrc", "--private-prompt", "-o", "a.flac")
    assert made.returncode == 0, made.stderr
    assert "on vowels" in made.stderr
    lines = (tmp_path / "a.lrc").read_text().splitlines()
    assert [line.partition("]")[2] for line in lines if line[1].isdigit() and line[-1] != "]"] == [
        "Griselda waits", "by the door", "Come home",
    ]  # fmt: skip
    assert b"Griselda" not in (tmp_path / "a.flac").read_bytes()
    assert json.loads(read_tags(tmp_path / "a.flac").manifest)["lyrics"] == {"language": "en", "lines": 3}

    # The file can be made again with its private prompt and words only.
    again = ("--from", "a.flac", "-o", "b.flac", "--server", server.address)
    refused = segued(tmp_path, "compose", ASKED[0], *again)
    assert (refused.returncode, "its lyrics were kept private" in refused.stderr) == (2, True)
    given = segued(
        tmp_path, "compose", ASKED[0], *again, "--lyrics", "-", "--lyrics-language", "en", stdin=SONG.replace("\r", "")
    )
    assert "has the same bytes as" in given.stderr


def test_a_plan_gets_words_and_a_file_with_words_is_made_again(tmp_path: Path, server: Segued) -> None:
    (tmp_path / "words.txt").write_text("Come home")
    segued(tmp_path, "plan", *ASKED, "-o", "plan.json", "--server", server.address)
    asked = ("--plan", "plan.json", "--lyrics", "words.txt", "--server", server.address)
    made = segued(tmp_path, "compose", *asked, "--lrc", "-o", "a.flac")
    assert made.returncode == 0, made.stderr
    assert "Come home" in (tmp_path / "a.lrc").read_text()
    again = segued(tmp_path, "compose", "--from", "a.flac", "-o", "b.flac", "--server", server.address)
    assert "has the same bytes as" in again.stderr, again.stderr
    refused = segued(tmp_path, "compose", "--from", "a.flac", "--lyrics", "words.txt", "-o", "c.flac")
    assert (refused.returncode, "--lyrics beside --from" in refused.stderr) == (2, True)

    # An edit of the words in the file of a plan is timed again.
    content = json.loads(segued(tmp_path, "plan", *asked, "--json").stdout)["plan"]
    for section in content["sections"]:
        if "lyrics" in section["spec"]:
            section["spec"]["lyrics"]["text"] = "Come\nhome"
    (tmp_path / "edited.json").write_text(json.dumps(content))
    shown = segued(tmp_path, "plan", "--plan", "edited.json", "--server", server.address)
    assert "  Come\n" in shown.stdout, shown.stderr


@pytest.mark.parametrize(
    ("content", "flags", "words"),
    [
        (b"x" * 100_000, (), "16 KiB at most"),
        (b"la\nla \x1b[31m", (), "line 2 has the control character U+001B"),
        ("la \u202ela".encode(), (), "U+202E"),
        (b"\xff", (), "not UTF-8 at byte 0"),
        (b" \n", (), "it has no words"),
        (b"la", ("--lyrics-language", "english!"), "no language tag"),
        (b"la", ("--plan", "-", "--lyrics", "-"), "both be standard input"),
        (None, (), "No such file"),
    ],
    ids=range(8),
)
def test_wrong_words_are_refused_before_anything_starts(
    tmp_path: Path, content: bytes | None, flags: tuple[str, ...], words: str
) -> None:
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    answer = segued(tmp_path, "compose", *ASKED, "--lyrics", "words.txt", *flags, "-o", "a.flac")
    assert (answer.returncode, words in answer.stderr) == (2, True), answer.stderr
    assert not (tmp_path / "a.flac").exists()


def test_words_need_a_place(tmp_path: Path, server: Segued) -> None:
    answer = segued(tmp_path, "compose", *ASKED, "--lrc", "-o", "a.flac", "--server", server.address)
    assert (answer.returncode, "the piece has no lyrics" in answer.stderr) == (4, True)
    answer = segued(tmp_path, "plan", *ASKED, "--lyrics-language", "en", "--server", server.address)
    assert (answer.returncode, "needs --lyrics" in answer.stderr) == (2, True)
