"""Faulty renderers: unusable audio, endless takes, takes that differ between attempts. Listeners never hear them."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
import soundfile
from tests.mesh.faulty_renderer import changed, faulty_renderer
from tests.mesh.harness import Heard, embedded, hear, spec

from segue.composer.v1 import composition_pb2, stream_pb2
from segue_client import SegueError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from tests.mesh.faulty_renderer import Responses

    from segue.renderer.v1 import renderer_pb2
    from segue_client import Client, Update

    Response = renderer_pb2.RenderSectionResponse

BOTH = stream_pb2.AUDIO_SELECTION_BOTH
ASKED = spec("calm piano, 120 bpm, C major", seconds=8)


def set_sample(value: float) -> Callable[[Response, int], list[Response]]:
    """Set one sample in the middle of the third chunk."""

    def spoil(response: Response, chunk: int) -> list[Response]:
        def change(samples: NDArray[np.float32]) -> None:
            samples[samples.size // 2] = value

        return [changed(response, change) if chunk == 3 else response]

    return spoil


def every_sample(change: Callable[[NDArray[np.float32]], object]) -> Callable[[Response, int], list[Response]]:
    return lambda response, chunk: [changed(response, change)] if chunk else [response]


def rate(response: Response, _chunk: int) -> list[Response]:
    if response.WhichOneof("message") == "accepted":
        response.accepted.format.sample_rate = 44_100
    return [response]


def three_channels(response: Response, _chunk: int) -> list[Response]:
    if response.WhichOneof("message") == "accepted":
        response.accepted.format.channels = 3
    return [response]


def without_format(response: Response, _chunk: int) -> list[Response]:
    return [] if response.WhichOneof("message") == "accepted" else [response]


def without_a_chunk(response: Response, chunk: int) -> list[Response]:
    return [] if chunk == 2 else [response]


def chunk_twice(response: Response, chunk: int) -> list[Response]:
    return [response, response] if chunk == 2 else [response]


def damaged(response: Response, chunk: int) -> list[Response]:
    if chunk == 2:
        response.audio.crc32c ^= 1
    return [response]


def short(response: Response, _chunk: int) -> list[Response]:
    if response.WhichOneof("message") == "finished":
        response.finished.frames -= 4800
        response.finished.tail_frames += 4800
    return [response]


def one_more(response: Response, _chunk: int) -> list[Response]:
    if response.WhichOneof("message") == "finished":
        response.finished.tail_frames += 1
    return [response]


# What the renderer sends, and a part of the error's message.
UNUSABLE: dict[str, tuple[Callable[[Response, int], list[Response]], str]] = {
    "NaN": (set_sample(float("nan")), "not finite"),
    "Inf": (set_sample(float("inf")), "not finite"),
    "minus Inf": (set_sample(float("-inf")), "not finite"),
    "a pop": (set_sample(1e6), "full scale"),
    "silence": (every_sample(lambda samples: samples.fill(0)), "zero"),
    "DC": (every_sample(lambda samples: np.add(samples, 0.5, out=samples)), "constant offset"),
    "wrong rate": (rate, "44100"),
    "wrong channels": (three_channels, "3 channels"),
    "no format": (without_format, "no format"),
    "a gap": (without_a_chunk, "instead of"),
    "a repetition": (chunk_twice, "instead of"),
    "damage": (damaged, "checksum"),
    "too short": (short, "instead of"),
    "a lie about its length": (one_more, "and sent"),
}


def spoiling(
    spoil: Callable[[Response, int], list[Response]], tries: range
) -> Callable[[int, renderer_pb2.RenderStart, Responses], Responses]:
    async def answer(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        chunk = 0
        async for response in responses:
            is_audio = response.WhichOneof("message") == "audio"
            chunk += is_audio
            for each in spoil(response, chunk if is_audio else 0) if call in tries else [response]:
                yield each

    return answer


# The faults of models; the faults of broken renderers are in the slow tests.
OFTEN = {"NaN", "Inf", "a pop", "silence", "DC", "wrong rate", "too short"}


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in UNUSABLE]
)
async def test_unusable_audio_is_retried_once_and_never_heard(tmp_path: Path, name: str) -> None:
    spoil, said = UNUSABLE[name]
    async with (
        faulty_renderer(tmp_path, spoiling(spoil, range(1, 2))) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(spec(seconds=4), audio=BOTH)), 60)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        (retried,) = [each.event.section_retried for each in heard.updates if each.kind == "section_retried"]
        assert (retried.attempt, said in retried.error.message) == (1, True), retried.error.message
        assert retried.error.code == grpc.StatusCode.DATA_LOSS.value[0]
        first, second = renderer.starts[:2]
        assert first.spec == second.spec
        assert (second.attempt, second.seed) == (2, (first.seed + 1) % 2**32)
        await check_sound(client, heard)


async def check_sound(client: Client, heard: Heard) -> None:
    """Check that the stream (with its rewinds) and the file have the requested length and no pop."""
    frames = heard.composition.plan.frames
    for sound in (heard.draft, heard.master):
        samples = np.frombuffer(sound, np.float32)
        assert samples.size == frames * 2
        assert np.isfinite(samples).all()
        assert 0.05 < np.abs(samples).max() <= 4.0
    content = b"".join([piece async for piece in client.read(heard.composition.outputs[0])])
    samples, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    assert len(samples) == frames
    assert np.abs(samples).max() < 1.0


async def test_audio_that_is_unusable_twice_fails_with_the_reason(tmp_path: Path) -> None:
    async with (
        faulty_renderer(tmp_path, spoiling(set_sample(float("nan")), range(1, 100))) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = Heard()
        with pytest.raises(SegueError) as caught:
            await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH), heard), 60)
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.DATA_LOSS, "RENDER_INVALID")
        failed = heard.composition
        assert failed.state == composition_pb2.STATE_FAILED
        tries = [start for start in renderer.starts if start.spec.section_id == caught.value.metadata["section_id"]]
        assert [start.attempt for start in tries] == [1, 2]
        assert heard.kinds.count("section_retried") == 1
        assert heard.kinds.count("finished") == 1
        assert np.isfinite(np.frombuffer(heard.draft, np.float32)).all()
        # The queue continues.
        renderer.spoil = spoiling(lambda response, _: [response], range(0))
        after = await asyncio.wait_for(hear(client.compose(spec(seconds=2))), 60)
        assert after.composition.state == composition_pb2.STATE_SUCCEEDED


async def test_an_endless_take_is_stopped_before_it_fills_the_disk(tmp_path: Path) -> None:
    sent = 0

    async def endless(call: int, _start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        nonlocal sent
        last = None
        async for response in responses:
            if call == 1 and response.WhichOneof("message") == "finished":
                break
            last = response if response.WhichOneof("message") == "audio" else last
            yield response
        else:
            return
        assert last is not None
        frames = last.audio.frames
        while True:
            last.audio.first_frame += frames
            sent += frames
            yield last

    async with (
        faulty_renderer(tmp_path, endless) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        heard = await asyncio.wait_for(hear(client.compose(ASKED, audio=BOTH)), 60)
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        assert heard.kinds.count("section_retried") == 1
        await renderer.idle()
        assert sent < 100 * 48_000


async def test_a_different_take_is_announced_by_a_rewind_and_never_spliced(tmp_path: Path) -> None:
    broken: list[renderer_pb2.RenderStart] = []
    second_is_heard = asyncio.Event()

    async def differs(call: int, start: renderer_pb2.RenderStart, responses: Responses) -> Responses:
        """Fail late in the second section; the next attempt is a different take of the same length."""
        seconds = 0.0
        async for response in responses:
            if response.WhichOneof("message") == "audio":
                if call == 2 and seconds > 2:
                    # Audio that the mixer has not read by now is lost for it.
                    await second_is_heard.wait()
                    broken.append(start)
                    raise RuntimeError("the device fell off the bus")
                seconds += response.audio.frames / 48_000
                if broken:
                    yield changed(response, lambda samples: np.multiply(samples, -0.5, out=samples))
                    continue
            yield response

    async with (
        faulty_renderer(tmp_path, differs) as renderer,
        embedded(tmp_path, {"renderer.addresses": renderer.address}) as (_, client),
    ):
        created = await client.create(spec("calm piano, 120 bpm, C major, verse chorus", seconds=12))

        async def announce() -> None:
            sections = set()
            async for update in client.watch(created.name, audio=BOTH):
                if update.kind == "audio":
                    sections.add(update.event.audio.section_id)
                if len(sections) == 2:
                    second_is_heard.set()

        heard, late, _ = await asyncio.wait_for(
            asyncio.gather(
                hear(client.watch(created.name, audio=BOTH)), heard_in_pieces(client, created.name), announce()
            ),
            60,
        )
        assert broken
        assert heard.composition.state == composition_pb2.STATE_SUCCEEDED
        (rewound,) = [each.event.draft_rewound for each in heard.updates if each.kind == "draft_rewound"]
        section = heard.composition.plan.sections[1]
        assert rewound.section_id == section.spec.section_id
        assert rewound.first_frame == section.first_frame
        assert rewound.attempt == 2
        await check_sound(client, heard)
        # Permanent, reconnecting and later watchers have the same audio in the end.
        after = await hear(client.watch(created.name, audio=BOTH))
        assert heard.draft == late.draft == after.draft
        assert heard.master == late.master == after.master
        # The takes differ only after the join, and the frames of the second take have its attempt.
        frame = section.first_frame
        attempts = {
            each.event.audio.attempt
            for each in after.updates
            if each.kind == "audio" and each.event.audio.section_id == section.spec.section_id
        }
        assert 2 in attempts
        assert len(heard.draft) // 8 > frame


async def heard_in_pieces(client: Client, name: str) -> Heard:
    """Start a new watch after every few messages, always from the last cursor."""
    heard, cursor = Heard(), ""
    while True:
        updates = client.watch(name, cursor=cursor, audio=BOTH)
        async for update in limited(updates, 7):
            heard.take(update)
            if update.kind == "finished":
                return heard
        cursor = heard.cursor


async def limited(updates: AsyncIterator[Update], count: int) -> AsyncIterator[Update]:
    async for update in updates:
        yield update
        count -= 1
        if not count:
            return
