"""Asks a hub for models through huggingface_hub, which is imported on the first use. No torch.

That library reads tokens, the address of a mirror and the folder of its shared cache from its own environment
variables (HF_TOKEN, HF_ENDPOINT, HF_HOME), and it continues a file after a broken connection. This module adds what it
does not do: the digest of every file is compared with the hub's.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from segue_renderer import model_record
from segue_renderer.model_record import ModelFile
from segue_runtime import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ReportProgress = Callable[[str, int, int], None]
    """Called with a file's name, its bytes so far, and its size."""

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
DIGEST: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LICENSE: Final = re.compile(r"[\w.+ -]{1,64}", re.ASCII)
MAX_FILES: Final = 10_000
TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Repository:
    """A repository at one commit, as the hub lists it."""

    name: str
    commit: str
    license: str
    files: tuple[ModelFile, ...]


class ModelHub:
    """A hub and the shared cache of its files; by default those of huggingface_hub's environment variables."""

    def __init__(self, endpoint: str | None = None, cache: Path | None = None) -> None:
        self._endpoint = endpoint
        self._given_cache = cache

    @property
    def cache(self) -> Path:
        """The folder of the shared cache."""
        return self._given_cache or Path(_library().constants.HF_HUB_CACHE)

    def look_up(self, name: str, revision: str) -> Repository:
        """List a repository at a revision."""
        api = self._api()
        with _explained(name):
            try:
                info = api.model_info(name, revision=revision, files_metadata=True, timeout=TIMEOUT_S)
                return _repository(name, info)
            except (KeyError, TypeError, AttributeError) as error:
                raise ValueError(error) from error

    def cached(self, repository: str, commit: str, file: ModelFile) -> Path | None:
        """Return where the shared cache has a file; it may be damaged."""
        found = _library().try_to_load_from_cache(repository, file.name, cache_dir=self.cache, revision=commit)
        return Path(found) if isinstance(found, str) else None

    def fetch(self, repository: str, commit: str, file: ModelFile, progress: ReportProgress) -> Path:
        """Fetch a file into the shared cache, or find it there; its digest is the hub's."""
        here = self.cached(repository, commit, file)
        if here is not None:
            with contextlib.suppress(errors.ModelInvalid):
                model_record.verify(here, file)
                progress(file.name, file.size, file.size)
                return here
        with _explained(f"{repository}/{file.name}"):
            path = Path(
                self._api().hf_hub_download(
                    repository,
                    file.name,
                    revision=commit,
                    cache_dir=self.cache,
                    force_download=here is not None,
                    tqdm_class=_progress_bar(file, progress),
                )
            )
        try:
            model_record.verify(path, file)
        except errors.ModelInvalid:
            path.resolve().unlink()  # the cache would return the damaged file for ever
            path.unlink(missing_ok=True)
            raise
        return path

    def _api(self) -> Any:
        return _library().HfApi(endpoint=self._endpoint, library_name="segue")


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise errors.ModelNotInstalled(
            "models are pulled with huggingface_hub, which is not installed; install the extra segue[hub] "
            "(segue[musicgen] has it, too)"
        ) from error
    return huggingface_hub


def _repository(name: str, info: Any) -> Repository:
    if COMMIT.fullmatch(info.sha) is None or len(info.siblings) > MAX_FILES:
        raise ValueError(f"no commit, or more than {MAX_FILES} files")
    # Names that lead out of a folder, and files without a digest, are no files of ours.
    files = tuple(file for each in info.siblings if (file := _model_file(each)))
    stated = getattr(info.card_data, "license", None)
    if stated == "other":
        stated = getattr(info.card_data, "license_name", None) or stated
    licensed = stated if isinstance(stated, str) and LICENSE.fullmatch(stated) else ""
    return Repository(name, info.sha, licensed, files)


def _model_file(listed: Any) -> ModelFile | None:
    if model_record.FILE_NAME.fullmatch(listed.rfilename) is None:
        return None
    large = listed.lfs
    size, digest = (large.size, large.sha256) if large else (listed.size, listed.blob_id)
    if not isinstance(size, int) or size < 0 or DIGEST.fullmatch(str(digest)) is None:
        return None
    return ModelFile(listed.rfilename, size, **{"sha256" if large else "git_sha1": digest})


def _progress_bar(file: ModelFile, progress: ReportProgress) -> type:
    """Return a class in place of tqdm's that reports a file's bytes. More bytes than were promised are an error."""

    class FileProgress:
        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            self.n = initial

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def update(self, count: float | None = 1) -> None:
            self.n += int(count or 0)
            if self.n > file.size:
                raise errors.ModelInvalid(f"{file.name}: the hub sends more than the {file.size} bytes that it lists")
            progress(file.name, self.n, file.size)

        def update_transfer(self, count: float) -> None:
            """Bytes on the way; the library then needs no second bar."""

        def set_postfix_str(self, *_: object, **__: object) -> None:
            pass

        set_transfer_postfix_str = set_postfix_str

    return FileProgress


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raise our errors for those of huggingface_hub."""
    import httpx2
    from huggingface_hub import errors as hub

    try:
        yield
    except hub.GatedRepoError as error:
        raise errors.ModelNotFound(
            f"{what}: the hub gives it only to users who accepted its terms; do that, and set HF_TOKEN"
        ) from error
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.RemoteEntryNotFoundError) as error:
        raise errors.ModelNotFound(f"{what}: the hub has no such model, or HF_TOKEN does not open it") from error
    except hub.HFValidationError as error:
        raise errors.InvalidField(f"{what}: {error}") from error
    except hub.OfflineModeIsEnabled as error:
        raise errors.ServiceUnreachable(f"{what}: HF_HUB_OFFLINE forbids to ask the hub") from error
    except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        if errors.is_disk_full(error):
            raise errors.StorageFull(f"{what}: the disk of the shared cache is full; free some space") from error
        if isinstance(error, PermissionError):
            raise  # its message names the file
        cause = error.__cause__ if isinstance(error, hub.LocalEntryNotFoundError | ValueError) else None
        said = str(cause or error).partition("\n")[0]
        raise errors.ServiceUnreachable(f"{what}: the hub cannot be used: {said}; is there a network?") from error
