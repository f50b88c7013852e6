"""`--from`: reads how a file was made, and reports what may change the bytes when it is made again."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import json_format

from segue.composer.v1 import spec_pb2
from segue.renderer.v1 import renderer_pb2
from segue_audio.errors import UnreadableAudio
from segued.exits import CliError, ExitCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from segue.renderer.v1.renderer_pb2 import ModelProfile

SCHEMA = "segue/manifest/1"
CHUNK_BYTES = 1 << 20
FIRST_SECTION: Final = "first"
"""The value of --timbre for the sound of the first section."""
# Flags that would change the piece in the file.
CHANGING = (
    "duration", "seed", "bpm", "key", "metre", "genre", "form", "with_layers", "without_layers", "instrument",
    "negative_prompt", "title", "loop", "plan", "stems", "midi", "lrc", "model", "sample_rate", "bit_depth", "preset",
    "lufs", "ceiling", "private_prompt",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A file's manifest: how it was made."""

    path: Path
    spec: spec_pb2.CompositionSpec
    models: list[dict[str, Any]]
    """The models that played it."""
    software: dict[str, str]
    needs_melody: bool = False
    """Whether it followed a melody in an audio file, which the manifest does not contain."""
    needs_timbre: bool = False
    """Whether it imitated the sound of an audio file, which the manifest does not contain."""
    leading: tuple[str, ...] = ()
    """The sections that led into takes which existed before them."""
    needs_lyrics: bool = False
    """Whether it was sung with words that the manifest does not contain."""

    @property
    def is_seeded(self) -> bool:
        """Whether the model promised the same music only, and not the same bytes."""
        return any(model.get("determinism") != "BIT_EXACT" for model in self.models)

    def warnings(self, models: Sequence[ModelProfile], version: str) -> Iterator[str]:
        """Say why a server of this version with these models may give other bytes."""
        made = self.software.get("segue", "")
        if made != version:
            yield f"{self.path.name} was made by segue {made or 'of an unknown version'}, this is {version}"
        for model in self.models:
            yield from _model_warnings(model, models)
        if self.leading:
            yield f"led into takes of an earlier piece, and become other takes: {', '.join(self.leading)}"

    def refuse_changes(self, arguments: argparse.Namespace, target: Path) -> None:
        """Refuse flags that would change the piece, and a target that is the file itself."""
        if target.resolve() == self.path.resolve():
            raise CliError(ExitCode.USAGE, f"{target} is the file to make again", "-o names another file")
        given = [name for name in CHANGING if getattr(arguments, name) not in (None, "", False, 0, [])]
        if self.needs_melody and not arguments.melody:
            raise CliError(
                ExitCode.USAGE,
                f"{self.path} followed a melody in an audio file, which it does not contain",
                "give it again: --melody FILE",
            )
        if self.needs_timbre and arguments.timbre in {None, FIRST_SECTION}:
            raise CliError(
                ExitCode.USAGE,
                f"{self.path} imitated the sound of an audio file, which it does not contain",
                "give it again: --timbre FILE",
            )
        if self.needs_lyrics and not arguments.lyrics:
            raise CliError(
                ExitCode.USAGE,
                f"{self.path}: its lyrics were kept private, and the file does not contain them",
                "give them again: --lyrics FILE",
            )
        if arguments.lyrics and not self.needs_lyrics:
            given.append("lyrics")
        if arguments.melody and not self.needs_melody:
            given.append("melody")
        if arguments.timbre and not self.needs_timbre:
            given.append("timbre")
        if arguments.prompt and not self.spec.private_prompt:
            given.insert(0, "PROMPT")
        if given:
            name = given[0].removesuffix("_layers").replace("_", "-")
            flag = name if name == "PROMPT" else f"--{name}"
            raise CliError(
                ExitCode.USAGE, f"{flag} beside --from: {self.path} says what to make", "leave one of them out"
            )


def _model_warnings(model: dict[str, Any], models: Sequence[ModelProfile]) -> Iterator[str]:
    name, was_exact = model.get("name", ""), model.get("determinism") == "BIT_EXACT"
    if not was_exact:
        yield f"{name} is seeded: the same request gives the same music, the bytes may differ"
    profile = next((each for each in models if each.model == name), None)
    if profile is None:
        return
    for what, then, now in (
        ("weights of {} have", model.get("digest", ""), profile.model_digest),
        ("engine of {} has", model.get("engine", ""), profile.engine_version),
    ):
        if then != now:
            yield f"the {what.format(name)} changed: {then or 'none'} then, {now or 'none'} now"
    if was_exact and profile.determinism != renderer_pb2.DETERMINISM_BIT_EXACT:
        yield f"{name} is seeded here: the bytes may differ"


def read(path: Path, prompt: str) -> Reproduction:
    """Read a file's manifest. `prompt` replaces a private prompt, which the file does not contain."""
    content = _manifest(path)
    try:
        spec = json_format.ParseDict(content["spec"], spec_pb2.CompositionSpec())
        if spec.private_prompt:
            _set_private_prompt(spec, prompt, path, plan_was_given=bool(content.get("plan_was_given")))
        else:
            json_format.ParseDict(content["plan"], spec.plan)
        needs_lyrics = spec.private_prompt and bool(content.get("lyrics"))
        software = {str(name): str(value) for name, value in content["software"].items()}
        models = [dict(model) for model in content.get("models", [content["model"]])]
        leading = tuple(str(each) for each in content.get("led_into_kept_takes", []))
    except (json_format.ParseError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise CliError(ExitCode.USAGE, f"{path}: its manifest is damaged: {error}") from error
    return Reproduction(
        path,
        spec,
        models,
        software,
        needs_melody=bool(content.get("melody_was_a_file")),
        needs_timbre=bool(content.get("timbre_was_a_file")),
        leading=leading,
        needs_lyrics=needs_lyrics,
    )


def _manifest(path: Path) -> dict[str, Any]:
    from segue_audio.files import read_manifest

    try:
        content = read_manifest(path)
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{path}: {error.strerror}") from error
    except UnreadableAudio as error:
        raise CliError(ExitCode.USAGE, str(error), "only Segue's own files contain how they were made") from error
    if content.get("schema") != SCHEMA:
        raise CliError(
            ExitCode.USAGE, f"{path}: its manifest is {content.get('schema', 'of no known kind')}, not {SCHEMA}"
        )
    return content


def _set_private_prompt(spec: spec_pb2.CompositionSpec, prompt: str, path: Path, *, plan_was_given: bool) -> None:
    """Set the prompt of a file that does not contain it. Its plan is not complete either: both are made again."""
    if plan_was_given:
        raise CliError(
            ExitCode.USAGE,
            f"{path}: the caller supplied its plan, and kept its prompts private: the file does not contain them",
            "give the plan again: segued compose --plan FILE",
        )
    if not prompt:
        raise CliError(
            ExitCode.USAGE,
            f"{path}: its prompt was kept private, and the file does not contain it",
            f'give it again: segued compose "…" --from {path}',
        )
    spec.brief.prompt = prompt


def same_bytes(first: Path, second: Path) -> bool:
    """Return whether two files have the same content."""
    return first.stat().st_size == second.stat().st_size and _digest(first) == _digest(second)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.digest()
