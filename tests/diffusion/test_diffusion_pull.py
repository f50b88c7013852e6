"""A pulled pipeline: it is the hub's, and refused when it is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.renderer.fake_hub import serving

from segue_renderer.diffusion.folder import DiffusersFolder
from segue_renderer.model_hub import ModelHub
from segue_renderer.model_library import ModelLibrary
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["ace-step", "stable-audio"])
def test_a_pulled_pipeline_is_the_hubs_and_refused_when_it_is_changed(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    source = models[kind]
    files = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    files["README.md"] = b"---\nlicense: mit\n---\n"
    with serving({"someone/songs": files}) as hub:
        library = ModelLibrary(tmp_path / "models", ModelHub(hub.address, tmp_path / "cache"))
        folder = library.pull(library.look_up("someone/songs"), lambda *_: None)
    opened = DiffusersFolder.open(folder)
    assert (opened.digest, opened.license) == (DiffusersFolder.open(source).digest, "mit")
    for path in [*opened.weights(), folder / "tokenizer" / "tokenizer.json"]:
        content = path.read_bytes()
        path.unlink()  # it is a link to the file in the cache
        path.write_bytes(content[:-100] + bytes(each ^ 1 for each in content[-100:]))
        with pytest.raises(errors.ModelInvalid, match="checksum does not match"):
            DiffusersFolder.open(folder).digest  # noqa: B018
        path.write_bytes(content)
