"""`--from`: read how a file was made, so that the same can be made again, and say what may stand in the way."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from segue.composer.v1 import spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_audio.errors import UnreadableAudio
from segued.exits import Exit, Stop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from segue.renderer.v1.renderer_pb2 import ModelProfile

SCHEMA = "segue/manifest/1"
CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a file says about how it was made."""

    path: Path
    spec: spec_pb2.CompositionSpec
    model: dict[str, Any]
    software: dict[str, str]
    needs_melody: bool = False
    """Whether it followed a melody in a file, which does not stand in it."""

    @property
    def is_seeded(self) -> bool:
        """Whether the model promised the same music only, and not the same bytes."""
        return self.model.get("determinism") != "BIT_EXACT"

    def concerns(self, models: Sequence[ModelProfile], version: str) -> Iterator[str]:
        """Say why the bytes may come out differently on a server of this version with these models."""
        name = self.model.get("name", "")
        if self.is_seeded:
            yield f"{name} is seeded: the same request gives the same music, the bytes may differ"
        made = self.software.get("segue", "")
        if made != version:
            yield f"{self.path.name} was made by segue {made or 'of another kind'}, this is {version}"
        profile = next((each for each in models if each.model == name), None)
        if profile is None:
            return
        for what, then, now in (
            ("weights", self.model.get("digest", ""), profile.model_digest),
            ("engine", self.model.get("engine", ""), profile.engine_version),
        ):
            if then != now:
                yield f"the {what} of {name} have changed: {then or 'none'} then, {now or 'none'} now"
        exact = profile.determinism == renderer_pb2.DETERMINISM_BIT_EXACT
        if not self.is_seeded and not exact:
            yield f"{name} is seeded here: the bytes may differ"


def read(path: Path, prompt: str) -> Recipe:
    """Read a file's recipe. `prompt` is the one to use when the file keeps its own to itself."""
    from segue_audio.files import read_manifest

    try:
        content = read_manifest(path)
    except OSError as error:
        raise Stop(Exit.USAGE, f"{path}: {error.strerror}") from error
    except UnreadableAudio as error:
        raise Stop(Exit.USAGE, str(error), "only files that Segue made say how they were made") from error
    if content.get("schema") != SCHEMA:
        raise Stop(Exit.USAGE, f"{path}: its manifest is {content.get('schema', 'of no known kind')}, not {SCHEMA}")
    try:
        spec = json_format.ParseDict(content["spec"], spec_pb2.CompositionSpec())
        if spec.private_prompt:
            if content.get("plan_was_given"):
                raise Stop(
                    Exit.USAGE,
                    f"{path}: its plan was handed in, and its prompts were kept private and do not stand in it",
                    "hand the plan in again: segued compose --plan FILE",
                )
            _fill_in(spec, prompt, path)
        else:
            json_format.ParseDict(content["plan"], spec.plan)
        software = {str(name): str(value) for name, value in content["software"].items()}
        model = dict(content["model"])
    except (json_format.ParseError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise Stop(Exit.USAGE, f"{path}: its manifest is damaged: {error}") from error
    return Recipe(path, spec, model, software, bool(content.get("melody_was_a_file")))


def _fill_in(spec: spec_pb2.CompositionSpec, prompt: str, path: Path) -> None:
    """The prompt stands in no file then, and so the plan is not whole either: both are made again."""
    if not prompt:
        raise Stop(
            Exit.USAGE,
            f"{path}: its prompt was kept private and does not stand in it",
            f'give it again: segued compose "…" --from {path}',
        )
    spec.brief.prompt = prompt


def same_bytes(one: Path, other: Path) -> bool:
    """Compare two files."""
    return one.stat().st_size == other.stat().st_size and _digest(one) == _digest(other)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.digest()
