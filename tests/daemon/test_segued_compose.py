"""`segued compose` writes a complete file, or no file and an exit code that says why."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest
import soundfile
from tests.daemon.segued_command import segued, start
from tests.mesh.harness import Segued, hear, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import Access, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLOW = "conductor.after_take=sleep(30s)"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def compose(folder: Path, *arguments: str, server: Segued | None = None) -> tuple[int, str, str]:
    where = ("--server", server.address) if server else ()
    answer = segued(folder, "compose", *arguments, *where)
    assert "Traceback" not in answer.stderr
    return answer.returncode, answer.stdout, answer.stderr


def test_compose_without_a_server_writes_the_requested_length_and_no_other_file(tmp_path: Path) -> None:
    home = tmp_path / "user"
    home.mkdir()
    answer = segued(
        tmp_path, "compose", "calm piano", "--duration", "0m7.5s", "-o", "new/a.flac", "--picture", "new/a.png",
        "--negative-prompt", "drums, glitches",
        HOME=str(home), XDG_DATA_HOME=str(home), TMPDIR=str(home),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == ""
    assert soundfile.info(tmp_path / "new" / "a.flac").frames == 360_000
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.flac", "a.png"]
    assert list(home.iterdir()) == []  # the roles in this process remove their temporary files
    assert "first sound after" in answer.stderr
    assert "new/a.flac" in answer.stderr
    (warning,) = [line for line in answer.stderr.splitlines() if "glitches" in line]
    assert warning.startswith("warning: ")


def test_a_server_gives_the_same_bytes_as_this_process(tmp_path: Path, server: Segued) -> None:
    asked = ("sunny funk", "--duration", "6", "--seed", "5")
    assert compose(tmp_path, *asked, "-o", "here.flac")[0] == 0
    assert compose(tmp_path, *asked, "-o", "there.flac", server=server)[0] == 0
    assert (tmp_path / "here.flac").read_bytes() == (tmp_path / "there.flac").read_bytes()


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path, server: Segued) -> None:
    target = tmp_path / "song.flac"
    target.write_text("mine")
    code, _, stderr = compose(tmp_path, "piano", "--duration", "3", server=server)
    assert (code, target.read_text()) == (2, "mine")
    assert "song.flac already exists" in stderr
    assert "--force" in stderr
    assert compose(tmp_path, "piano", "--duration", "3", "--force", server=server)[0] == 0
    assert soundfile.info(target).frames == 144_000


def test_json_is_one_object_a_line_and_ends_with_the_files(tmp_path: Path, server: Segued) -> None:
    asked = ("piano", "--duration", "5", "--json", "-o", "a.wav", "--negative-prompt", "glitches")
    code, out, stderr = compose(tmp_path, *asked, server=server)
    assert (code, stderr) == (0, "")
    *events, result = [json.loads(line) for line in out.splitlines()]
    assert result["state"] == "SUCCEEDED"
    assert result["files"] == ["a.wav"]
    kinds = [next(kind for kind in event if kind in stream_pb2.CompositionEvent.DESCRIPTOR.fields_by_name
                  and kind not in {"composition", "sequence", "event_time", "plan_version", "attempt"})
             for event in events if len(event) > 1]  # fmt: skip
    assert kinds[0] == "accepted"
    assert kinds[-1] == "finished"
    warned = [event["warned"]["text"] for event in events if "warned" in event]
    assert ["glitches" in text for text in warned].count(True) == 1
    assert "data" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "a prompt is needed"),
        (("piano", "-o", "song.xyz"), ".flac"),
        (("piano", "--duration", "soon"), "1m20s"),
        (("piano", "--key", "H sharp"), "F minor"),
        (("piano", "--metre", "fast"), "3/4"),
        (("piano", "--seed", "-1"), "--seed"),
        (("piano", "trio"), "quotes"),
        (("piano", "--plan", "nowhere.json"), "nowhere.json"),
        (("piano", "--durration", "3"), "--duration"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_starts_nothing(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, out, error = compose(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_a_server_exits_with_3(tmp_path: Path) -> None:
    answer = segued(tmp_path, "models", "--server", "127.0.0.1:9")
    assert answer.returncode == 3
    assert "127.0.0.1:9" in answer.stderr
    assert "segued serve" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("piano", "--duration", "1h"), "duration"),
        (("piano", "--bpm", "4000"), "quarters_per_minute"),
        (("piano", "--genre", "barbershop death metal"), "genre"),
        (("piano", "--model", "nobody"), "sketch"),
    ],
)
def test_a_refusal_of_the_server_names_the_field(
    tmp_path: Path, server: Segued, arguments: tuple[str, ...], words: str
) -> None:
    code, out, error = compose(tmp_path, *arguments, server=server)
    assert (code, out) == (4, "")
    assert words in error
    assert list(tmp_path.iterdir()) == []


def test_a_caller_without_the_token_is_refused(tmp_path: Path) -> None:
    one = Segued(tmp_path / "home", "--server-token", "the right one, long enough").start()
    try:
        for token in ({}, {"SEGUE_CLIENT_TOKEN": "a wrong one"}):
            answer = segued(tmp_path, "models", "--server", one.address, **token)
            assert answer.returncode == 4
            assert "token" in answer.stderr
        right = "the right one, long enough"
        assert segued(tmp_path, "models", "--server", one.address, SEGUE_CLIENT_TOKEN=right).returncode == 0
        (tmp_path / "token").write_text(right + "\n")
        for file, stdin in (("token", ""), ("-", right)):
            answer = segued(tmp_path, "models", "--server", one.address, "--token-file", file, stdin=stdin)
            assert answer.returncode == 0, answer.stderr
    finally:
        one.stop()


async def test_a_full_queue_exits_with_5_and_names_the_retry_delay(tmp_path: Path) -> None:
    one = Segued(tmp_path / "home", "--queue-limit", "1", "--conductor-count", "1").start(failpoints=SLOW)
    try:
        async with Client(Access(one.address), patience_s=5) as client:
            first = await client.create(spec())
            async for update in client.watch(first.name):
                if update.kind == "started":
                    break
            await client.create(spec())
            answer = await asyncio.to_thread(segued, tmp_path, "compose", "piano", "--server", one.address)
        assert answer.returncode == 5
        assert re.search(r"try again in [0-9.]+ s", answer.stderr)
    finally:
        one.stop()


async def test_an_interrupt_cancels_the_composition_and_leaves_no_file(tmp_path: Path) -> None:
    one = Segued(tmp_path / "home").start(failpoints=SLOW)
    try:
        asked = start(tmp_path, "compose", "piano", "--json", "--server", one.address)
        assert asked.stdout is not None
        name = ""
        with asked.stdout as lines:
            for line in iter(lines.readline, ""):
                name = json.loads(line).get("composition", name)
                if "planned" in line:
                    break
            asked.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(asked.wait, 30) == 130
        assert asked.stderr is not None
        with asked.stderr as stderr:
            assert "Traceback" not in stderr.read()
        async with Client(Access(one.address), patience_s=5) as client:
            heard = await asyncio.wait_for(hear(client.watch(name)), 30)
        assert heard.composition.state == composition_pb2.STATE_CANCELLED
        assert os.listdir(tmp_path) == ["home"]
    finally:
        one.stop()


async def test_a_failed_composition_exits_with_1(tmp_path: Path) -> None:
    answer = await asyncio.to_thread(
        segued, tmp_path, "compose", "piano", "--duration", "4", "--failpoints-active", "artifacts.before_rename=error"
    )
    assert answer.returncode == 1
    # Internal details are in the log, which this process writes to standard error as well, and not on the wire.
    [error] = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert "failpoint" not in error
    assert os.listdir(tmp_path) == []


def test_a_target_below_a_file_is_refused(tmp_path: Path, server: Segued) -> None:
    (tmp_path / "taken").write_text("a file")
    code, _, stderr = compose(tmp_path, "piano", "--duration", "3", "-o", "taken/a.flac", server=server)
    assert code == 2
    assert "taken/a.flac" in stderr
    assert "cannot write in" in stderr


def test_a_full_disk_is_an_error_of_the_target(tmp_path: Path, server: Segued) -> None:
    (tmp_path / "a.flac").symlink_to("/dev/full")
    code, _, stderr = compose(tmp_path, "piano", "--duration", "3", "--force", "-o", "a.flac", server=server)
    if code == 0:  # the link was replaced by a regular file, which is as good
        assert soundfile.info(tmp_path / "a.flac").frames == 144_000
    else:
        assert (code, "a.flac" in stderr) == (1, True)


def test_a_failed_piece_says_where_it_failed_and_what_is_kept(tmp_path: Path) -> None:
    # The band has about thirty events in a section: the second one fails, at each of its attempts.
    failing = Segued(tmp_path / "home").start(failpoints="renderer.before_event=error*42")
    try:
        asked = ("calm piano, 120 bpm, C major, a verse and a chorus", "-d", "16", "-o", "song.flac")
        code, _, told = compose(tmp_path, *asked, server=failing)
    finally:
        failing.stop()
    assert code == 1
    assert not (tmp_path / "song.flac").exists()
    lines = told.splitlines()
    assert "it ended while rendering Chorus; complete: planning" in lines
    assert "a retry does not render again: Verse" in lines
    (kept,) = [line for line in lines if line.startswith("the finished part is kept: ")]
    assert re.fullmatch(r".*: compositions/[0-9a-f]+/outputs/draft.flac", kept)
