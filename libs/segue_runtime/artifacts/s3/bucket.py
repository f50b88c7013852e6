"""Requests to one bucket: each is repeated while the store does not answer, and its errors say what to do."""

from __future__ import annotations

import asyncio
import random
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore import exceptions
from obstore.store import S3Store

from segue_runtime import logs
from segue_runtime.artifacts.base import ArtifactExists
from segue_runtime.errors import ArtifactNotFound, SegueError, StorageFull, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
    from pathlib import Path

    from obstore import ObjectMeta
    from obstore.store import S3Config

    from segue_runtime.settings import S3Settings

T = TypeVar("T")
PART_BYTES: Final = 8 << 20
"""Larger files are uploaded in parts of this size."""
PARTS_AT_ONCE: Final = 3
CONNECT_S: Final = 5
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 5.0
RETRY_S: Final = 5.0
FULL: Final = re.compile(r"status code: 507|<Code>\w*(?:QuotaExceeded|StorageFull|NoSpaceLeft|InsufficientStorage)\w*<")
REFUSED: Final = re.compile(
    r"status code: 40[13]|<Code>(?:AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|\w*UserNotFound)<"
)
PERMANENT: Final = re.compile(r"status code: (?:30\d|400|405|501)")
STATUS: Final = re.compile(r"status code: (\d{3})")
log = logs.get("artifacts")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store lists it."""

    name: str
    num_bytes: int
    modified_s: int
    etag: str


class Bucket:
    """One bucket. Object names are below `prefix`, which no method's names contain."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        try:
            self._store = S3Store(
                settings.bucket,
                region=settings.region,
                virtual_hosted_style_request=not settings.path_style,
                client_options={
                    "allow_http": settings.endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_S),
                    "timeout": timedelta(seconds=settings.timeout_s),
                },
                # `_repeat` tries again: it must know whether an earlier try may have written the object.
                retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=settings.timeout_s)},
                config=_config(settings),
            )
        except exceptions.BaseError as error:
            raise StoreUnavailable(
                "the settings of the S3 store cannot be used: check artifacts.s3, and that the credentials of the "
                "environment are complete"
            ) from error

    async def is_empty(self) -> bool:
        """Return whether nothing is below the prefix."""

        async def list_one() -> bool:
            async for batch in self._batches(self._prefix, 1):
                return not batch
            return True

        return await self._repeat("bucket", list_one)

    async def get(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Read an object, or as much of a range as it has."""

        async def work() -> bytes:
            if length is None:
                return bytes(await (await obstore.get_async(self._store, self._prefix + name)).bytes_async())
            span = (start, start + length)
            try:
                found = await obstore.get_async(self._store, self._prefix + name, options={"range": span})
                return bytes(await found.bytes_async())
            except exceptions.BaseError as error:
                if "status code: 416" in str(error) or "range" in str(error).lower():
                    return b""
                raise

        return await self._repeat(name, work)

    async def create(self, name: str, payload: bytes) -> None:
        """Write an object that must not exist yet; ArtifactExists when another writer has written it."""
        tries: list[str] = []

        async def work() -> None:
            tries.append(name)
            await obstore.put_async(self._store, self._prefix + name, payload, mode="create", use_multipart=False)

        try:
            await self._repeat(name, work)
        except ArtifactExists:
            # The answer to an earlier try may have been lost.
            if len(tries) == 1 or await self.get(name) != payload:
                raise

    async def replace(self, name: str, payload: bytes) -> None:
        """Write an object, whether it exists or not."""

        async def work() -> None:
            await obstore.put_async(self._store, self._prefix + name, payload, use_multipart=False)

        await self._repeat(name, work)

    async def replace_by_file(self, name: str, path: Path) -> None:
        """Upload a file of any size in parts; the object appears whole or not at all."""

        async def work() -> None:
            await obstore.put_async(
                self._store,
                self._prefix + name,
                path,
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

        await self._repeat(name, work)

    async def head(self, name: str) -> StoredObject:
        """Return what the store knows of an object."""

        async def work() -> StoredObject:
            return self._listed(await obstore.head_async(self._store, self._prefix + name))

        return await self._repeat(name, work)

    async def list(self, folder: str) -> list[StoredObject]:
        """List all objects below a folder, by name."""

        async def work() -> list[StoredObject]:
            found: list[StoredObject] = []
            async for batch in self._batches(f"{self._prefix}{folder}/", 1000):
                found += map(self._listed, batch)
            return sorted(found, key=lambda each: each.name)

        return await self._repeat(folder, work)

    async def list_folders(self, folder: str) -> Sequence[str]:
        """List what is directly below a folder and has objects below it."""

        async def work() -> Sequence[str]:
            # One of its overloads returns a type of another library.
            found = await obstore.list_with_delimiter_async(self._store, f"{self._prefix}{folder}/")  # pyright: ignore[reportUnknownMemberType]
            return sorted(each.removeprefix(self._prefix).rstrip("/") for each in found["common_prefixes"])

        return await self._repeat(folder, work)

    def _batches(self, prefix: str, num_objects: int) -> AsyncIterable[Sequence[ObjectMeta]]:
        # One of its overloads returns a type of another library.
        return obstore.list(self._store, prefix or None, chunk_size=num_objects)  # pyright: ignore[reportUnknownMemberType]

    async def delete(self, names: Sequence[str]) -> None:
        """Delete objects; those that do not exist are deleted already."""

        async def work() -> None:
            try:
                await obstore.delete_async(self._store, [self._prefix + name for name in names])
            except (exceptions.NotFoundError, FileNotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise

        if names:
            await self._repeat(names[0], work)

    async def sign(self, name: str, lifetime_s: int) -> str:
        """Return a URL at which anyone can read the object for some time."""

        async def work() -> str:
            return await obstore.sign_async(self._store, "GET", self._prefix + name, timedelta(seconds=lifetime_s))

        return await self._repeat(name, work)

    def _listed(self, found: ObjectMeta) -> StoredObject:
        return StoredObject(
            found["path"].removeprefix(self._prefix),
            found["size"],
            int(found["last_modified"].timestamp()),
            found["e_tag"] or "",
        )

    async def _repeat(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do work until the store has answered; StoreUnavailable after the patience of the settings."""
        give_up = time.monotonic() + self._settings.patience_s
        delay_s = FIRST_DELAY_S
        while True:
            try:
                return await work()
            except (exceptions.BaseError, OSError) as error:
                # The text of the error names the URL and the answer; neither goes to callers.
                answer = self._answer(name, error)
                if answer is not None:
                    raise answer from None
                if time.monotonic() + delay_s > give_up:
                    raise StoreUnavailable(
                        f"{name}: the S3 store does not answer ({_cause(error)}): check artifacts.s3.endpoint and the "
                        "store itself",
                        retry_after_s=RETRY_S,
                    ) from None
                log.warning("the S3 store failed", cause=_cause(error), retry_after_s=round(delay_s, 2))
            # Random, so that the processes of a mesh do not come back all at once.
            await asyncio.sleep(delay_s * random.uniform(0.5, 1))  # noqa: S311 - not for secrets
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)

    def _answer(self, name: str, error: Exception) -> SegueError | None:
        """Return the error that the store answered; None if trying again may help."""
        text = str(error)
        if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
            return ArtifactExists(f"{name} already exists")
        if FULL.search(text):
            return StorageFull("the S3 store is full: free some space, raise its quota, or shorten store.retention")
        refusal = self._refusal(error)
        if refusal:
            return StoreUnavailable(f"the S3 store {refusal}", retry_after_s=RETRY_S)
        if isinstance(error, exceptions.NotFoundError | FileNotFoundError):
            return ArtifactNotFound(f"{name}: there is no such artifact")
        return None

    def _refusal(self, error: Exception) -> str:
        """Return what is wrong with the settings, and what to do; empty if nothing is."""
        text, bucket = str(error), self._settings.bucket
        if "NoSuchBucket" in text:
            return f"has no bucket {bucket!r}: create it, or correct artifacts.s3.bucket and artifacts.s3.endpoint"
        if "RequestTimeTooSkewed" in text:
            return "refuses this machine's clock: set the time"
        refused = exceptions.PermissionDeniedError | exceptions.UnauthenticatedError
        if isinstance(error, refused) or REFUSED.search(text):
            return (
                f"refuses access to bucket {bucket!r}: check artifacts.s3.access_key and artifacts.s3.secret_key, and "
                "that they may read, write, list and delete"
            )
        if isinstance(error, exceptions.NotSupportedError) or PERMANENT.search(text):
            return (
                f"does not accept the request ({_cause(error)}): check endpoint, region and path_style of "
                "artifacts.s3, and that the store supports If-None-Match"
            )
        return ""


def _config(settings: S3Settings) -> S3Config:
    """Return what the settings say. The library finds credentials in the environment by itself."""
    config: S3Config = {}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint
    if settings.access_key:
        config["access_key_id"] = settings.access_key
        config["secret_access_key"] = settings.secret_key
    if settings.session_token:
        config["session_token"] = settings.session_token
    return config


def _cause(error: Exception) -> str:
    """Return the status of the answer, or the kind of the failure."""
    status = STATUS.search(str(error))
    return f"HTTP {status[1]}" if status else "no connection or no answer in time"
