"""A renderer in a process of its own, with the model `choir`: `python examples/choir/renderer.py HOST:PORT`.

Conductors find it by `renderer.addresses`, or it joins their pool: `--join CONDUCTOR`.

It knows the published contract only: the generated stubs `segue.*`, gRPC, protovalidate and a CRC-32C.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hmac
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c
import grpc.aio
import protovalidate
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

import member
import singer
from segue.audio.v1 import audio_pb2
from segue.music.v1 import music_pb2
from segue.renderer.v1 import renderer_pb2, renderer_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    Context = grpc.aio.ServicerContext[Any, Any]
    Response = renderer_pb2.RenderSectionResponse

SLOTS, MAX_CALLS, LONGEST_S, LONGEST_TAIL_S, READ_S = 2, 64, 600, 10, 30
CHUNK_FRAMES = 8_000
"""In two channels 64,000 bytes; the contract allows 256 KiB."""
PROFILE = renderer_pb2.ModelProfile(
    model="choir",
    backend="choir",
    engine_version="1",  # changes with every change of the bytes, so that no take of an older release is used
    channels=2,  # and at the timeline's sample rate
    layers=[music_pb2.LAYER_KIND_VOCALS],
    continuities=[music_pb2.CONTINUITY_NONE, music_pb2.CONTINUITY_MOTIF],
    determinism=renderer_pb2.DETERMINISM_SEEDED,  # the last bits of numpy's sines differ between processors
    gives_notes=True,
    honours_tempo=renderer_pb2.HONOURS_EXACT,
    honours_key=renderer_pb2.HONOURS_EXACT,
    honours_metre=renderer_pb2.HONOURS_EXACT,
    max_duration=Duration(seconds=LONGEST_S),
)
INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSUPPORTED = (
    "conditioning_frames", "following_frames", "guide_frames", "guide_kind", "guide_notes", "guide_band", "layer_task",
    "more_seeds",
)  # fmt: skip


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A refusal with a code and a reason of the contract."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        self.status = status_pb2.Status(code=code.value[0], message=message)
        self.status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="segue.dev"))
        self.code = code


class ChoirRenderer(renderer_pb2_grpc.RendererServiceServicer):
    """Serves the model `choir`. The conductors keep the line, so a call beyond the slots is refused."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.member: member.Member | None = None
        self.num_busy = 0
        self.state = renderer_pb2.RENDERER_STATE_READY

    def status(self) -> renderer_pb2.GetStatusResponse:
        """Return what this renderer offers now."""
        return renderer_pb2.GetStatusResponse(
            slots=SLOTS, busy_slots=self.num_busy, models=[PROFILE], device="cpu", state=self.state
        )

    async def ListModels(self, request: Any, context: Context) -> renderer_pb2.ListModelsResponse:  # noqa: ARG002, N802 - the contract's signature
        """List the model."""
        await self.admit(context)
        return renderer_pb2.ListModelsResponse(models=[PROFILE])

    async def GetStatus(self, request: Any, context: Context) -> renderer_pb2.GetStatusResponse:  # noqa: ARG002, N802 - the contract's signature
        """Report the slots; conductors ask about once a second."""
        await self.admit(context)
        return self.status()

    async def RenderSection(self, request_iterator: AsyncIterator[Any], context: Context) -> AsyncIterator[Response]:  # noqa: N802 - the contract's name
        """Render one section. When the caller cancels, the slot is free, and the work ends with the present block."""
        await self.admit(context)
        try:
            async with asyncio.timeout(READ_S):
                start = await read(request_iterator)
            await self.check_lease(start)
            with self.slot():
                async with contextlib.aclosing(render(start)) as responses:
                    async for response in responses:
                        yield response
        except (Refused, TimeoutError) as error:
            late = Refused(INVALID, "OUT_OF_ORDER", f"start did not come and end the request within {READ_S} s")
            await abort(context, error if isinstance(error, Refused) else late)

    async def admit(self, context: Context) -> None:
        """Refuse callers without the token of the mesh's roles, if there is one."""
        wanted = f"Bearer {self.token}".encode()
        given = (value for key, value in context.invocation_metadata() or () if key == "authorization")
        if self.token and not any(hmac.compare_digest(str(value).encode(), wanted) for value in given):
            await abort(context, Refused(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", "a token is required"))

    async def check_lease(self, start: renderer_pb2.RenderStart) -> None:
        """Refuse a section without a lease after joining a pool, and every lease otherwise."""
        if not (await self.member.holds(start, PROFILE.model) if self.member else not start.lease):
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "LEASE_UNKNOWN", "the section has no lease here")

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot."""
        if self.num_busy >= SLOTS:
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", f"all {SLOTS} slots are busy")
        self.num_busy += 1
        try:
            yield
        finally:
            self.num_busy -= 1


async def abort(context: Context, refused: Refused) -> None:
    """End a call with an error of the contract."""
    details = (("grpc-status-details-bin", refused.status.SerializeToString()),)
    await context.abort(refused.code, refused.status.message, details)


async def read(messages: AsyncIterator[Any]) -> renderer_pb2.RenderStart:
    """Read a call's only message, and refuse what the model cannot do."""
    start: renderer_pb2.RenderStart | None = None
    async for message in messages:
        if problems := protovalidate.collect_violations(message):
            raise Refused(INVALID, "INVALID_FIELD", problems[0].proto.message)
        if start is not None or message.WhichOneof("message") != "start":
            raise Refused(INVALID, "OUT_OF_ORDER", "start comes first and once; this model takes nothing else")
        start = message.start
        check(start)
    if start is None:
        raise Refused(INVALID, "OUT_OF_ORDER", "the stream ended before start")
    return start


def check(start: renderer_pb2.RenderStart) -> None:
    """Refuse a section that the model cannot sing."""
    spec = start.spec
    if start.model not in {"", PROFILE.model}:
        raise Refused(grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND", f"the only model is {PROFILE.model}")
    for option in UNSUPPORTED:
        if getattr(start, option):
            raise Refused(INVALID, "OPTION_NOT_SUPPORTED", f"{PROFILE.model} does not take {option}")
    if spec.HasField("lyrics"):
        raise Refused(INVALID, "OPTION_NOT_SUPPORTED", f"{PROFILE.model} sings no lyrics")
    if not (spec.HasField("metre") and spec.HasField("key") and spec.tempo_points and spec.sample_rate >= 8_000):
        raise Refused(INVALID, "INVALID_FIELD", "spec: metre, key, tempo_points and sample_rate must be present")
    if not 0 < spec.frames <= LONGEST_S * spec.sample_rate:
        raise Refused(INVALID, "INVALID_FIELD", f"spec.frames: a section lasts more than 0 and at most {LONGEST_S} s")


async def render(start: renderer_pb2.RenderStart) -> AsyncGenerator[Response, None]:
    """Sing a section in threads, block by block."""
    spec = start.spec
    form = audio_pb2.AudioFormat(sample_rate=spec.sample_rate, channels=2, sample_format=audio_pb2.SAMPLE_FORMAT_F32LE)
    accepted = renderer_pb2.RenderAccepted(
        profile=PROFILE, format=form, declared_lufs=singer.loudness(spec), sample_locked=True
    )
    yield renderer_pb2.RenderSectionResponse(accepted=accepted)
    tail = min(start.overlap_frames + spec.tail_frames, LONGEST_TAIL_S * spec.sample_rate)
    sung = await asyncio.to_thread(singer.melody, spec, start.seed)
    if start.notes:
        for first in range(0, len(sung), 1024):
            notes = renderer_pb2.Notes(notes=[note_of(each) for each in sung[first : first + 1024]])
            yield renderer_pb2.RenderSectionResponse(notes=notes)
    blocks = singer.blocks(spec, sung, start.seed, spec.frames + tail)
    done = 0
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        for layer in ("", "vocals") if start.stems else ("",):
            for first in range(0, len(block), CHUNK_FRAMES):
                data = block[first : first + CHUNK_FRAMES].astype("<f4").tobytes()
                chunk = audio_pb2.AudioChunk(
                    format=form, stage=audio_pb2.STAGE_TAKE, section_id=spec.section_id, take=start.take_key,
                    attempt=start.attempt, layer=layer, first_frame=done + first, frames=len(data) // 8, data=data,
                    crc32c=google_crc32c.value(data),
                )  # fmt: skip
                yield renderer_pb2.RenderSectionResponse(audio=chunk)
        done += len(block)
    finished = renderer_pb2.RenderFinished(
        frames=spec.frames, tail_frames=tail, windows=1, window_frames_used=done, warnings=warnings_of(spec)
    )
    yield renderer_pb2.RenderSectionResponse(finished=finished)


def note_of(sung: singer.Sung) -> music_pb2.Note:
    """Return a note as the contract has it."""
    velocity = max(1, min(127, round(127 * sung.level)))
    return music_pb2.Note(
        layer=music_pb2.LAYER_KIND_VOCALS,
        start_tick=sung.start,
        ticks=sung.ticks,
        pitch=sung.pitch,
        velocity=velocity,
        instrument="voice",
    )


def warnings_of(spec: music_pb2.SectionSpec) -> list[music_pb2.Warning]:
    """Name what the request has and the model does not use."""
    others = any(layer.kind != music_pb2.LAYER_KIND_VOCALS for layer in spec.layers)
    unused = [
        (others, "layers", "sings the theme and the chords; nothing else plays"),
        (spec.HasField("sampling"), "sampling", "does not sample"),
        (bool(spec.negative_prompt), "negative_prompt", "reads no text"),
    ]
    return [
        music_pb2.Warning(code=f"{field}_not_used", text=f"{field}: the model choir {why}", section_id=spec.section_id)
        for is_given, field, why in unused
        if is_given
    ]


async def main() -> None:
    """Serve until SIGTERM or SIGINT, then end the running sections."""
    parser = argparse.ArgumentParser(description="A renderer whose model is a choir.")
    parser.add_argument("address", help="HOST:PORT to listen on")
    parser.add_argument("--join", metavar="HOST:PORT", help="conductor, or server with all roles, whose pool it joins")
    parser.add_argument("--token-file", type=Path, help="token of the mesh's roles, as in pool.token_file")
    given = parser.parse_args()
    token = given.token_file.read_text().split()[0] if given.token_file else ""
    service, stopped = ChoirRenderer(token), asyncio.Event()
    server = grpc.aio.server(maximum_concurrent_rpcs=MAX_CALLS)
    renderer_pb2_grpc.add_RendererServiceServicer_to_server(service, server)
    server.add_insecure_port(given.address)
    await server.start()
    print(f"serves {PROFILE.model} on {given.address}", flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if given.join:
        service.member = member.Member(given.join, given.address, token, service.status)
    joined = asyncio.create_task(service.member.run()) if service.member else None
    await stopped.wait()
    service.state = renderer_pb2.RENDERER_STATE_DRAINING  # a member offers it, and gets no other section
    await server.stop(grace=10)
    if joined:
        joined.cancel()


if __name__ == "__main__":
    asyncio.run(main())
