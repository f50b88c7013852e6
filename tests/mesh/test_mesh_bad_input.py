"""Bad requests: each is refused with its code, its reason and the path of its field."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
import uuid
import zlib
from typing import TYPE_CHECKING, Any, cast

import google_crc32c
import grpc
import grpc.aio
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.mesh.harness import spec
from tests.mesh.shapes import shape

from segue.composer.v1 import (
    analysis_pb2,
    composer_pb2,
    composer_pb2_grpc,
    composition_pb2,
    files_pb2,
    spec_pb2,
    stream_pb2,
)
from segue.music.v1 import music_pb2
from segue_client import Access, SegueError
from segue_client.channel import connect
from segue_client.errors import from_rpc_error
from segue_runtime.settings import load
from segued.serve.node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

SERVICE = "segue.composer.v1.ComposerService"
CODES = grpc.StatusCode
NAN, INF = float("nan"), float("inf")
ALLOWED = {
    CODES.OK, CODES.INVALID_ARGUMENT, CODES.NOT_FOUND, CODES.FAILED_PRECONDITION, CODES.ALREADY_EXISTS,
    CODES.OUT_OF_RANGE, CODES.RESOURCE_EXHAUSTED,
}  # fmt: skip


class Door:
    """A mesh in this process, and a channel that can send bytes that no generated stub would send."""

    def __init__(self, runner: asyncio.Runner, node: Node) -> None:
        self.runner = runner
        self.node = node
        self.channel = runner.run(self._connect())

    async def _connect(self) -> grpc.aio.Channel:
        return connect(Access(self.node.inner))

    def send(self, method: str, raw: bytes, **more: Any) -> SegueError | bytes:
        """Send bytes to a unary method."""

        async def call() -> SegueError | bytes:
            path = method if method.startswith("/") else f"/{SERVICE}/{method}"
            try:
                send: Any = self.channel.unary_unary(path)
                return cast("bytes", await send(raw, timeout=30, **more))
            except grpc.RpcError as error:
                return from_rpc_error(error)

        return self.runner.run(call())

    def refused(self, request: Message, method: str = "CreateComposition") -> SegueError:
        """Send a message that must be refused."""
        answer = self.send(method, request.SerializeToString())
        assert isinstance(answer, SegueError), "it was accepted"
        assert answer.metadata.get("requestId")
        return answer


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    home = tmp_path_factory.mktemp("home")
    # No conductor works on accepted jobs: the queue fills up, and a full queue is one of the allowed answers.
    flags = {
        "home": str(home),
        **shape().settings(home),
        "server.drain": "1s",
        "failpoints.active": "conductor.after_plan=pause",
    }
    with asyncio.Runner() as runner:
        node = Node(load(flags, environ={}, folder=home), listen=())
        runner.run(node.start())
        found = Door(runner, node)
        yield found
        runner.run(found.channel.close())
        runner.run(node.__aexit__())


def request(
    change: Callable[[composition_pb2.CreateCompositionRequest], object],
) -> composition_pb2.CreateCompositionRequest:
    made = composition_pb2.CreateCompositionRequest(spec=spec(), request_id=str(uuid.uuid4()))
    change(made)
    return made


BROKEN: dict[str, tuple[Callable[[composition_pb2.CreateCompositionRequest], object], str]] = {
    "no prompt": (lambda r: r.spec.brief.ClearField("prompt"), "spec"),
    "prompt of blanks": (lambda r: setattr(r.spec.brief, "prompt", " \n "), "spec.brief.prompt"),
    "prompt of 4097 bytes": (lambda r: setattr(r.spec.brief, "prompt", "a" * 4097), "spec.brief.prompt"),
    "no length": (lambda r: r.spec.brief.duration.FromSeconds(0), "spec.brief.duration"),
    "negative length": (lambda r: r.spec.brief.duration.FromSeconds(-1), "spec.brief.duration"),
    "1801 s": (lambda r: r.spec.brief.duration.FromSeconds(1801), "spec.brief.duration"),
    "a billion seconds": (lambda r: r.spec.brief.duration.FromSeconds(10**9), "spec.brief.duration"),
    "nanos of another sign": (lambda r: setattr(r.spec.brief.duration, "nanos", -5), "spec.brief.duration"),
    "tempo NaN": (lambda r: setattr(r.spec.brief, "quarters_per_minute", NAN), "spec.brief.quarters_per_minute"),
    "tempo Inf": (lambda r: setattr(r.spec.brief, "quarters_per_minute", INF), "spec.brief.quarters_per_minute"),
    "unknown key mode": (lambda r: setattr(r.spec.brief.key, "mode", 99), "spec.brief.key"),
    "unknown policy": (lambda r: setattr(r.spec, "degradation_policy", 77), "spec.degradation_policy"),
    "request id": (lambda r: setattr(r, "request_id", "not-a-uuid"), "request_id"),
    "labels": (lambda r: r.spec.labels.update({"Not A Label": "x"}), "spec.labels"),
    "nine exports": (lambda r: r.spec.exports.extend([spec_pb2.Export()] * 9), "spec.exports"),
    "NUL in a prompt": (lambda r: setattr(r.spec.brief, "prompt", "calm\0piano"), "spec.brief.prompt"),
    "NUL in a model": (lambda r: setattr(r.spec, "model", "sketch\0"), "spec.model"),
    "ESC in a title": (lambda r: setattr(r.spec.brief, "title", "\x1b[31mRed"), "spec.brief.title"),
    "new line in a title": (lambda r: setattr(r.spec.brief, "title", "a\nb"), "spec.brief.title"),
    "text turned round in a title": (lambda r: setattr(r.spec.brief, "title", "a\u202eb"), "spec.brief.title"),
    "C1 in a plan's title": (lambda r: setattr(r.spec.plan, "title", "a\x9bb"), "spec.plan.title"),
    "BEL in a section's label": (
        lambda r: setattr(r.spec.plan.sections.add().spec, "label", "\a"), "spec.plan.sections[0].spec.label",
    ),
    "ESC in a label": (lambda r: r.spec.labels.update({"mood": "\x1b]0;x\x07"}), "spec.labels"),
    "DEL in a session": (lambda r: setattr(r.spec, "session", "a\x7f"), "spec.session"),
    "sample rate": (lambda r: r.spec.exports.add(sample_rate=12345), "spec.exports[0].sample_rate"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_request_is_refused_with_its_field(door: Door, name: str) -> None:
    change, field = BROKEN[name]
    answer = door.refused(request(change))
    assert answer.code is CODES.INVALID_ARGUMENT
    assert answer.reason == "INVALID_FIELD"
    # The planner reports its fields under their own names.
    assert any(field.endswith(each.field) or each.field.startswith(field) for each in answer.violations), (
        answer.violations
    )


def test_nul_is_refused_in_every_string_of_a_request(door: Door) -> None:
    request_with_nul = composition_pb2.ListCompositionsRequest(filter="\0", page_token="\0")
    answer = door.refused(request_with_nul, "ListCompositions")
    assert [each.field for each in answer.violations] == ["page_token", "filter"]
    answer = door.refused(request(lambda r: r.spec.plan.sections.add().spec.layers.add(instruments=["a", "b\0"])))
    assert "spec.plan.sections[0].spec.layers[0].instruments[1]" in {each.field for each in answer.violations}


def test_titles_and_labels_of_any_language_are_accepted(door: Door) -> None:
    def change(r: composition_pb2.CreateCompositionRequest) -> None:
        r.spec.brief.title = "Nacht 夜 \u0644\u064a\u0644 👩‍🚀"
        r.spec.labels["mood"] = "[red]café"

    answer = door.send("CreateComposition", request(change).SerializeToString())
    assert isinstance(answer, bytes), answer


def test_a_request_id_in_capitals_is_the_same_request_id(door: Door) -> None:
    made = request(lambda _: None)
    names = []
    for each in (made.request_id, made.request_id.upper()):
        made.request_id = each
        answer = door.send("CreateComposition", made.SerializeToString())
        assert isinstance(answer, bytes)
        names.append(composition_pb2.CreateCompositionResponse.FromString(answer).composition.name)
    assert names[0] == names[1]


def test_a_prompt_may_have_4096_bytes_of_four_byte_characters(door: Door) -> None:
    answer = door.send("PlanComposition", composition_pb2.PlanCompositionRequest(
        spec=spec_pb2.CompositionSpec(brief=music_pb2.Brief(prompt="🎵" * 1024))
    ).SerializeToString())  # fmt: skip
    assert isinstance(answer, bytes)


@pytest.mark.parametrize(
    "raw",
    [b"\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, bytes(range(256)), b"\x0a\x02\x0a\x7f"],
    ids=["tag", "truncated", "length", "nesting", "all bytes", "inner length"],
)
def test_undecodable_bytes_are_an_invalid_argument(door: Door, raw: bytes) -> None:
    answer = door.send("CreateComposition", raw)
    assert isinstance(answer, SegueError)
    assert answer.code is CODES.INVALID_ARGUMENT
    assert "Traceback" not in answer.message
    assert "Error" not in answer.message


def test_a_prompt_with_invalid_utf8_is_an_invalid_argument(door: Door) -> None:
    raw = request(lambda r: setattr(r.spec.brief, "prompt", "XXXX")).SerializeToString().replace(b"XXXX", b"\xff\xfeab")
    answer = door.send("CreateComposition", raw)
    assert isinstance(answer, SegueError)
    assert (answer.code, answer.reason) == (CODES.INVALID_ARGUMENT, "MALFORMED_REQUEST")


def test_large_messages_and_unknown_methods_are_refused(door: Door) -> None:
    large = door.send("CreateComposition", b"\x0a" + b"a" * (1 << 20))
    assert isinstance(large, SegueError)
    assert large.code is CODES.RESOURCE_EXHAUSTED
    for path in (f"/{SERVICE}/Nothing", "/segue.nobody.v1.Service/Nothing"):
        unknown = door.send(path, b"")
        assert isinstance(unknown, SegueError)
        assert unknown.code is CODES.UNIMPLEMENTED


def test_unsupported_options_are_refused_by_name(door: Door) -> None:
    model = door.refused(request(lambda r: setattr(r.spec, "model", "no-such-model")))
    assert (model.code, model.reason) == (CODES.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "sketch" in model.message
    tail = door.refused(request(lambda r: setattr(r.spec.brief, "continuity", music_pb2.CONTINUITY_TAIL)))
    assert (tail.code, tail.reason) == (CODES.INVALID_ARGUMENT, "OPTION_NOT_SUPPORTED")
    # The values of a caller's plan are checked now, and not when a section is rendered.
    for name, section in (
        ("continuity", music_pb2.SectionSpec(continuity=music_pb2.CONTINUITY_TAIL)),
        ("groove.name", music_pb2.SectionSpec(groove=music_pb2.Groove(name="bakbeat"))),
    ):
        asked = request(lambda r: r.spec.ClearField("brief"))
        plan = asked.spec.plan
        plan.quarters_per_minute, plan.metre.beats, plan.metre.unit = 100, 4, 4
        plan.key.tonic, plan.key.mode = "C", music_pb2.MODE_MAJOR
        section.section_id, section.role, section.bars = "a", music_pb2.ROLE_VERSE, 2
        plan.sections.add(spec=section)
        refused = door.refused(asked)
        assert (refused.code, refused.reason) == (CODES.INVALID_ARGUMENT, "INVALID_PLAN")
        assert [each.field for each in refused.violations] == [f"plan.sections[0].spec.{name}"]
    frozen = door.refused(request(lambda r: setattr(r.spec, "master_mode", spec_pb2.MASTER_MODE_FROZEN)))
    assert (frozen.code, frozen.reason) == (CODES.INVALID_ARGUMENT, "INVALID_FIELD")


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("GetComposition", composition_pb2.GetCompositionRequest(name="compositions/00000000")),
        ("CancelComposition", composition_pb2.CancelCompositionRequest(name="compositions/00000000")),
        ("DeleteComposition", composition_pb2.DeleteCompositionRequest(name="compositions/00000000")),
        ("GetAnalysis", analysis_pb2.GetAnalysisRequest(name="analyses/00000000")),
        ("CreateAnalysis", analysis_pb2.CreateAnalysisRequest(source="uploads/00000000")),
    ],
)
def test_unknown_names_are_not_found(door: Door, method: str, message: Message) -> None:
    assert door.refused(message, method).code is CODES.NOT_FOUND


@pytest.mark.parametrize("name", ["compositions/../../etc", "compositions/", "/etc/passwd", "compositions/a\x00b"])
def test_names_that_are_paths_are_refused(door: Door, name: str) -> None:
    assert (
        door.refused(composition_pb2.GetCompositionRequest(name=name), "GetComposition").code is CODES.INVALID_ARGUMENT
    )


def test_foreign_future_and_damaged_cursors_are_refused(door: Door) -> None:
    async def watch(name: str, cursor: str) -> SegueError:
        stub = cast("composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(door.channel))
        try:
            asked = stream_pb2.WatchCompositionRequest(name=name, cursor=cursor)
            async for _ in stub.WatchComposition(asked, timeout=10):
                pass
        except grpc.RpcError as error:
            return from_rpc_error(error)
        raise AssertionError

    async def first_cursor(name: str) -> str:
        stub = cast("composer_pb2_grpc.ComposerServiceAsyncStub", composer_pb2_grpc.ComposerServiceStub(door.channel))
        call = stub.WatchComposition(stream_pb2.WatchCompositionRequest(name=name), timeout=10)
        response = await call.read()
        call.cancel()
        assert isinstance(response, stream_pb2.WatchCompositionResponse)
        return response.cursor

    names, issued = [], []
    for seed in (1, 2):
        made = door.send(
            "CreateComposition", composition_pb2.CreateCompositionRequest(spec=spec(seed=seed)).SerializeToString()
        )
        assert isinstance(made, bytes)
        names.append(composition_pb2.CreateCompositionResponse.FromString(made).composition.name)
        issued.append(door.runner.run(first_cursor(names[-1])))
    # A cursor as release 0.1.0 made it: numbers that anybody could read and change, and a checksum.
    packed = struct.pack(">BIqII", 1, zlib.crc32(names[0].encode()), 1, 0, 0)
    of_0_1_0 = base64.urlsafe_b64encode(packed + struct.pack(">I", zlib.crc32(packed))).decode()
    raw = base64.urlsafe_b64decode(issued[0])
    altered = [bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]]) for place in range(0, len(raw), 5)]
    altered += [raw[:-1], raw + b"\0", raw[:16], bytes(len(raw)), bytes(300)]
    for cursor in (
        "AAAA",
        "💥",
        "=",
        issued[1],
        of_0_1_0,
        *(base64.urlsafe_b64encode(each).decode() for each in altered),
    ):
        answer = door.runner.run(watch(names[0], cursor))
        assert (answer.code, answer.reason) == (CODES.INVALID_ARGUMENT, "INVALID_CURSOR")


def unary_methods() -> list[tuple[str, type[Message]]]:
    methods = composer_pb2.DESCRIPTOR.services_by_name["ComposerService"].methods
    return [(method.name, GetMessageClass(method.input_type)) for method in methods if not method.server_streaming]


@given(method=st.sampled_from([name for name, _ in unary_methods()]), raw=st.binary(max_size=300))
@hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_give_unknown_or_internal(door: Door, method: str, raw: bytes) -> None:
    answer = door.send(method, raw)
    if isinstance(answer, SegueError):
        assert answer.code in ALLOWED, (answer.code, answer.message)


@given(data=st.data())
@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_field_values_give_unknown_or_internal(door: Door, data: st.DataObject) -> None:
    name, kind = data.draw(st.sampled_from(unary_methods()))
    message = kind()
    fill(message, data, depth=0)
    answer = door.send(name, message.SerializeToString())
    if isinstance(answer, SegueError):
        assert answer.code in ALLOWED | {CODES.UNIMPLEMENTED}, (answer.code, answer.message)
        assert len(answer.message) < 2000


def fill(message: Message, data: st.DataObject, depth: int) -> None:
    """Set some fields of a message to any value of their types."""
    for field in message.DESCRIPTOR.fields:
        if depth > 4 or not data.draw(st.integers(0, 2)):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            inner = getattr(message, field.name).add() if field.is_repeated else getattr(message, field.name)
            if not field.is_repeated:
                inner.SetInParent()
            fill(inner, data, depth + 1)
            continue
        value = data.draw(scalar(field))
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def scalar(field: Any) -> st.SearchStrategy[Any]:
    kinds: dict[int, st.SearchStrategy[Any]] = {
        field.CPPTYPE_STRING: st.binary(max_size=40) if field.type == field.TYPE_BYTES else st.text(max_size=40),
        field.CPPTYPE_BOOL: st.booleans(),
        field.CPPTYPE_DOUBLE: st.floats(),
        field.CPPTYPE_FLOAT: st.floats(width=32),
        field.CPPTYPE_ENUM: st.integers(0, 12),
        field.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
        field.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
        field.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
        field.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    }
    return kinds[field.cpp_type]


# Uploads.


def create_upload(door: Door, size: int) -> str:
    raw = files_pb2.CreateUploadRequest(media_type="audio/flac", size_bytes=size).SerializeToString()
    answer = door.send("CreateUpload", raw)
    assert isinstance(answer, bytes)
    return files_pb2.CreateUploadResponse.FromString(answer).upload.name


def piece(name: str, offset: int, content: bytes, *, crc: int | None = None) -> files_pb2.WriteUploadRequest:
    checksum = google_crc32c.value(content) if crc is None else crc
    return files_pb2.WriteUploadRequest(upload=name, offset=offset, data=content, crc32c=checksum)


def write(door: Door, name: str, offset: int, content: bytes) -> files_pb2.Upload:
    answer = door.send("WriteUpload", piece(name, offset, content).SerializeToString())
    assert isinstance(answer, bytes), answer
    return files_pb2.WriteUploadResponse.FromString(answer).upload


def test_an_upload_accepts_each_byte_once_and_in_order(door: Door) -> None:
    name = create_upload(door, 10)
    assert door.refused(piece(name, 0, b"abcd", crc=1), "WriteUpload").code is CODES.INVALID_ARGUMENT
    assert write(door, name, 0, b"abcd").offset == 4
    assert write(door, name, 0, b"abcd").offset == 4  # a client repeats the call when the answer was lost
    for offset, content in ((2, b"xxxx"), (5, b"efgh"), (4, b"efghijk"), (2**62, b"x")):
        answer = door.refused(piece(name, offset, content), "WriteUpload")
        assert (answer.code, answer.reason) == (CODES.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE")
        assert answer.metadata["size"] == "4"
    early = door.refused(files_pb2.FinishUploadRequest(upload=name), "FinishUpload")
    assert early.code is CODES.OUT_OF_RANGE
    assert door.refused(analysis_pb2.CreateAnalysisRequest(source=name), "CreateAnalysis").code is CODES.NOT_FOUND
    write(door, name, 4, b"efghij")
    wrong = door.refused(files_pb2.FinishUploadRequest(upload=name, sha256="0" * 64), "FinishUpload")
    assert (wrong.code, wrong.reason) == (CODES.DATA_LOSS, "ARTIFACT_CORRUPT")
    right = hashlib.sha256(b"abcdefghij").hexdigest()
    finish = files_pb2.FinishUploadRequest(upload=name, sha256=right)
    for _ in range(2):
        done = door.send("FinishUpload", finish.SerializeToString())
        assert isinstance(done, bytes)
        assert files_pb2.FinishUploadResponse.FromString(done).upload.sha256 == right
    late = door.refused(piece(name, 0, b"abcd"), "WriteUpload")
    assert (late.code, late.reason) == (CODES.FAILED_PRECONDITION, "UPLOAD_FINISHED")


def test_an_upload_beyond_the_quota_is_refused_before_a_byte_is_sent(door: Door) -> None:
    answer = door.refused(files_pb2.CreateUploadRequest(media_type="audio/flac", size_bytes=2**40), "CreateUpload")
    assert answer.code in {CODES.RESOURCE_EXHAUSTED, CODES.INVALID_ARGUMENT}
    missing = door.refused(piece("uploads/00000000", 0, b"x"), "WriteUpload")
    assert missing.code is CODES.NOT_FOUND
