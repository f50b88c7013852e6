"""The registry of backends: a name, a factory, and settings that belong to one backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from segue_renderer import registry
from segue_runtime import errors, logs
from segue_runtime.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODEL = "renderer.musicgen.model"


def settings_of(folder: Path, flags: Mapping[str, object], toml: str = "", **variables: str) -> Settings:
    (folder / "segue.toml").write_text(toml)
    return load(flags, environ={"XDG_CONFIG_HOME": str(folder), **variables}, folder=folder)


async def test_the_default_backend_is_the_sketch_band(tmp_path: Path) -> None:
    backend = registry.make_backend(settings_of(tmp_path, {}))
    assert [profile.backend for profile in backend.profiles] == ["sketch"]
    await backend.close()


def test_an_unknown_backend_is_refused_and_the_known_ones_are_listed(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound, match="sketch, musicgen"):
        registry.makers_of(settings_of(tmp_path, {"renderer.backend": "sketch,scetch"}))


def test_a_flag_of_a_backend_that_is_not_chosen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionNotSupported, match="--renderer-musicgen-model: the backend is sketch") as caught:
        registry.makers_of(settings_of(tmp_path, {MODEL: "small"}))
    assert caught.value.metadata["option"] == MODEL


@pytest.mark.parametrize(
    ("toml", "variables"),
    [('[renderer.musicgen]\nmodel = "small"\n', {}), ("", {"SEGUE_RENDERER_MUSICGEN_MODEL": "small"})],
)
def test_a_file_or_variable_of_a_backend_that_is_not_chosen_is_a_warning(
    toml: str, variables: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(tmp_path, {}, toml, **variables)
    logs.configure(settings.log)
    assert len(registry.makers_of(settings)) == 1
    written = capsys.readouterr().err
    assert MODEL in written
    assert "no effect" in written


def test_each_backend_and_each_of_its_models_is_hosted(tmp_path: Path) -> None:
    flags = {"renderer.backend": "sketch, musicgen,sketch", MODEL: "small, /models/large"}
    assert len(registry.makers_of(settings_of(tmp_path, flags))) == 3
    assert len(registry.makers_of(settings_of(tmp_path, {"renderer.backend": "sketch"}))) == 1


def test_settings_of_the_chosen_backend_come_from_file_variable_and_flag(tmp_path: Path) -> None:
    toml = '[renderer.musicgen]\nmodel = "small"\nslots = 2\nprecision = "bf16"\n'
    settings = settings_of(tmp_path, {"renderer.musicgen.slots": "4"}, toml, SEGUE_RENDERER_MUSICGEN_PRECISION="int8")
    assert (settings.renderer.musicgen.model, settings.renderer.musicgen.slots) == ("small", 4)
    assert settings.renderer.musicgen.precision == "int8"


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BACKENDS, "tone", "package_that_is_missing.tone:make_backend")
    with pytest.raises(errors.ModelNotInstalled, match=r"install the extra segue\[tone\]"):
        registry.make_backend(settings_of(tmp_path, {"renderer.backend": "tone"}))


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [
        ("no_such_package.voice:make_backend", errors.ModelNotInstalled, "no_such_package; .*PYTHONPATH"),
        ("segue_renderer.sketch.backend:make_nothing", errors.ModelNotFound, "no such factory"),
        ("os.path:", errors.ModelNotFound, "module:factory"),
        ("../voice:make_backend", errors.ModelNotFound, "module:factory"),
    ],
)
def test_a_backend_of_somebody_else_that_is_not_there_is_refused(
    backend: str, error: type[errors.SegueError], message: str, tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, {"renderer.backend": backend})
    with pytest.raises(error, match=message):
        registry.makers_of(settings)[0]()


async def test_a_backend_of_somebody_else_is_named_by_module_and_factory(tmp_path: Path) -> None:
    chosen = {"renderer.backend": "musicgen,segue_renderer.sketch.backend:make_backend"}
    _, make = registry.makers_of(settings_of(tmp_path, chosen))
    backend = make()
    assert [profile.model for profile in backend.profiles] == ["sketch"]
    await backend.close()


def test_audiocraft_names_the_environment_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    flags = {"renderer.backend": "audiocraft", "renderer.audiocraft.model": "model"}
    with pytest.raises(errors.ModelNotInstalled, match="make setup-audiocraft"):
        registry.make_backend(settings_of(tmp_path, flags))
