"""Checkpoints fetched by name: a real HTTP server stands in for the hub and answers in its way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.renderer.fake_hub import COMMIT, Hub, serving

from segue_renderer import model_library
from segue_renderer.model_hub import ModelHub
from segue_renderer.model_library import POINTER_BYTES, ModelLibrary
from segue_runtime import errors
from segued.main import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = "facebook/musicgen-small"
FILES = {
    "config.json": b'{"model_type": "musicgen"}',
    "model.safetensors": bytes(range(256)) * 9000,
    "spiece.model": b"pieces",
    "README.md": b"the card",
    "pytorch_model.bin": b"not wanted",
    "state_dict.bin": b"not wanted beside safetensors",
    "compression_state_dict.bin": b"not wanted beside safetensors",
    "../config.json": b"leads out",
    "code.py": b"not wanted",
}
PART = {"config.json": b"{}", "model.safetensors": b"weights" * 99, "spiece.model": b"pieces", "tf_model.h5": b"no"}
PIPELINE = {
    "model_index.json": b"{}",
    "README.md": b"the card",
    "pipeline.py": b"not wanted",
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model-00001-of-00002.safetensors": b"one",
    "transformer/diffusion_pytorch_model-00002-of-00002.safetensors": b"two",
    "transformer/diffusion_pytorch_model.safetensors.index.json": b"{}",
    "transformer/diffusion_pytorch_model.fp16.safetensors": b"not wanted",
    "transformer/diffusion_pytorch_model.bin": b"not wanted",
    "text_encoder/model.safetensors": b"words",
    "tokenizer/tokenizer.json": b"{}",
    "tokenizer/merges.txt": b"",
    "scheduler/scheduler_config.json": b"{}",
    "vae/old/config.json": b"not wanted",
    "whole.safetensors": b"not wanted",
}
LISTED = {
    REPOSITORY: FILES,
    "facebook/musicgen-melody": {
        "state_dict.bin": b"language" * 9000,
        "compression_state_dict.bin": bytes(POINTER_BYTES),
        "notes.txt": b"not wanted",
    },
    "facebook/musicgen-stereo-small": {"state_dict.bin": b"wide" * 9000, "compression_state_dict.bin": b"see there"},
    "google-t5/t5-base": PART,
    "facebook/encodec_32khz": {name: PART[name] for name in ("config.json", "model.safetensors")},
    "someone/songs": {"README.md": b"songs", "state_dict.bin": b"half"},
    "someone/pipeline": PIPELINE,
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving({name: dict(files) for name, files in LISTED.items()}) as found:
        yield found


@pytest.fixture
def library(hub: Hub, tmp_path: Path) -> ModelLibrary:
    return ModelLibrary(tmp_path / "models", ModelHub(hub.address, tmp_path / "cache"))


def silent(_name: str, _done: int, _total: int) -> None:
    pass


def pulled(library: ModelLibrary, name: str = "musicgen-small") -> Path:
    return library.pull(library.look_up(name), silent)


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"segue-model.json"}


def test_a_model_is_pulled_checked_listed_and_removed(hub: Hub, library: ModelLibrary, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = library.pull(library.look_up("musicgen-small"), lambda *step: seen.append(step))
    assert names_in(folder) == {"config.json", "model.safetensors", "spiece.model", "README.md"}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert [done for name, done, _ in seen if name == "model.safetensors"][-1] == len(FILES["model.safetensors"])
    (one,) = library.installed()
    assert (one.name, one.folder) == ("musicgen-small", folder)
    assert library.verify("musicgen-small") == one
    before = len(hub.asked)
    pulled(library)
    assert len(hub.asked) == before + 1, "what is here is not fetched again"
    freed, shared = library.remove("musicgen-small")
    assert (freed, shared) == (0, one.size), "the shared cache still has the files"
    assert library.installed() == []
    fetched = len(hub.fetched)
    folder = pulled(library)
    assert len(hub.fetched) == fetched, "the shared cache has all files"
    shutil.rmtree(tmp_path / "cache")
    assert library.verify("musicgen-small").folder == folder, "the model does not need the cache"
    assert library.remove("musicgen-small") == (one.size, 0)


def test_another_revision_keeps_the_files_that_are_the_same(hub: Hub, library: ModelLibrary, tmp_path: Path) -> None:
    pulled(library)
    shutil.rmtree(tmp_path / "cache")
    fetched = len(hub.fetched)
    library.pull(library.look_up("musicgen-small", COMMIT), silent)
    assert [each.revision for each in library.installed()] == [COMMIT]
    assert len(hub.fetched) == fetched
    for files in (hub.listed, hub.files):
        files[REPOSITORY]["config.json"] = b'{"model_type": "musicgen", "new": 1}'
    folder = pulled(library)
    assert ["config.json" in ask for ask in hub.fetched[fetched:]] == [True]
    assert b"new" in (folder / "config.json").read_bytes()
    library.verify("musicgen-small")


def test_a_cache_on_another_disk_is_copied(library: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert (pulled(library) / "model.safetensors").stat().st_nlink == 1
    library.verify("musicgen-small")


def test_a_broken_connection_is_continued(hub: Hub, library: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500_000)
    hub.cut_at = [10**9, 1_600_000]
    library.pull(library.look_up("musicgen-small"), silent)
    assert [ask.partition(" ")[2] for ask in hub.fetched if "model.safetensors" in ask] == ["", "bytes=1500000-"]
    library.verify("musicgen-small")


def test_a_pull_that_ends_early_leaves_no_model(hub: Hub, library: ModelLibrary) -> None:
    hub.files[REPOSITORY].pop("spiece.model")
    with pytest.raises(errors.ModelNotFound):
        pulled(library)
    assert library.installed() == []
    assert not library.folder_of("musicgen-small").exists()
    hub.files[REPOSITORY]["spiece.model"] = FILES["spiece.model"]
    pulled(library)
    weights = [ask for ask in hub.fetched if "model.safetensors" in ask]
    assert len(weights) == 1, "complete files are not fetched again"


def test_bytes_that_the_hub_did_not_promise_are_refused(hub: Hub, library: ModelLibrary) -> None:
    files = hub.files[REPOSITORY]
    files["model.safetensors"] = files["model.safetensors"][::-1]
    with pytest.raises(errors.ModelInvalid, match="checksum does not match the hub's"):
        pulled(library)
    assert library.installed() == []
    files["model.safetensors"] = FILES["model.safetensors"]
    hub.longer_by = 1 << 20
    with pytest.raises(errors.ModelInvalid, match="sends more than the"):
        pulled(library)
    hub.longer_by = 0
    folder = pulled(library)
    with (folder / "spiece.model").open("r+b") as file:
        file.write(b"P")
    with pytest.raises(errors.ModelInvalid, match=r"spiece\.model"):
        library.verify("musicgen-small")
    # The file in the cache is the same one: it is fetched again.
    assert (pulled(library) / "spiece.model").read_bytes() == FILES["spiece.model"]
    library.verify("musicgen-small")


@pytest.mark.parametrize(
    ("name", "beside"),
    [("musicgen-melody", ["t5-base"]), ("musicgen-stereo-small", ["encodec_32khz", "t5-base"])],
)
def test_the_older_layout_is_pulled_with_what_it_needs_beside_it(
    name: str, beside: list[str], hub: Hub, library: ModelLibrary
) -> None:
    seen: dict[str, int] = {}
    folder = library.pull(library.look_up(name), lambda file, done, _: seen.update({file: done}))
    own = ["compression_state_dict.bin", "segue-model.json", "state_dict.bin"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(beside + own)
    assert (folder / "t5-base" / "model.safetensors").read_bytes() == PART["model.safetensors"]
    assert not list(folder.rglob("*.h5"))
    assert seen["model.safetensors"] == len(PART["model.safetensors"]), "progress is reported"
    (one,) = library.installed()
    assert one.size == sum((folder / name).stat().st_size for name in names_in(folder))
    asked = len(hub.asked)
    assert library.verify(name) == one
    assert len(hub.asked) == asked, "a check needs no network"
    with (folder / "t5-base" / "spiece.model").open("r+b") as file:
        file.write(b"P")
    with pytest.raises(errors.ModelInvalid, match=r"t5-base.*spiece\.model"):
        library.verify(name)


def test_a_model_with_both_layouts_is_pulled_in_that_of_audiocraft_when_asked(hub: Hub, library: ModelLibrary) -> None:
    first = pulled(library)
    assert (first / "model.safetensors").is_file()
    folder = library.pull(library.look_up("musicgen-small", as_audiocraft=True), silent)
    assert folder == first
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["README.md", "compression_state_dict.bin", "encodec_32khz", "segue-model.json", "state_dict.bin", "t5-base"]
    )
    assert library.verify("musicgen-small").folder == folder
    asked = len(hub.asked)
    with pytest.raises(errors.ModelInvalid, match="leave out --audiocraft"):
        library.look_up("someone/pipeline", as_audiocraft=True)
    assert len(hub.asked) == asked + 1


def test_a_pipeline_is_pulled_without_code_and_copies(hub: Hub, library: ModelLibrary) -> None:
    hub.card = {"license": "mit"}
    found = library.look_up("someone/pipeline")
    assert found.record.license == "mit"
    folder = library.pull(found, silent)
    assert names_in(folder) == {name for name, content in PIPELINE.items() if content != b"not wanted"}


@pytest.mark.parametrize(
    ("card", "stated"),
    [
        ({}, ""),
        ({"license": "cc-by-nc-4.0"}, "cc-by-nc-4.0"),
        ({"license": "other", "license_name": "stability-community"}, "stability-community"),
        ({"license": ["a"]}, ""),
        ({"license": "\x1b[31m"}, ""),
        ({"license": "x" * 500}, ""),
    ],
)
def test_the_licence_is_what_the_card_states(
    card: dict[str, object], stated: str, hub: Hub, library: ModelLibrary
) -> None:
    hub.card = card
    assert library.look_up("someone/pipeline").record.license == stated


def test_half_a_layout_is_refused_before_anything_is_fetched(hub: Hub, library: ModelLibrary) -> None:
    with pytest.raises(errors.ModelInvalid, match=r"neither safetensors .* nor state_dict\.bin with compression"):
        library.look_up("someone/songs")
    assert not library.folder_of("songs").exists()
    assert hub.fetched == []


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    hub: Hub, library: ModelLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_library, "SPARE_BYTES", 1 << 60)
    with pytest.raises(errors.StorageFull, match="are free"):
        pulled(library)
    assert hub.fetched == []


def test_a_disk_that_becomes_full_is_said(library: ModelLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(shutil, "copyfile", refuse)
    with pytest.raises(errors.StorageFull):
        pulled(library)
    assert not any(library.folder_of("musicgen-small").parent.iterdir()), "nothing is left"


def test_a_folder_that_was_not_pulled_is_left_alone(library: ModelLibrary) -> None:
    own = library.folder_of("musicgen-small")
    own.mkdir(parents=True)
    (own / "config.json").write_text("mine")
    with pytest.raises(errors.InvalidField, match="was not pulled"):
        pulled(library)
    assert (own / "config.json").read_text() == "mine"


RECORDS: dict[str, Callable[[dict[str, object]], object]] = {
    "a name that leads out": lambda r: r.update(files=[{"name": "../x", "size": 1, "sha256": "0" * 64}]),
    "no digest": lambda r: r.update(files=[{"name": "x", "size": 1}]),
    "an unknown field": lambda r: r.update(more=1),
    "no files": lambda r: r.pop("files"),
}


@pytest.mark.parametrize("what", RECORDS)
def test_a_record_that_is_not_ours_is_refused(what: str, library: ModelLibrary) -> None:
    path = pulled(library) / "segue-model.json"
    record = json.loads(path.read_text())
    RECORDS[what](record)
    path.write_text(json.dumps(record))
    with pytest.raises(errors.ModelInvalid, match=r"segue-model\.json: cannot be read"):
        library.verify("musicgen-small")


@pytest.mark.parametrize("name", ["../etc", "a/b/c", "", ".hidden", "x/..", "a b"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, library: ModelLibrary) -> None:
    with pytest.raises(errors.InvalidField):
        library.folder_of(name)


def test_what_the_hub_has_not_and_a_hub_that_is_not_there(hub: Hub, library: ModelLibrary, tmp_path: Path) -> None:
    with pytest.raises(errors.ModelNotFound):
        library.look_up("musicgen-huge")
    with pytest.raises(errors.ModelNotFound):
        library.look_up("musicgen-small", "v9")
    hub.token = "secret"
    with pytest.raises(errors.ModelNotFound, match="HF_TOKEN"):
        library.look_up("musicgen-small")
    for address in ("http://127.0.0.1:1", "nonsense"):
        with pytest.raises(errors.ServiceUnreachable):
            ModelLibrary(tmp_path, ModelHub(address, tmp_path / "cache")).look_up("musicgen-small")


def test_the_command_uses_the_variables_of_the_library(hub: Hub, tmp_path: Path) -> None:
    hub.token = "secret"
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address, "HF_TOKEN": hub.token}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "segued.main", "models", "pull", "musicgen-small", "--home", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.count("CC BY-NC 4.0")) == (0, 1), done.stderr
    assert done.stdout.splitlines() == [
        str(tmp_path / "models" / "musicgen-small"),
        "play it: segued serve --renderer musicgen --model musicgen-small",
    ]
    snapshot = tmp_path / "hf" / "hub" / "models--facebook--musicgen-small" / "snapshots" / COMMIT
    assert (snapshot / "model.safetensors").samefile(tmp_path / "models" / "musicgen-small" / "model.safetensors")


def test_the_command_manages_models_without_a_network(
    library: ModelLibrary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--home", str(tmp_path)]
    folder = pulled(library)
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 0
    assert "segued serve --renderer musicgen --model musicgen-small" in capsys.readouterr().out
    pulled(library, "someone/pipeline")
    assert main(["models", "pull", "pipeline", "--offline", *common]) == 0
    assert "segued serve --renderer diffusion --model pipeline" in capsys.readouterr().out
    library.remove("pipeline")
    for action in (["list"], ["verify"], ["verify", "musicgen-small"]):
        assert main(["models", *action, *common]) == 0
        assert capsys.readouterr().out.split() == ["musicgen-small", "2.2", "MiB", "main", str(folder)]
    assert main(["models", "list", "--json", *common]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["musicgen-small"]
    (folder / "config.json").write_text("{}")
    assert main(["models", "verify", *common]) == 1
    assert main(["models", "rm", "musicgen-small", *common]) == 0
    assert "shared cache" in capsys.readouterr().err
    assert main(["models", "rm", "musicgen-small", *common]) == 1
    assert main(["models", "verify", "musicgen-small", *common]) == 1
    assert main(["models", "pull", "musicgen-small", "--offline", *common]) == 1
    assert main(["models", "rm", *common]) == 2
    # Unused options of an action are refused, not ignored.
    for arguments, useless in (
        ("rm x", "--json"),
        ("verify x", "--json"),
        ("list", "--offline"),
        ("list", "--revision=v2"),
        ("list", "--server=a:1"),
    ):
        assert main(["models", *arguments.split(), useless, *common]) == 2
        assert f"{useless.partition('=')[0]}: segued models" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["models", "fly", *common])


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["models", "pull", "musicgen-small", "--home", str(tmp_path)]) == 1
    assert "segue[hub]" in capsys.readouterr().err
    assert main(["models", "list", "--home", str(tmp_path)]) == 0
