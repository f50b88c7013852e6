"""The models on this machine: pulled by name from a hub, checked file by file, listed and removed. No torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    ReportProgress = Callable[[str, int, int], None]
    """Called with a file's name, its bytes so far, and its size."""

OWNER: Final = "facebook"
RECORD: Final = "segue-model.json"
NAME: Final = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
WANTED: Final = re.compile(
    r"(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map)\.json"
    r"|spiece\.model|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
)
PICKLED: Final = ("state_dict.bin", "compression_state_dict.bin")
"""The audiocraft layout. It has no text encoder, and some models of this layout have no codec."""
TEXT_ENCODER: Final = ("google-t5/t5-base", "t5-base")
CODEC: Final = ("facebook/encodec_32khz", "encodec_32khz")
POINTER_BYTES: Final = 1 << 16
"""A smaller codec file only refers to the published codec."""
BLOCK_BYTES: Final = 1 << 20
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class HubFile:
    """A file as the hub lists it."""

    name: str
    size: int
    sha256: str = ""
    """For large files."""
    git_sha1: str = ""
    """For small files: over a header and the content."""


@dataclass(frozen=True)
class InstalledModel:
    """A model on this machine."""

    name: str
    folder: Path
    size: int
    revision: str


class ModelLibrary:
    """The models in one folder."""

    def __init__(self, folder: Path, hub: str) -> None:
        self._folder = folder
        self._hub = hub.rstrip("/")

    def folder_of(self, name: str) -> Path:
        """Return the folder of a model, which need not exist."""
        if NAME.fullmatch(name) is None or ".." in name:
            raise errors.InvalidField(f"{name!r} is not a model name; write musicgen-small or OWNER/NAME")
        return self._folder / name.rpartition("/")[2]

    def installed(self) -> list[InstalledModel]:
        """List the installed models."""
        found = []
        for record in sorted(self._folder.glob(f"*/{RECORD}")):
            content = json.loads(record.read_text(encoding="utf-8"))
            size = sum(file["size"] for file in content["files"])
            found.append(InstalledModel(record.parent.name, record.parent, size, content["revision"]))
        return found

    def remove(self, name: str) -> int:
        """Remove a model; return the number of bytes that this frees."""
        found = {each.name: each for each in self.installed()}
        folder = self.folder_of(name)
        if folder.name not in found:
            raise errors.ModelNotInstalled(
                f"{folder.name} is not installed; installed models: {', '.join(found) or 'none'}"
            )
        shutil.rmtree(folder)
        return found[folder.name].size

    def check(self, name: str) -> Path:
        """Check a model's files against their digests, without a network."""
        folder = self.folder_of(name)
        if not (folder / RECORD).is_file():
            raise errors.ModelNotInstalled(f"{folder.name} is not installed; `segued models pull {name}` fetches it")
        for described in json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]:
            _verify(folder / described["name"], HubFile(**described))
        return folder

    def pull(self, name: str, progress: ReportProgress, *, revision: str = "main") -> Path:
        """Fetch a model. Complete files are not fetched again; partial files are continued."""
        folder = self.folder_of(name)
        repository = name if "/" in name else f"{OWNER}/{name}"
        parts = self._parts(repository, revision)
        for url, file in parts:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            self._fetch(url, folder / file.name, file, progress)
        record = {"repository": repository, "revision": revision, "files": [vars(file) for _, file in parts]}
        part = folder / f"{RECORD}.part"
        part.write_text(json.dumps(record, indent=2), encoding="utf-8")
        part.replace(folder / RECORD)  # last: a folder with this record is complete
        return folder

    def _parts(self, repository: str, revision: str) -> list[tuple[str, HubFile]]:
        """List the files of a complete model: each address, and the file with its name in the folder."""
        entries = self._list(repository, revision)
        found = [file for file in entries if WANTED.fullmatch(file.name)]
        if any(file.name.endswith(".safetensors") for file in found):
            return [(self._url(repository, revision, file), file) for file in found]
        pickled = {file.name: file for file in entries if file.name in PICKLED}
        if len(pickled) < len(PICKLED):
            raise errors.ModelInvalid(
                f"{repository} has neither safetensors weights nor {' with '.join(PICKLED)}; fetch it by other means "
                "and use its folder"
            )
        parts = [(self._url(repository, revision, file), file) for file in pickled.values()]
        beside = [TEXT_ENCODER, *([CODEC] if pickled[PICKLED[1]].size < POINTER_BYTES else [])]
        for other, folder in beside:
            files = [file for file in self._list(other, "main") if WANTED.fullmatch(file.name)]
            if not any(file.name.endswith(".safetensors") for file in files):
                raise errors.ModelInvalid(f"{other}, which {repository} needs, has no safetensors weights")
            parts += [(self._url(other, "main", file), replace(file, name=f"{folder}/{file.name}")) for file in files]
        return parts

    def _url(self, repository: str, revision: str, file: HubFile) -> str:
        return f"{self._hub}/{repository}/resolve/{revision}/{file.name}"

    def _list(self, repository: str, revision: str) -> list[HubFile]:
        url = f"{self._hub}/api/models/{repository}/tree/{urllib.parse.quote(revision, safe='')}"
        with _open(url, repository) as answer:
            try:
                entries = json.loads(answer.read(BLOCK_BYTES * 4))
                return [_hub_file(entry) for entry in entries if entry["type"] == "file"]
            except (ValueError, KeyError, TypeError) as error:
                raise errors.ServiceUnreachable(f"{url}: the hub's answer cannot be read: {error}") from error

    def _fetch(self, url: str, target: Path, file: HubFile, progress: ReportProgress) -> None:
        if target.is_file() and target.stat().st_size == file.size:
            _verify(target, file)
            progress(file.name, file.size, file.size)
            return
        part = target.with_name(f"{target.name}.part")
        done = part.stat().st_size if part.is_file() else 0
        if done < file.size:
            with (
                _open(url, file.name, first_byte=done) as answer,
                part.open("ab" if answer.status == 206 else "wb") as to,
            ):
                done = to.tell()
                while block := answer.read(BLOCK_BYTES):
                    to.write(block)
                    done += len(block)
                    progress(file.name, done, file.size)
                to.flush()
                os.fsync(to.fileno())
        try:
            _verify(part, file)
        except errors.ModelInvalid:
            if done >= file.size:
                part.unlink()  # a damaged file is not continued
            raise
        part.replace(target)


def _hub_file(entry: dict[str, Any]) -> HubFile:
    large = entry.get("lfs") or {}
    if large:
        return HubFile(entry["path"], int(large["size"]), sha256=str(large["oid"]).removeprefix("sha256:"))
    return HubFile(entry["path"], int(entry["size"]), git_sha1=str(entry["oid"]))


def _verify(path: Path, file: HubFile) -> None:
    if not path.is_file() or path.stat().st_size != file.size:
        have = path.stat().st_size if path.is_file() else 0
        raise errors.ModelInvalid(f"{path}: {have} of {file.size} bytes are there; pull the model again to continue")
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(usedforsecurity=False)
    if not file.sha256:
        digest.update(b"blob %d\0" % file.size)
    for block in _blocks(path):
        digest.update(block)
    if digest.hexdigest() != (file.sha256 or file.git_sha1):
        raise errors.ModelInvalid(f"{path}: the file's checksum does not match the hub's; remove it and pull again")


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            yield block


def _open(url: str, what: str, *, first_byte: int = 0) -> Any:
    if not url.startswith(("https://", "http://")):
        raise errors.InvalidField(f"models.hub: {url!r} is not an http or https address")
    request = urllib.request.Request(url, headers={"User-Agent": "segue"})  # noqa: S310 - the scheme was checked
    if first_byte:
        request.add_header("Range", f"bytes={first_byte}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310 - the same
    except urllib.error.HTTPError as error:
        if error.code in {401, 403, 404}:
            raise errors.ModelNotFound(f"{what}: the hub has no such model ({error.code} at {url})") from error
        raise errors.ServiceUnreachable(f"{url}: {error}") from error
    except OSError as error:
        raise errors.ServiceUnreachable(f"{url}: {error}; is there a network?") from error
