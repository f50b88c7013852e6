"""Every flag of `compose` and `plan` reaches the service, and wrong values are usage errors."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
import soundfile
from tests.daemon.segued_command import segued, start
from tests.mesh.harness import Segued

from segue.audio.v1 import audio_pb2
from segue.composer.v1 import spec_pb2
from segue.music.v1 import music_pb2
from segue_client import Client
from segued.exits import CliError
from segued.flags.parser import parser
from segued.requests import exports, specs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segued]:
    one = Segued(tmp_path_factory.mktemp("server")).start()
    yield one
    one.stop()


def spec_of(*arguments: str) -> spec_pb2.CompositionSpec:
    parsed = parser().parse_args(["compose", "piano", *arguments])
    spec = specs.composition_spec(parsed)
    specs.apply_work_flags(spec, parsed)
    return spec


def test_flags_of_the_music_become_fields_of_the_brief() -> None:
    brief = spec_of(
        "--form", "intro, pre-chorus,outro", "--with", "rhythm,bass", "--without", "vocals", "--instrument",
        "cello,electric piano", "--title", "Rain", "--loop", "-d", "1m20s", "--metre", "6/8", "--bpm", "60",
    ).brief  # fmt: skip
    assert list(brief.form) == [music_pb2.ROLE_INTRO, music_pb2.ROLE_PRE_CHORUS, music_pb2.ROLE_OUTRO]
    assert list(brief.include_layers) == [music_pb2.LAYER_KIND_RHYTHM, music_pb2.LAYER_KIND_BASS]
    assert list(brief.exclude_layers) == [music_pb2.LAYER_KIND_VOCALS]
    assert list(brief.instruments) == ["cello", "electric piano"]
    assert (brief.title, brief.kind) == ("Rain", music_pb2.KIND_LOOP)
    assert (brief.duration.seconds, brief.quarters_per_minute) == (80, 90)


def test_flags_of_the_work_become_fields_of_the_spec() -> None:
    spec = spec_of(
        "--allow-degraded",
        "--time-limit",
        "10m",
        "--label",
        "album=rain",
        "--label",
        "take=2=b",
        "--session",
        "tonight",
        "--tempo-within=3",
        "--same-key",
        "--level-within=2.5",
        "--redos=4",
    )
    assert spec.take_bounds == spec_pb2.TakeBounds(tempo_percent=3, key=True, level_lu=2.5, most_redos=4)
    assert spec.degradation_policy == spec_pb2.DEGRADATION_POLICY_ALLOW
    assert spec.time_limit.seconds == 600
    assert dict(spec.labels) == {"album": "rain", "take": "2=b"}
    assert spec.session == "tonight"
    plain = spec_of()
    assert not plain.HasField("time_limit")
    assert not plain.HasField("take_bounds")
    assert plain.degradation_policy == spec_pb2.DEGRADATION_POLICY_UNSPECIFIED


@pytest.mark.parametrize(
    ("flags", "name", "suffix"),
    [
        ((), "song.flac", "FLAC"),
        (("--format", "opus"), "song.opus", "OGG_OPUS"),
        (("-o", "a.ogg", "--format", "opus"), "a.ogg", "OGG_OPUS"),
        (("-o", "piece", "--format", "wav"), "piece", "WAV"),
        (("-o", "a.mp3"), "a.mp3", "MP3"),
    ],
)
def test_the_format_is_that_of_the_name_or_the_flag(flags: tuple[str, ...], name: str, suffix: str) -> None:
    arguments = parser().parse_args(["compose", "piano", *flags])
    target = exports.target_of(arguments, "song")
    assert target.name == name
    kind = exports.export_of(target, arguments).file_format
    assert audio_pb2.FileFormat.Name(kind) == f"FILE_FORMAT_{suffix}"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-o", "a.flac", "--format", "wav"), "differ"),
        (("-o", "piece"), "unknown file format"),
        (("-o", "piece.xyz"), "unknown file format"),
    ],
)
def test_a_name_and_a_format_that_differ_are_refused(flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(CliError, match=words) as caught:
        exports.target_of(parser().parse_args(["compose", "piano", *flags]), "song")
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--form", "intro,zebra"), "pre-chorus"),
        (("--with", "drums"), "rhythm"),
        (("--without", "zebra"), "textures"),
        (("--label", "album"), "KEY=VALUE"),
        (("--time-limit", "soon"), "1m20s"),
        (("--format", "xyz"), "flac"),
        (("--color", "sometimes"), "always"),
        (("--token", "secret-token"), "--token-file"),
        (("--plan", "-", "--token-file", "-"), "standard input"),
        (("--token-file", "nowhere"), "nowhere"),
        (("--server", "ftp://somewhere"), "not an address"),
        (("--server", "http://localhost:1", "--tls"), "https://"),
    ],
)
def test_a_wrong_value_is_a_usage_error(tmp_path: Path, flags: tuple[str, ...], words: str) -> None:
    answer = segued(tmp_path, "compose", "piano", *flags)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert words in answer.stderr
    assert "secret-token" not in answer.stderr
    assert os.listdir(tmp_path) == []


def test_plan_follows_form_layers_and_title(tmp_path: Path, server: Segued) -> None:
    answer = segued(
        tmp_path, "plan", "calm piano, 100 bpm", "--form", "intro,chorus,outro", "--without", "rhythm", "--title",
        "Rain", "--json", "--server", f"http://{server.address}",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    plan = json.loads(answer.stdout)["plan"]
    assert answer.stdout.count("\n") == 1
    assert plan["title"] == "Rain"
    roles = [item["spec"]["role"] for item in plan["sections"]]
    assert (roles[0], roles[-1]) == ("ROLE_INTRO", "ROLE_OUTRO")
    assert "ROLE_CHORUS" in roles
    kinds = {layer["kind"] for item in plan["sections"] for layer in item["spec"]["layers"]}
    assert "LAYER_KIND_RHYTHM" not in kinds


def test_a_plan_on_standard_output_is_a_plan(tmp_path: Path, server: Segued) -> None:
    written = segued(tmp_path, "plan", "calm piano", "-d", "4", "-o", "-", "--server", server.address)
    assert json.loads(written.stdout)["sections"]
    again = segued(tmp_path, "plan", "--plan", "-", "--server", server.address, stdin=written.stdout)
    assert again.returncode == 0, again.stderr
    quiet = segued(tmp_path, "plan", "calm piano", "-o", "plan.json", "-q", "--server", server.address)
    assert (quiet.returncode, quiet.stderr) == (0, "")


async def test_labels_and_session_are_those_of_the_composition(tmp_path: Path, server: Segued) -> None:
    flags = ("--label", "album=rain", "--session", "tonight", "--format", "wav", "-o", "piece", "--json")
    answer = await asyncio.to_thread(
        segued, tmp_path, "compose", "calm piano", "-d", "3", *flags, "--server", server.address
    )
    assert answer.returncode == 0, answer.stderr
    name = json.loads(answer.stdout.splitlines()[-1])["composition"]
    assert soundfile.info(tmp_path / "piece").format == "WAV"
    async with Client(server.address) as client:
        composition = await client.get(name)
    assert dict(composition.labels) == {"album": "rain"}
    assert composition.session == "tonight"


def test_colours_follow_the_flag(tmp_path: Path) -> None:
    coloured = segued(tmp_path, "compose", "--color", "always")
    assert coloured.stderr.startswith("\x1b[1;31merror:\x1b[0m a prompt is needed")
    for plain in (("--color", "never"), ()):
        assert segued(tmp_path, "compose", *plain).stderr.startswith("error: a prompt is needed")


async def test_a_time_limit_ends_the_work_and_a_sigterm_cancels_it(tmp_path: Path) -> None:
    one = Segued(tmp_path / "home").start(failpoints="conductor.after_take=sleep(30s)")
    try:
        limited = await asyncio.to_thread(
            segued, tmp_path, "compose", "piano", "-d", "4", "--time-limit", "1s", "--server", one.address
        )
        assert limited.returncode == 1, limited.stderr
        running = start(tmp_path, "compose", "piano", "--seed", "9", "--json", "--server", one.address)
        assert running.stdout is not None
        with running.stdout as lines:
            for line in iter(lines.readline, ""):
                if "planned" in line:
                    break
            running.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(running.wait, 30) == 128 + signal.SIGTERM
        assert running.stderr is not None
        running.stderr.close()
        assert os.listdir(tmp_path) == ["home"]
    finally:
        one.stop()
