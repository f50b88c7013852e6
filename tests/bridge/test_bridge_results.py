"""Jobs and results through a real Redis: the shape of the results, malformed jobs, and files that are refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.bridge.bridges import JOBS, LIMIT_S, wait_until
from tests.runtime.redis_server import PROGRAM

from segue_client import BlockingClient

if TYPE_CHECKING:
    from tests.bridge.bridges import Lists
    from tests.bridge.conftest import StartBridge
    from tests.mesh.harness import Segued
    from tests.runtime.redis_server import RedisServer

pytestmark = pytest.mark.reference(PROGRAM)
PAGE = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text("utf-8")
RATE = 16_000
EXAMPLES = Path(__file__).parents[2] / "examples" / "redis-list"


def test_a_result_has_the_documented_shape_and_reasons(start_bridge: StartBridge, lists: Lists) -> None:
    start_bridge()
    lists.push({"job_id": "one", "file_path": "song.flac"})
    result = lists.pop()
    reasons = result.pop("reasons")
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == names_in(result["results"])
    assert set(result) == {"job_id", "status", "results"}
    assert (result["job_id"], result["status"]) == ("one", "completed")
    found, (track,) = result["results"]["global"], result["results"]["tracks"]
    assert set(result["results"]) == {"global", "tracks"}
    beats = found.pop("global_beat_grid_timestamps")
    assert beats == sorted(beats)
    assert all(abs((beat - 0.5) * 2 - round((beat - 0.5) * 2)) < 0.1 for beat in beats)
    assert found.pop("trimmed_start_sec") == pytest.approx(0.5, abs=0.01)
    # Clicks sound like drums.
    drum_beats = found.pop("global_drum_beat_grid_timestamps")
    assert drum_beats
    assert set(drum_beats) <= set(beats)
    assert found == {"duration_sec": 8.0, "stems": None}
    assert set(track) == {"track_id", "start_time_sec", "analysis"}
    analysis = track["analysis"]
    assert set(analysis) == {
        "duration_sec", "stable_bpm", "key", "loudness_lufs_total", "loudness_lufs_bass", "average_brightness",
        "has_vocals", "vocal_energy_rms",
    }  # fmt: skip
    assert analysis["stable_bpm"] == pytest.approx(120, rel=0.01)
    assert set(analysis["key"]) == {"musical", "camelot"}
    assert analysis["loudness_lufs_total"] < -5
    assert analysis["loudness_lufs_bass"] < analysis["loudness_lufs_total"] - 20  # clicks have little
    # Exactly what is null has a reason, under its JSON pointer.
    nulls = {f"/global/{name}" for name, value in found.items() if value is None}
    nulls |= {f"/tracks/0/analysis/{name}" for name, value in analysis.items() if value is None}
    if analysis["key"]["musical"] is None:
        nulls.add("/tracks/0/analysis/key")
    assert set(reasons) == nulls
    assert all(reasons.values())
    wait_until(lambda: not lists.left())


def test_stems_are_named_if_the_operator_asked_for_them(
    start_bridge: StartBridge, lists: Lists, redis_server: RedisServer, root: Path, server: Segued
) -> None:
    start_bridge("--bridge-stems")
    lists.push({"job_id": "one", "file_path": "song.flac"})
    result = lists.pop()
    stems = result["results"]["global"]["stems"]
    assert list(stems) == ["harmonic", "percussive"]
    assert "/global/stems" not in result["reasons"]
    with BlockingClient(server.address) as client:
        (separation,) = client.separations()
        assert list(stems.values()) == [output.name for output in separation.outputs]
        assert not list(client.uploads())
    alone = {"SEGUE_BRIDGE_URL": redis_server.url, "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "segued", "bridge", "redis-list", "--bridge-root", str(root), "--bridge-stems"]
    refused = subprocess.run(command, env=alone, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (refused.returncode, "bridge.stems" in refused.stderr) == (2, True)


def test_each_track_of_a_recording_has_its_own_entry(start_bridge: StartBridge, lists: Lists, root: Path) -> None:
    from tests.analyzer.analyzer_calls import chords, encoded

    first = chords([(60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67)], 6, RATE)
    silence = np.zeros((3 * RATE, 1), np.float32)
    second = chords([(57, 60, 64), (62, 65, 69), (52, 56, 59), (57, 60, 64)], 6, RATE)
    (root / "set.flac").write_bytes(encoded(np.concatenate([first, silence, second]), RATE))
    start_bridge()
    lists.push({"job_id": "set", "file_path": "set.flac"})
    result = lists.pop()
    one, two = result["results"]["tracks"]
    assert (one["track_id"], one["start_time_sec"], two["track_id"]) == (1, 0.0, 2)
    assert two["start_time_sec"] == pytest.approx(27, abs=0.3)
    assert one["analysis"]["duration_sec"] == pytest.approx(24, abs=0.3)
    assert [track["analysis"]["key"]["camelot"] for track in (one, two)] == ["8B", "8A"]
    assert {f"/tracks/{index}/analysis/has_vocals" for index in (0, 1)} <= set(result["reasons"])


def names_in(value: object) -> set[str]:
    """Return the names of all values that are no objects or lists of objects."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    groups = {"global", "tracks", "analysis", "key"}
    return (set(value) - groups).union(*map(names_in, value.values()))


def test_silence_has_reasons_instead_of_guesses(start_bridge: StartBridge, lists: Lists, root: Path) -> None:
    from tests.analyzer.analyzer_calls import encoded, tone

    (root / "silence.flac").write_bytes(encoded(tone(1, level=0.0)))
    start_bridge()
    lists.push({"job_id": "silent", "file_path": "silence.flac", "url": None})
    result = lists.pop()
    (track,) = result["results"]["tracks"]
    assert track["analysis"]["key"] == {"musical": None, "camelot": None}
    assert track["analysis"]["stable_bpm"] is track["analysis"]["loudness_lufs_total"] is None
    grids = {"/global/global_beat_grid_timestamps", "/global/global_drum_beat_grid_timestamps"}
    assert grids | {"/tracks/0/analysis/key"} <= set(result["reasons"])


def test_malformed_jobs_fail_or_are_dropped_and_hold_up_nothing(start_bridge: StartBridge, lists: Lists) -> None:
    bridge = start_bridge()
    for job, error in (
        ({"job_id": "a"}, "exactly one"),
        ({"job_id": "a", "file_path": "x", "url": "https://x"}, "exactly one"),
        ({"job_id": "a", "file_path": 3}, "file_path: it is not a text"),
        ({"job_id": "a", "file_path": ["x"]}, "file_path: it is not a text"),
        ({"job_id": "a", "file_path": "x", "priority": 1}, "'priority': no such field"),
        ({"job_id": 7, "file_path": "x"}, "job_id: it is not a text"),
        ({"job_id": "", "file_path": "x"}, "job_id: it must have"),
        ({"job_id": "\x1b[2J", "file_path": "x"}, "job_id: it must have"),
        ({"job_id": "a", "file_path": "x" * 70_000}, "at most 65536"),
        ({"job_id": "a", "file_path": "\0"}, "not a path"),
        ({"job_id": "a", "file_path": "\ud800"}, "not a path"),
        ({"job_id": "a", "file_path": "x" * 300}, "no such file"),
    ):
        assert error in lists.error_of(job)
    garbage = [b"", b"\xff\xfe", b"[]", b"null", b"{", b"[" * 60_000, b'{"job_id": null}', b"{}", b"x" * (2 << 20)]
    lists.push(*garbage, {"job_id": "last", "file_path": "song.flac"})
    assert lists.pop()["job_id"] == "last"
    wait_until(lambda: not lists.left())
    dropped = [line for line in bridge.logged() if "no job_id" in line["event"]]
    assert len(dropped) == len(garbage)


def test_only_regular_files_below_the_root_are_read(
    start_bridge: StartBridge, lists: Lists, root: Path, tmp_path: Path
) -> None:
    (outside := tmp_path / "root-beside").mkdir()
    (outside / "secret.flac").write_bytes((root / "song.flac").read_bytes())
    (root / "link.flac").symlink_to(outside / "secret.flac")
    (root / "album").symlink_to(outside)
    (root / "circle").symlink_to(root / "circle")
    (root / "inner").mkdir()
    (root / "inner" / "same.flac").symlink_to("../song.flac")
    (root / "text.flac").write_text("this is no audio")
    (root / "empty.flac").touch()
    with (root / "large.flac").open("wb") as large:
        large.truncate(2 << 20)
    os.mkfifo(root / "pipe.flac")
    bridge = start_bridge("--bridge-max-bytes", "1MiB")
    for path, error in (
        ("missing.flac", "no such file"),
        (str(outside / "secret.flac"), "not below bridge.root"),
        ("../root-beside/secret.flac", "not below bridge.root"),
        ("/etc/passwd", "not below bridge.root"),
        ("/nowhere/at/all", "not below bridge.root"),  # the answer does not tell what exists elsewhere
        ("link.flac", "not below bridge.root"),
        ("album/secret.flac", "not below bridge.root"),
        ("circle", ""),
        ("inner", "a folder"),
        (".", "a folder"),
        ("song.flac/x", "no such file"),
        ("pipe.flac", "not a regular file"),
        ("empty.flac", "empty"),
        ("large.flac", "bridge.max_bytes is 1048576"),
        ("text.flac", "audio"),
    ):
        assert error in lists.error_of({"job_id": path, "file_path": path}), path
    for path in ("inner/same.flac", str(root / "song.flac"), "inner/../song.flac"):
        lists.push({"job_id": path, "file_path": path})
        assert lists.pop()["status"] == "completed"
    assert bridge.terminate() == 0
    assert not lists.left()


def test_without_a_root_no_path_is_read(start_bridge: StartBridge, lists: Lists, root: Path) -> None:
    start_bridge("--bridge-root", "", "--bridge-hosts", "audio.example")
    assert "bridge.root is not set" in lists.error_of({"job_id": "a", "file_path": str(root / "song.flac")})


def test_urls_of_other_hosts_and_of_private_addresses_are_refused(start_bridge: StartBridge, lists: Lists) -> None:
    start_bridge("--bridge-hosts", "localhost, 127.0.0.1:8000, [::1], 169.254.169.254, audio.example", "--bridge-http")
    for url, error in (
        ("https://localhost/a.flac", "not public"),
        ("http://127.0.0.1:8000/a.flac", "not public"),
        ("http://[::1]/a.flac", "not public"),
        ("http://169.254.169.254/latest/meta-data", "not public"),
        ("http://127.0.0.1:8001/a.flac", "not in bridge.hosts"),
        ("https://other.example/a.flac", "not in bridge.hosts"),
        ("https://audio.example.other/a.flac", "not in bridge.hosts"),
        ("https://audio.example:8443/a.flac", "not in bridge.hosts"),
        ("https://audio.example@127.0.0.1:8000/a.flac", "user or a password"),
        ("file:///etc/passwd", "scheme"),
        ("ftp://audio.example/a.flac", "scheme"),
        ("https://audio.example/a b", "visible ASCII"),
        ("https://audio.example/\r\nX: y", "visible ASCII"),
        ("https://audio.example:99999/", "not a URL"),
        ("https:///a.flac", "not in bridge.hosts"),
        ("https://audio.example/" + "a" * 3000, "2048"),
    ):
        assert error in lists.error_of({"job_id": "a", "url": url}), url


@pytest.mark.usefixtures("lists")
def test_the_examples_push_and_pop(start_bridge: StartBridge, redis_server: RedisServer) -> None:
    start_bridge()
    place = ["127.0.0.1", str(redis_server.port)]
    push = [sys.executable, str(EXAMPLES / "push.py"), *place, "song.flac"]
    job_id = subprocess.run(push, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout.strip()
    pops = [sys.executable, str(EXAMPLES / "pop.py"), *place]
    with subprocess.Popen(pops, stdout=subprocess.PIPE, text=True) as pop:
        assert pop.stdout is not None
        line = pop.stdout.readline()
        pop.kill()
    assert line.startswith(job_id)
    assert "stable_bpm" in line


def test_logs_name_jobs_and_never_their_files(start_bridge: StartBridge, lists: Lists) -> None:
    bridge = start_bridge("--bridge-hosts", "localhost", "--log-level", "debug")
    lists.push(
        {"job_id": "first", "file_path": "private-name.flac"}, {"job_id": "x", "url": "https://localhost/?key=1"}
    )
    assert {lists.pop()["job_id"], lists.pop()["job_id"]} == {"first", "x"}
    assert bridge.terminate() == 0
    text = json.dumps(bridge.logged())
    assert "first" in text
    assert "private-name" not in text
    assert "key=1" not in text


def test_the_lists_have_other_names_by_settings(start_bridge: StartBridge, lists: Lists) -> None:
    start_bridge("--bridge-jobs", "in", "--bridge-results", "out")
    lists.client.rpush("in", json.dumps({"job_id": "a", "file_path": "song.flac"}))
    assert json.loads(lists.client.blpop("out", timeout=LIMIT_S)[1])["status"] == "completed"
    assert not lists.client.exists(JOBS)
