"""The shape of the meshes under test (`pytest --shape`): one process on a disk, or roles that share Redis and S3."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.fleet.storage import BUCKET, ClusterStorage

from segue_runtime.artifacts import FolderArtifacts
from segue_runtime.settings import load
from segue_runtime.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from segue_runtime.artifacts import ArtifactStore
    from segue_runtime.store import Store

SHAPES: Final = ("embedded", "cluster")
NUM_DATABASES: Final = 2000


class EmbeddedShape:
    """Each home has a SQLite file and a folder of artifacts."""

    name = "embedded"

    @property
    def store_class(self) -> Any:
        """The class whose methods a test replaces to cause faults."""
        return SqliteStore

    @property
    def artifacts_class(self) -> Any:
        """The same for artifacts."""
        return FolderArtifacts

    def settings(self, home: Path) -> dict[str, str]:  # noqa: ARG002 - a cluster's depend on it
        """Return the settings of the storage of a mesh with this home."""
        return {}

    def artifact_folder(self, home: Path) -> Path:
        """Return the folder with the files of the artifacts."""
        return home / "artifacts"

    def traces(self, home: Path, mark: bytes) -> list[str]:
        """Return what has a mark in its name or content, of all that a mesh with this home has stored."""
        return _marked_files(home, mark)

    def close(self) -> None:
        pass


class ClusterShape(EmbeddedShape):
    """Each home has a database of one Redis server, and a prefix in the bucket of one S3 server."""

    name = "cluster"

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="segue-cluster-"))
        self._storage = ClusterStorage(self._folder, "--databases", str(NUM_DATABASES))
        self._storage.start()
        self._homes: dict[Path, int] = {}

    @property
    def store_class(self) -> Any:
        from segue_runtime.store.redis import RedisStore

        return RedisStore

    @property
    def artifacts_class(self) -> Any:
        from segue_runtime.artifacts.s3 import S3Artifacts

        return S3Artifacts

    def settings(self, home: Path) -> dict[str, str]:
        number = self._homes.setdefault(home, len(self._homes))
        of_all = self._storage.settings
        return {**of_all, "store.url": f"{of_all['store.url']}/{number}", "artifacts.s3.prefix": f"mesh-{number}"}

    def artifact_folder(self, home: Path) -> Path:
        # This server keeps an object as a file.
        return self._storage.s3.folder / BUCKET / self.settings(home)["artifacts.s3.prefix"]

    def traces(self, home: Path, mark: bytes) -> list[str]:
        with self._storage.redis.client() as client:
            found: Any = client
            found.select(self._homes[home])
            keys = [key.decode() for key in found.keys("*") if mark in key or mark in _content(found, key)]
        return [*keys, *_marked_files(home, mark), *_marked_files(self.artifact_folder(home), mark)]

    def close(self) -> None:
        self._storage.stop()
        shutil.rmtree(self._folder)


def _marked_files(folder: Path, mark: bytes) -> list[str]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in found if mark in bytes(path.relative_to(folder)) or mark in path.read_bytes()]


def _content(client: Any, key: bytes) -> bytes:
    """Return the content of a key of Redis as one text."""
    read = {
        b"string": lambda: client.get(key),
        b"hash": lambda: client.hgetall(key),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"list": lambda: client.lrange(key, 0, -1),
        b"stream": lambda: client.xrange(key),
    }
    return repr(read[client.type(key)]()).encode()


_chosen: list[EmbeddedShape] = [EmbeddedShape()]


def shape() -> EmbeddedShape:
    """Return the shape of all meshes of this process."""
    return _chosen[-1]


@contextlib.contextmanager
def chosen(name: str) -> Iterator[None]:
    """Choose the shape of all meshes of a `with` block."""
    _chosen.append(ClusterShape() if name == ClusterShape.name else EmbeddedShape())
    try:
        yield
    finally:
        _chosen.pop().close()


@contextlib.asynccontextmanager
async def opened_store(home: Path, retention_s: float = 7 * 86_400) -> AsyncIterator[Store]:
    """Open the store of a mesh, as another process does."""
    settings = shape().settings(home)
    if settings:
        from segue_runtime.store.redis import RedisStore

        opened: Store = await RedisStore.open(settings["store.url"], retention_s=retention_s)
    else:
        opened = await SqliteStore.open(home / "segue.db", retention_s=retention_s)
    try:
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def opened_artifacts(home: Path) -> AsyncIterator[ArtifactStore]:
    """Open the artifacts of a mesh, as another process does."""
    values = shape().settings(home)
    if values:
        from segue_runtime.artifacts.s3 import S3Artifacts

        settings = load({"home": str(home), **values}, environ={}, folder=home)
        opened: ArtifactStore = S3Artifacts(settings.artifacts.s3, home / "artifacts")
    else:
        opened = FolderArtifacts(home / "artifacts")
    try:
        yield opened
    finally:
        await opened.close()
