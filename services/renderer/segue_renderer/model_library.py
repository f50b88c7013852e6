"""The models on this machine: pulled by name, checked file by file, listed and removed. No torch.

Files are fetched into the shared cache of huggingface_hub. A model's folder has hard links to them, or copies if the
cache is on another disk, so that it can be mounted into a container without the cache.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from segue_renderer import model_record
from segue_renderer.model_hub import ModelHub
from segue_renderer.model_record import ModelFile, ModelRecord
from segue_runtime import errors

if TYPE_CHECKING:
    from pathlib import Path

    from segue_renderer.model_hub import ReportProgress, Repository

OWNER: Final = "facebook"
NAME: Final = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
CARD: Final = "README.md"
WEIGHTS: Final = r"(model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors"
WANTED: Final = re.compile(
    r"README\.md|(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map)\.json"
    r"|spiece\.model|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
)
PIPELINE: Final = "model_index.json"
"""The layout of diffusers: this file, and a folder for each part of the pipeline."""
WANTED_OF_PIPELINE: Final = re.compile(
    rf"README\.md|model_index\.json|\w+/({WEIGHTS}|[\w.-]+\.json|spiece\.model|tokenizer\.model|vocab\.txt|merges\.txt)",
    re.ASCII,
)
PICKLED: Final = ("state_dict.bin", "compression_state_dict.bin")
"""The audiocraft layout. It has no text encoder, and some models of this layout have no codec."""
TEXT_ENCODER: Final = ("google-t5/t5-base", "t5-base")
CODEC: Final = ("facebook/encodec_32khz", "encodec_32khz")
POINTER_BYTES: Final = 1 << 16
"""A smaller codec file only refers to the published codec."""
MAX_FILES: Final = 256
MAX_TEXT_BYTES: Final = 64 << 20
"""For a file other than weights."""
SPARE_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class HubPart:
    """A file of a model: where the hub has it, and its name in the model's folder."""

    repository: str
    commit: str
    source: ModelFile
    name: str


@dataclass(frozen=True)
class HubModel:
    """A complete model, as hubs offer it."""

    name: str
    record: ModelRecord
    parts: tuple[HubPart, ...]


@dataclass(frozen=True)
class InstalledModel:
    """A model on this machine."""

    name: str
    folder: Path
    size: int
    revision: str
    license: str


class ModelLibrary:
    """The models in one folder."""

    def __init__(self, folder: Path, hub: ModelHub | None = None) -> None:
        self._folder = folder
        self._hub = hub or ModelHub()

    def folder_of(self, name: str) -> Path:
        """Return the folder of a model, which need not exist."""
        if NAME.fullmatch(name) is None or ".." in name:
            raise errors.InvalidField(f"{name!r} is not a model name; write musicgen-small or OWNER/NAME")
        return self._folder / name.rpartition("/")[2]

    def installed(self) -> list[InstalledModel]:
        """List the installed models."""
        found = []
        for path in sorted(self._folder.glob(f"*/{model_record.RECORD}")):
            # A folder whose name begins with a dot is a pull that has not ended.
            record = None if path.parent.name.startswith(".") else model_record.read(path.parent)
            if record is not None:
                name = path.parent.name
                found.append(InstalledModel(name, path.parent, record.size, record.revision, record.license))
        return found

    def remove(self, name: str) -> tuple[int, int]:
        """Remove a model; return the bytes that this frees, and those that the shared cache still has."""
        folder, record = self._opened(name)
        sizes = [(folder / file.name).stat() for file in record.files if (folder / file.name).is_file()]
        shared = sum(stat.st_size for stat in sizes if stat.st_nlink > 1)
        shutil.rmtree(folder)
        return sum(stat.st_size for stat in sizes) - shared, shared

    def verify(self, name: str) -> InstalledModel:
        """Check a model's files against their digests, without a network."""
        folder, record = self._opened(name)
        model_record.verify_folder(folder, record)
        return InstalledModel(folder.name, folder, record.size, record.revision, record.license)

    def _opened(self, name: str) -> tuple[Path, ModelRecord]:
        folder = self.folder_of(name)
        record = model_record.read(folder)
        if record is None:
            names = ", ".join(each.name for each in self.installed()) or "none"
            raise errors.ModelNotInstalled(
                f"{folder.name} is not installed (`segued models pull {name}` fetches it); installed models: {names}"
            )
        return folder, record

    def look_up(self, name: str, revision: str = "main", *, as_audiocraft: bool = False) -> HubModel:
        """Find a complete model at the hub, without fetching it: safetensors if there are some.

        `as_audiocraft` finds the layout that the audiocraft renderer opens instead.
        """
        folder = self.folder_of(name)
        repository = self._hub.look_up(name if "/" in name else f"{OWNER}/{name}", revision)
        parts = self._pickled_parts(repository) if as_audiocraft else self._parts(repository)
        too_large = [part.name for part in parts if _is_text(part.name) and part.source.size > MAX_TEXT_BYTES]
        if len(parts) > MAX_FILES or too_large:
            raise errors.ModelInvalid(
                f"{repository.name}: {', '.join(too_large) or f'{len(parts)} files'}: too large for a model"
            )
        files = tuple(replace(part.source, name=part.name) for part in parts)
        record = ModelRecord(repository.name, revision, files, repository.commit, repository.license)
        return HubModel(folder.name, record, tuple(parts))

    def pull(self, model: HubModel, progress: ReportProgress) -> Path:
        """Fetch a model that was looked up. The folder appears when all files are there and checked."""
        folder = self.folder_of(model.name)
        before = model_record.read(folder)
        if before is None and folder.exists():
            raise errors.InvalidField(f"{folder} is there and was not pulled; move it away, or use it as it is")
        kept = {part: path for part in model.parts if (path := _kept(folder, before, part)) is not None}
        for part in kept:
            progress(part.name, part.source.size, part.source.size)
        if before is not None and len(kept) == len(model.parts) == len(before.files):
            model_record.write(folder, model.record)
            return folder
        wanted = [part for part in model.parts if part not in kept]
        missing = [each for each in wanted if not self._hub.cached(each.repository, each.commit, each.source)]
        _require_space(self._hub.cache, sum(part.source.size for part in missing))
        fetched = {part: self._hub.fetch(part.repository, part.commit, part.source, progress) for part in wanted}
        self._place(folder, model, kept | fetched)
        return folder

    def _place(self, folder: Path, model: HubModel, found: dict[HubPart, Path]) -> None:
        """Build the folder under another name, and then rename it: no half of a model has the model's name."""
        new, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("new", "old"))
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        try:
            for part, path in found.items():
                target = new / part.name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(path.resolve(), target)
            model_record.write(new, model.record)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        except OSError as error:
            if errors.is_disk_full(error):
                raise errors.StorageFull(f"{folder}: the disk is full; free some space and pull again") from error
            raise
        finally:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)

    def _parts(self, repository: Repository) -> list[HubPart]:
        """List the files of a complete model."""
        names = {file.name: file for file in repository.files}
        wanted = WANTED_OF_PIPELINE if PIPELINE in names else WANTED
        found = _of(repository, wanted)
        if any(part.name.endswith(".safetensors") for part in found):
            return found
        if not all(name in names for name in PICKLED):
            raise errors.ModelInvalid(
                f"{repository.name} has neither safetensors weights nor {' with '.join(PICKLED)}; fetch it by other "
                "means and use its folder"
            )
        return self._pickled_parts(repository)

    def _pickled_parts(self, repository: Repository) -> list[HubPart]:
        """List the files of the audiocraft layout, and of what it needs beside it."""
        names = {file.name: file for file in repository.files}
        if not all(name in names for name in PICKLED):
            raise errors.ModelInvalid(f"{repository.name} has no {' with '.join(PICKLED)}; leave out --audiocraft")
        parts = _of(repository, re.compile("|".join(re.escape(name) for name in (CARD, *PICKLED))))
        beside = [TEXT_ENCODER, *([CODEC] if names[PICKLED[1]].size < POINTER_BYTES else [])]
        for other, folder in beside:
            more = _of(self._hub.look_up(other, "main"), WANTED, folder)
            if not any(part.name.endswith(".safetensors") for part in more):
                raise errors.ModelInvalid(f"{other}, which {repository.name} needs, has no safetensors weights")
            parts += more
        return parts


def _of(repository: Repository, wanted: re.Pattern[str], folder: str = "") -> list[HubPart]:
    return [
        HubPart(repository.name, repository.commit, file, f"{folder}/{file.name}" if folder else file.name)
        for file in repository.files
        if wanted.fullmatch(file.name)
    ]


def _is_text(name: str) -> bool:
    return not name.endswith((".safetensors", ".bin"))


def _kept(folder: Path, before: ModelRecord | None, part: HubPart) -> Path | None:
    """Return a file of the folder that a new pull can keep."""
    file = replace(part.source, name=part.name)
    if before is None or file not in before.files:
        return None
    try:
        model_record.verify(folder / file.name, file)
    except errors.ModelInvalid:
        return None
    return folder / file.name


def _require_space(folder: Path, need: int) -> None:
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if need and need + SPARE_BYTES > free:
        raise errors.StorageFull(
            f"{folder}: the model needs {need >> 20} MiB more, {free >> 20} MiB are free; free some space, or set "
            "HF_HOME to a folder on another disk"
        )


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        # Another disk, or a file system without hard links.
        shutil.copyfile(source, target)
