"""Checkpoints fetched by name: a real HTTP server stands in for the hub and answers in its way."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from tests.renderer.fake_hub import Hub, serving

from segue_renderer.model_library import POINTER_BYTES, ModelLibrary
from segue_runtime import errors
from segued.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REPOSITORY = "facebook/musicgen-small"
FILES = {
    "config.json": b'{"model_type": "musicgen"}',
    "model.safetensors": bytes(range(256)) * 9000,
    "spiece.model": b"pieces",
    "README.md": b"not wanted",
    "pytorch_model.bin": b"not wanted",
    "state_dict.bin": b"not wanted beside safetensors",
    "compression_state_dict.bin": b"not wanted beside safetensors",
}
PART = {"config.json": b"{}", "model.safetensors": b"weights" * 99, "spiece.model": b"pieces", "tf_model.h5": b"no"}
OLDER = {
    "facebook/musicgen-melody": {
        "state_dict.bin": b"language" * 9000,
        "compression_state_dict.bin": bytes(POINTER_BYTES),
        "README.md": b"not wanted",
    },
    "facebook/musicgen-stereo-small": {"state_dict.bin": b"wide" * 9000, "compression_state_dict.bin": b"see there"},
    "google-t5/t5-base": PART,
    "facebook/encodec_32khz": {name: PART[name] for name in ("config.json", "model.safetensors")},
    "someone/songs": {"README.md": b"songs", "state_dict.bin": b"half"},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({REPOSITORY: FILES, **OLDER}) as found:
        yield found


def silent(_name: str, _done: int, _total: int) -> None:
    pass


def test_a_model_is_pulled_checked_listed_and_removed(hub: Hub, tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path, hub.address)
    seen: list[tuple[str, int, int]] = []
    folder = library.pull("musicgen-small", lambda *step: seen.append(step))
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "spiece.model",
        "segue-model.json",
    }
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert [done for name, done, _ in seen if name == "model.safetensors"][-1] == len(FILES["model.safetensors"])
    (one,) = library.installed()
    assert (one.name, one.folder) == ("musicgen-small", folder)
    assert library.check("musicgen-small") == folder
    before = len(hub.asked)
    library.pull("musicgen-small", silent)
    assert len(hub.asked) == before + 1, "what is here is not fetched again"
    assert library.remove("musicgen-small") == one.size
    assert library.installed() == []


def test_a_broken_download_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path, hub.address)
    hub.cut_at = 1_500_000
    with pytest.raises(errors.SegueError):
        library.pull("musicgen-small", silent)
    assert library.installed() == [], "half a model is none"
    hub.cut_at = None
    library.pull("musicgen-small", silent)
    assert any("Range" not in ask and "bytes=1500000-" in ask for ask in hub.asked)
    library.check("musicgen-small")


def test_bytes_that_the_hub_did_not_promise_are_refused(hub: Hub, tmp_path: Path) -> None:
    library = ModelLibrary(tmp_path, hub.address)
    files = hub.files[REPOSITORY]
    files["model.safetensors"] = files["model.safetensors"][::-1]
    with pytest.raises(errors.ModelInvalid, match="checksum does not match the hub's"):
        library.pull("musicgen-small", silent)
    assert library.installed() == []
    files["model.safetensors"] = FILES["model.safetensors"]
    folder = library.pull("musicgen-small", silent)
    with (folder / "spiece.model").open("r+b") as file:
        file.write(b"P")
    with pytest.raises(errors.ModelInvalid, match=r"spiece\.model"):
        library.check("musicgen-small")


@pytest.mark.parametrize(
    ("name", "beside"),
    [("musicgen-melody", ["t5-base"]), ("musicgen-stereo-small", ["encodec_32khz", "t5-base"])],
)
def test_the_older_layout_is_pulled_with_what_it_needs_beside_it(
    name: str, beside: list[str], hub: Hub, tmp_path: Path
) -> None:
    library = ModelLibrary(tmp_path, hub.address)
    seen: dict[str, int] = {}
    folder = library.pull(name, lambda file, done, _: seen.update({file: done}))
    own = ["compression_state_dict.bin", "segue-model.json", "state_dict.bin"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(beside + own)
    assert (folder / "t5-base" / "model.safetensors").read_bytes() == PART["model.safetensors"]
    assert not list(folder.rglob("*.h5"))
    assert seen["t5-base/model.safetensors"] == len(PART["model.safetensors"]), "progress is reported"
    (one,) = library.installed()
    assert one.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) - (
        (folder / "segue-model.json").stat().st_size
    )
    asked = len(hub.asked)
    assert library.check(name) == folder
    assert len(hub.asked) == asked, "a check needs no network"
    with (folder / "t5-base" / "spiece.model").open("r+b") as file:
        file.write(b"P")
    with pytest.raises(errors.ModelInvalid, match=r"t5-base.*spiece\.model"):
        library.check(name)


def test_half_a_layout_is_refused_before_anything_is_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelInvalid, match=r"neither safetensors .* nor state_dict\.bin with compression"):
        ModelLibrary(tmp_path, hub.address).pull("someone/songs", silent)
    assert not (tmp_path / "songs").exists()
    assert len(hub.asked) == 1


@pytest.mark.parametrize("name", ["../etc", "a/b/c", "", ".hidden", "x/..", "a b"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidField):
        ModelLibrary(tmp_path, "http://127.0.0.1:1").folder_of(name)


def test_what_the_hub_has_not_and_a_hub_that_is_not_there(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound):
        ModelLibrary(tmp_path, hub.address).pull("musicgen-huge", silent)
    with pytest.raises(errors.ServiceUnreachable):
        ModelLibrary(tmp_path, "http://127.0.0.1:1").pull("musicgen-small", silent)


def test_the_command_shows_the_licence_and_needs_no_network_for_what_is_here(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--home", str(tmp_path), "--models-hub", hub.address]
    assert main(["models", "pull", "musicgen-small", *common]) == 0
    said = capsys.readouterr()
    assert "CC BY-NC 4.0" in said.err
    assert "segued serve --renderer musicgen --model musicgen-small" in said.out
    count = len(hub.asked)
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 0
    assert main(["models", "list", *common]) == 0
    assert "musicgen-small" in capsys.readouterr().out
    assert main(["models", "list", "--json", *common]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["musicgen-small"]
    assert len(hub.asked) == count
    assert main(["models", "rm", "musicgen-small", *common]) == 0
    assert main(["models", "rm", "musicgen-small", *common]) == 1
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 1
    assert main(["models", "rm", *common]) == 2
    # Unused options of an action are refused, not ignored.
    for action, useless in (
        ("rm x", "--json"),
        ("list", "--offline"),
        ("list", "--revision=v2"),
        ("list", "--server=a:1"),
    ):
        assert main(["models", *action.split(), useless, *common]) == 2
        assert f"{useless.partition('=')[0]}: segued models" in capsys.readouterr().err
    with contextlib.suppress(SystemExit):
        main(["models", "fly", *common])
