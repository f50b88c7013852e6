"""Settings: precedence, origins, and useful error messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue_runtime import settings


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "user" / "segue").mkdir(parents=True)
    return tmp_path


def load(place: Path, flags: dict[str, object] | None = None, **variables: str) -> settings.Settings:
    environment = {"XDG_CONFIG_HOME": str(place / "user"), **variables}
    return settings.load(flags or {}, environ=environment, folder=place / "work")


def problems(place: Path, flags: dict[str, object] | None = None, **variables: str) -> str:
    with pytest.raises(settings.SettingsError) as caught:
        load(place, flags, **variables)
    return str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="the user's folder is set by XDG_CONFIG_HOME")
def test_flags_variables_local_file_and_user_file_have_this_precedence(place: Path) -> None:
    steps = ["1", "2", "3", "4", "5"]
    assert load(place).queue.limit == 64
    (place / "user/segue/segue.toml").write_text("[queue]\nlimit = 2\n[log]\nlevel = 'debug'")
    assert load(place).queue.limit == 2
    (place / "work/segue.toml").write_text("[queue]\nlimit = 3")
    both = load(place)
    assert (both.queue.limit, both.log.level) == (3, "debug")
    assert load(place, SEGUE_QUEUE_LIMIT=steps[3]).queue.limit == 4
    top = load(place, {"queue.limit": "5"}, SEGUE_QUEUE_LIMIT="4")
    assert top.queue.limit == 5
    origins = {row.key: row.origin for row in settings.rows(top)}
    assert origins["queue.limit"] == "--queue-limit"
    assert origins["log.level"] == str(place / "user/segue/segue.toml")
    assert origins["conductor.lease"] == "default"


def test_a_chosen_file_is_the_only_one(place: Path) -> None:
    (place / "work/segue.toml").write_text("[queue]\nlimit = 3")
    other = place / "other.toml"
    other.write_text("home = '/srv/segue'")
    chosen = load(place, SEGUE_CONFIG=str(other))
    assert chosen.queue.limit == 64
    assert str(chosen.database_path) == "/srv/segue/segue.db"
    assert "there is no file" in problems(place, SEGUE_CONFIG=str(place / "none.toml"))


def test_every_setting_can_be_set_by_its_variable_and_by_its_flag(place: Path) -> None:
    samples = {"text": "x", "number": "7", "flag": "true", "duration": "1m20s", "size": "2GiB", "path": "/x"}
    samples |= {"address": "localhost:1", "addresses": "localhost:1,unix:/x"}
    for each in settings.declared():
        written = each.spec.choices[-1] if each.spec.kind == "choice" else samples[each.spec.kind]
        for loaded in (load(place, {}, **{each.environment: written}), load(place, {each.key: written})):
            row = next(row for row in settings.rows(loaded) if row.key == each.key)
            shown = {"2GiB": str(2 << 30)}.get(written, written)
            assert row.value == ("********" if each.spec.secret else shown)
            assert row.origin in (each.environment, each.flag)


def test_names_are_unique_in_every_source_and_each_has_a_help() -> None:
    listed = settings.declared()
    for names in zip(*[(each.key, each.environment, each.flag) for each in listed], strict=True):
        assert len(set(names)) == len(listed)
    assert all(each.spec.help.endswith((".", "…")) or "3rd" in each.spec.help for each in listed)


def test_unknown_names_are_reported_together_with_suggestions(place: Path) -> None:
    (place / "work/segue.toml").write_text("[condutor]\nlease = '20s'\n[queue]\nlimits = 3")
    found = problems(place, {"store.pth": "x"}, SEGUE_CONDUCTOR_LEESE="20s", SEGUE_QUEUE_LIMIT="many")
    assert "no setting 'condutor.lease'; did you mean conductor.lease?" in found
    assert "did you mean queue.limit?" in found
    assert "did you mean store.path?" in found
    assert "SEGUE_CONDUCTOR_LEESE: no such variable; did you mean SEGUE_CONDUCTOR_LEASE?" in found
    assert "queue.limit (from SEGUE_QUEUE_LIMIT): 'many' is not a whole number" in found


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("queue.limit", "0"), ("queue.limit", "-1"), ("queue.limit", True), ("queue.limit", [1]),
        ("conductor.lease", "soon"), ("conductor.lease", "1ms"), ("conductor.lease", ""),
        ("gateway.listen", "7300"), ("gateway.listen", "localhost:70000"), ("gateway.listen", "unix:"),
        ("log.level", "loud"), ("server.insecure", "perhaps"), ("server.insecure", 1),
        ("limits.upload_bytes", "1GB"),
    ],
)  # fmt: skip
def test_bad_values_name_the_setting(place: Path, key: str, written: object) -> None:
    assert problems(place, {key: written}).startswith(f"{key} (from --")


def test_a_broken_file_is_named(place: Path) -> None:
    (place / "work/segue.toml").write_text("queue = = 3")
    assert str(place / "work/segue.toml") in problems(place)


def test_secrets_are_never_shown(place: Path) -> None:
    hush = "hush-hush"
    loaded = load(place, SEGUE_SERVER_TOKEN=hush)
    assert loaded.server.token == hush
    assert "hush" not in str(settings.rows(loaded))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("75", 75),
        ("20s", 20),
        ("2m", 120),
        ("1m20s", 80),
        ("1h", 3600),
        ("7d", 604800),
        ("250ms", 0.25),
        ("0.5s", 0.5),
    ],
)
def test_durations(written: str, seconds: float) -> None:
    assert settings.parse_duration(written) == seconds


@pytest.mark.parametrize("written", ["", " ", "s", "-1", "1m20", "20s1m", "1e3", "nan", "inf", "2 m", "٣s", "1m20s!"])
def test_invalid_durations(written: str) -> None:
    with pytest.raises(ValueError, match="write 75, 20s, 2m or 1m20s"):
        settings.parse_duration(written)


@given(st.integers(0, 10**10).map(lambda milliseconds: milliseconds / 1000))
def test_a_written_duration_reads_back(seconds: float) -> None:
    assert settings.parse_duration(settings.format_duration(seconds)) == pytest.approx(seconds)


def test_the_contract_and_the_pages_name_the_real_defaults(place: Path) -> None:
    """A text names a default as `the setting NAME, by default TIME` or as `NAME` (TIME)."""
    root = Path(__file__).resolve().parents[2]
    pages = [*root.glob("protos/segue/**/*.proto"), *root.glob("docs/*.md")]
    texts = [" ".join(page.read_text(encoding="utf-8").replace("//", "").split()) for page in pages]
    time = r"(\d+) (s|minutes?|hours?)\b"
    named = [
        found
        for text in texts
        for pattern in (rf"setting ([a-z_]+\.[a-z_]+), by default {time}", rf"`([a-z_]+\.[a-z_]+)` \({time}\)")
        for found in re.findall(pattern, text)
    ]
    assert {"conductor.time_limit", "conductor.patience"} <= {name for name, _, _ in named}
    defaults = load(place)
    for name, number, unit in named:
        section, _, key = name.partition(".")
        seconds = int(number) * {"s": 1, "minute": 60, "hour": 3600}[unit.rstrip("s") or unit]
        assert getattr(getattr(defaults, section), f"{key}_s") == seconds, name


def test_replace_changes_only_what_is_named(tmp_path: Path) -> None:
    plain = settings.Settings(home=tmp_path)
    changed = settings.replace(plain, queue__limit=4, home=tmp_path / "x")
    assert (changed.queue.limit, changed.home, changed.store) == (4, tmp_path / "x", plain.store)


def test_importing_settings_imports_nothing_slow() -> None:
    script = "import sys, segue_runtime.settings as s; s.load(environ={}); print(sorted(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    for heavy in (
        "'grpc'",
        "'google.protobuf'",
        "'structlog'",
        "'numpy'",
        "'prometheus_client'",
        "'asyncio'",
    ):
        assert heavy not in listed


def test_the_home_of_an_unknown_user_is_an_error(place: Path) -> None:
    assert "home" in problems(place, SEGUE_HOME="~no-such-user/segue")


def test_a_section_inside_a_section_is_read_from_every_source(place: Path) -> None:
    (place / "work/segue.toml").write_text("[renderer.musicgen]\nmodel = 'a'\nslots = 2\n[renderer]\nbackend = 'x'")
    loaded = load(place, {"renderer.musicgen.threads": "3"}, SEGUE_RENDERER_MUSICGEN_SLOTS="4")
    assert (loaded.renderer.backend, loaded.renderer.musicgen.model) == ("x", "a")
    assert (loaded.renderer.musicgen.slots, loaded.renderer.musicgen.threads) == (4, 3)
    origins = {row.key: row.origin for row in settings.rows(loaded)}
    assert origins["renderer.musicgen.threads"] == "--renderer-musicgen-threads"
    found = problems(place, SEGUE_MUSICGEN_MODEL="a")
    assert "did you mean SEGUE_RENDERER_MUSICGEN_MODEL?" in found
    # Its words count more than its letters, which are those of SEGUE_RENDERER_JOIN.
    for found in (problems(place, SEGUE_RENDERER_MODEL="a"), problems(place, SEGUE_MODEL_RENDERER="a")):
        assert "SEGUE_RENDERER_MUSICGEN_MODEL" in found.rpartition("did you mean ")[2]
    changed = settings.replace(loaded, renderer__musicgen__slots=5, renderer__backend="y")
    assert (changed.renderer.musicgen.slots, changed.renderer.musicgen.model, changed.renderer.backend) == (5, "a", "y")
