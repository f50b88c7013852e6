"""The client: compositions, their streams and files, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import google_crc32c
import grpc

from segue.composer.v1 import composer_pb2, composer_pb2_grpc
from segue_client.channel import Access, connect
from segue_client.errors import DamagedAudio, from_rpc_error, from_status
from segue_client.streams import Resuming, Update

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from typing import Self

    from segue.analyzer.v1.analyzer_pb2 import Report
    from segue.audio.v1 import audio_pb2
    from segue.composer.v1.composer_pb2 import Composition, CompositionSpec, Output
    from segue.renderer.v1.renderer_pb2 import ModelProfile

T = TypeVar("T")
CALL_LIMIT_S: Final = 60.0
PATIENCE_S: Final = 60.0
UPLOAD_PIECE_BYTES: Final = 1 << 19
PAGE_SIZE: Final = 100


class Client:
    """A connection to a gateway: `async with Client("127.0.0.1:7300") as client`.

    Streams go on by themselves when the connection breaks, for `patience_s` without a sign of life.
    """

    def __init__(self, access: Access | str = "127.0.0.1:7300", *, patience_s: float = PATIENCE_S) -> None:
        self.access = Access(access) if isinstance(access, str) else access
        self._patience_s = patience_s
        self._channel = connect(self.access)
        self._stub = cast(
            "composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(self._channel)
        )
        token = self.access.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    # Compositions.

    async def compose(
        self,
        spec: CompositionSpec,
        *,
        audio: composer_pb2.AudioSelection.ValueType = composer_pb2.AUDIO_SELECTION_NONE,
        encoding: audio_pb2.SampleFormat.ValueType = 0,  # type: ignore[assignment]  # the enum's zero
        cancel_when_gone: bool = False,
        request_id: str = "",
    ) -> AsyncGenerator[Update, None]:
        """Create a composition and yield what happens, to the end. Raises the composition's own error if it failed."""
        request = composer_pb2.ComposeRequest(
            spec=spec,
            # With an id of its own the call can be repeated when the connection breaks before the first answer.
            request_id=request_id or str(uuid.uuid4()),
            audio=audio,
            encoding=encoding,
            disconnect_policy=_policy(cancel_when_gone),
        )
        stream = Resuming(
            lambda: self._stub.Compose(request, metadata=self._metadata),
            lambda name, cursor: self._watch(name, cursor, audio, encoding, cancel_when_gone),
            patience_s=self._patience_s,
        )
        async with contextlib.aclosing(stream.updates()) as updates:
            async for update in updates:
                yield update
                if update.kind == "finished":
                    _raise_if_failed(update.event.finished.composition)

    async def watch(
        self,
        name: str,
        *,
        cursor: str = "",
        audio: composer_pb2.AudioSelection.ValueType = composer_pb2.AUDIO_SELECTION_NONE,
        encoding: audio_pb2.SampleFormat.ValueType = 0,  # type: ignore[assignment]  # the enum's zero
        cancel_when_gone: bool = False,
    ) -> AsyncGenerator[Update, None]:
        """Yield what happened to a composition after a cursor, and what happens, to the end."""
        stream = Resuming(
            lambda: self._watch(name, cursor, audio, encoding, cancel_when_gone),
            lambda again, after: self._watch(again, after, audio, encoding, cancel_when_gone),
            patience_s=self._patience_s,
            cursor=cursor,
            name=name,
        )
        async with contextlib.aclosing(stream.updates()) as updates:
            async for update in updates:
                yield update

    async def create(self, spec: CompositionSpec, *, request_id: str = "") -> Composition:
        """Queue a composition and return at once."""
        request = composer_pb2.CreateCompositionRequest(spec=spec, request_id=request_id or str(uuid.uuid4()))
        return (await self._call(self._stub.CreateComposition, request)).composition

    async def get(self, name: str) -> Composition:
        """Return a composition as it stands."""
        return (await self._call(self._stub.GetComposition, composer_pb2.GetCompositionRequest(name=name))).composition

    async def compositions(self, filter_text: str = "") -> AsyncIterator[Composition]:
        """Yield the caller's compositions, newest first."""
        token = ""
        while True:
            request = composer_pb2.ListCompositionsRequest(page_size=PAGE_SIZE, page_token=token, filter=filter_text)
            page = await self._call(self._stub.ListCompositions, request)
            for composition in page.compositions:
                yield composition
            token = page.next_page_token
            if not token:
                return

    async def cancel(self, name: str) -> Composition:
        """Ask a composition to stop."""
        return (
            await self._call(self._stub.CancelComposition, composer_pb2.CancelCompositionRequest(name=name))
        ).composition

    async def delete(self, name: str) -> None:
        """Remove a finished composition with its files."""
        await self._call(self._stub.DeleteComposition, composer_pb2.DeleteCompositionRequest(name=name))

    async def plan(self, spec: CompositionSpec) -> composer_pb2.PlanCompositionResponse:
        """Plan and estimate without making anything."""
        return await self._call(self._stub.PlanComposition, composer_pb2.PlanCompositionRequest(spec=spec))

    async def models(self) -> list[ModelProfile]:
        """Return what the pool can play."""
        return [*(await self._call(self._stub.ListModels, composer_pb2.ListModelsRequest())).models]

    async def stats(self) -> composer_pb2.GetStatsResponse:
        """Return how busy the service is."""
        return await self._call(self._stub.GetStats, composer_pb2.GetStatsRequest())

    # Files.

    async def download(self, output: Output, target: Path, *, replace: bool = False) -> None:
        """Write an output to a file: whole, with the right digest, or not at all. It goes on where a break left it."""
        draft = await asyncio.to_thread(_open_draft, target, replace=replace)
        try:
            async for data in self.read(output):
                draft.write(data)
            if output.sha256 and draft.sha256 != output.sha256:
                raise DamagedAudio(grpc.StatusCode.DATA_LOSS, f"{output.name} came with another digest than announced")
            await asyncio.to_thread(draft.keep)
        finally:
            draft.discard()

    async def read(self, output: Output) -> AsyncIterator[bytes]:
        """Yield the bytes of an output, checked; a broken connection is taken up again where it broke."""
        offset, tries = 0, 0
        while offset < output.size_bytes:
            request = composer_pb2.DownloadArtifactRequest(name=output.name, read_offset=offset)
            try:
                async for response in self._stub.DownloadArtifact(request, metadata=self._metadata):
                    if response.data:
                        if google_crc32c.value(response.data) != response.crc32c or response.offset != offset:
                            raise DamagedAudio(grpc.StatusCode.DATA_LOSS, f"{output.name} is damaged at byte {offset}")
                        offset += len(response.data)
                        tries = 0
                        yield response.data
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                tries += 1
                if failure.code is not grpc.StatusCode.UNAVAILABLE or tries > 5:
                    raise failure from error
                await asyncio.sleep(failure.retry_after_s or 0.2 * 2**tries)

    async def upload(self, path: Path, media_type: str = "application/octet-stream") -> composer_pb2.Upload:
        """Send a file; it can be analysed or mastered then."""
        size = (await asyncio.to_thread(path.stat)).st_size
        request = composer_pb2.CreateUploadRequest(media_type=media_type, size_bytes=size)
        upload = (await self._call(self._stub.CreateUpload, request)).upload
        digest = hashlib.sha256()
        with path.open("rb") as file:
            offset = 0
            while piece := await asyncio.to_thread(file.read, UPLOAD_PIECE_BYTES):
                digest.update(piece)
                await self._call(
                    self._stub.WriteUpload,
                    composer_pb2.WriteUploadRequest(
                        upload=upload.name, offset=offset, data=piece, crc32c=google_crc32c.value(piece)
                    ),
                )
                offset += len(piece)
        finish = composer_pb2.FinishUploadRequest(upload=upload.name, sha256=digest.hexdigest())
        return (await self._call(self._stub.FinishUpload, finish)).upload

    async def analyze(self, source: str) -> Report:
        """Measure an upload or an output; waits for the end."""
        created = await self._call(
            self._stub.CreateAnalysis,
            composer_pb2.CreateAnalysisRequest(source=source, request_id=str(uuid.uuid4())),
        )
        analysis = created.analysis
        while not analysis.HasField("end_time"):
            request = composer_pb2.WatchAnalysisRequest(name=analysis.name)
            try:
                async for response in self._stub.WatchAnalysis(request, metadata=self._metadata):
                    analysis = response.analysis
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                if failure.code is not grpc.StatusCode.UNAVAILABLE:
                    raise failure from error
                await asyncio.sleep(failure.retry_after_s or 1)
        if analysis.state != composer_pb2.STATE_SUCCEEDED:
            raise from_status(analysis.error)
        return analysis.report

    # Inside.

    def _watch(
        self,
        name: str,
        cursor: str,
        audio: composer_pb2.AudioSelection.ValueType,
        encoding: audio_pb2.SampleFormat.ValueType,
        cancel_when_gone: bool,  # noqa: FBT001 - passed on
    ) -> grpc.aio.UnaryStreamCall[Any, composer_pb2.WatchCompositionResponse]:
        request = composer_pb2.WatchCompositionRequest(
            name=name, cursor=cursor, audio=audio, encoding=encoding, disconnect_policy=_policy(cancel_when_gone)
        )
        return self._stub.WatchComposition(request, metadata=self._metadata)

    async def _call(self, method: Callable[..., Awaitable[T]], request: object) -> T:
        try:
            return await method(request, timeout=CALL_LIMIT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


def _policy(cancel_when_gone: bool) -> composer_pb2.DisconnectPolicy.ValueType:  # noqa: FBT001 - a name for each
    return composer_pb2.DISCONNECT_POLICY_CANCEL if cancel_when_gone else composer_pb2.DISCONNECT_POLICY_CONTINUE


def _raise_if_failed(composition: Composition) -> None:
    if composition.state in {composer_pb2.STATE_FAILED, composer_pb2.STATE_CANCELLED}:
        raise from_status(composition.error)


class _Draft:
    """A file that appears under its name when it is whole."""

    def __init__(self, target: Path) -> None:
        self._target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb")
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        self._digest.update(data)
        self._file.write(data)

    def keep(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        # mkstemp makes files that only the owner can read; a piece of music is an ordinary file.
        self._path.chmod(0o666 & ~_umask())
        self._path.replace(self._target)

    def discard(self) -> None:
        """Remove what was not kept."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def _open_draft(target: Path, *, replace: bool) -> _Draft:
    if not replace and target.exists():
        raise FileExistsError(target)
    return _Draft(target)


def _umask() -> int:
    # There is no way to read it without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
