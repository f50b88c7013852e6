"""The interceptor around every handler, driven through real channels and a real server."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.runtime.call_server import GOOD, NAME, Client, Seen, all_of, refused, running_server

from segue.audio.v1 import audio_pb2
from segue_runtime import errors, logs, scope
from segue_runtime.callers import OPERATOR_GRANTS
from segue_runtime.rpc import channels, interceptors
from segue_runtime.rpc import server as server_module
from segue_runtime.rpc.addresses import peer_of
from segue_runtime.rpc.admission import admission
from segue_runtime.rpc.admission.role_tokens import RoleAccess
from segue_runtime.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from segue_runtime.rpc.server import Server


async def test_all_four_kinds_pass_good_messages(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, _, _):
        assert await client.unary(GOOD) == GOOD
        assert len(await all_of(client.watch(GOOD))) == 3
        assert (await client.upload(iter([GOOD, GOOD]))).sample_rate == 96_000
        assert await all_of(client.both(iter([GOOD] * 5))) == [GOOD] * 5


async def test_a_broken_rule_is_named_with_a_valid_value_in_every_kind(tmp_path: Path) -> None:
    bad = audio_pb2.AudioFormat(sample_rate=200_000, channels=2, sample_format=9)  # type: ignore[arg-type] # on purpose
    async with running_server(tmp_path) as (client, _, _):
        for call in (
            client.unary(bad),
            all_of(client.watch(bad)),
            client.upload(iter([GOOD, bad])),
            all_of(client.both(iter([GOOD, bad]))),
        ):
            code, error, _ = await refused(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert isinstance(error, errors.InvalidField)
            rate, kind = error.violations
            assert (rate.field, rate.suggestion) == ("sample_rate", "192000")
            assert kind.suggestion.startswith("SAMPLE_FORMAT_F32LE")


async def test_a_call_without_its_message_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with running_server(tmp_path) as (client, seen, _):
        for path in (
            f"/{NAME}/Unary",
            f"/{NAME}/Watch",
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
        ):
            method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = client.channel.stream_stream(path)
            monkeypatch.setattr(interceptors, "FIRST_MESSAGE_S", 60.0)
            code, error, _ = await refused(all_of(method(iter([]), timeout=50)))
            assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
            # A call that stays open holds its place no longer than the bound.
            monkeypatch.setattr(interceptors, "FIRST_MESSAGE_S", 0.05)
            code, error, _ = await refused(all_of(method(never(), timeout=50)))
            assert (code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_REQUEST")
        assert not seen.scopes


async def test_a_refusal_waits_for_messages_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "READ_ON_S", 60.0)
    monkeypatch.setattr(interceptors, "PAUSE_S", 60.0)
    sent = 0

    async def requests() -> AsyncIterator[audio_pb2.AudioFormat | bytes]:
        nonlocal sent
        yield b"\xff"
        await asyncio.sleep(0.05)  # otherwise all may be sent before the refusal
        while sent < 100:
            sent += 1
            yield GOOD

    async with running_server(tmp_path) as (client, _, _):
        code, error, _ = await refused(all_of(client.both(requests())))
    assert (code, sent) == (grpc.StatusCode.INVALID_ARGUMENT, 100)
    assert isinstance(error, errors.MalformedRequest)


async def test_a_refusal_waits_only_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interceptors, "READ_ON_S", 1.0)

    async def requests(pause_s: float) -> AsyncIterator[audio_pb2.AudioFormat | bytes]:
        yield b"\xff"
        while True:
            await asyncio.sleep(pause_s)
            yield GOOD

    async with running_server(tmp_path) as (client, _, server):
        code, _, _ = await refused(all_of(client.both(requests(3600))))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        # A caller that never stops is cut off.
        with pytest.raises(grpc.aio.AioRpcError):
            await all_of(client.both(requests(0)))
        assert await server.calls.none(10)


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x08", b"\x0a\x05ab"])
async def test_bytes_that_are_no_message_are_malformed_in_every_kind(tmp_path: Path, raw: bytes) -> None:
    async with running_server(tmp_path) as (client, _, _):
        for call in (
            client.unary(raw),
            all_of(client.watch(raw)),
            client.upload(iter([GOOD, raw])),
            all_of(client.both(iter([GOOD, raw]))),
        ):
            code, error, _ = await refused(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert isinstance(error, errors.MalformedRequest)


@given(raw=st.binary(max_size=200))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_ok_or_invalid_argument(tmp_path: Path, raw: bytes) -> None:
    async def send() -> None:
        async with running_server(tmp_path) as (client, _, _):
            try:
                await client.unary(raw)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT  # noqa: PT017 - success is allowed too

    asyncio.run(send())


async def test_no_text_of_an_exception_reaches_the_client_but_the_log_has_it(tmp_path: Path) -> None:
    written = io.StringIO()
    logs.configure(LogSettings(level="info", format="json"), written)
    async with running_server(tmp_path) as (client, seen, _):
        seen.fail = lambda: RuntimeError("secret /path/to/key")
        for call in (client.unary(GOOD), all_of(client.watch(GOOD))):
            code, error, status = await refused(call)
            assert code is grpc.StatusCode.INTERNAL
            assert "secret" not in str(status)
            assert error.metadata["requestId"] in error.message
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    failures = [line for line in lines if line["event"] == "failed"]
    assert len(failures) == 2
    assert all("secret" in json.dumps(line) and line["request_id"] for line in failures)


async def test_segue_errors_keep_code_reason_and_retry(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, seen, _):
        seen.fail = lambda: errors.QueueFull("64 wait already", retry_after_s=5, metadata={"limit": "64"})
        code, error, _ = await refused(client.unary(GOOD))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(error, errors.QueueFull)
        assert (error.message, error.retry_after_s, error.metadata["limit"]) == ("64 wait already", 5, "64")


async def test_an_error_of_an_inner_call_becomes_a_segue_error(tmp_path: Path) -> None:
    trailers = grpc.aio.Metadata()
    inner = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), trailers, "10.1.1.1 refused")
    async with running_server(tmp_path) as (client, seen, _):
        seen.fail = lambda: inner
        code, error, status = await refused(client.unary(GOOD))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert isinstance(error, errors.ServiceUnreachable)
        assert "10.1.1.1" not in str(status)


async def test_request_ids_are_echoed_and_made_when_absent_or_unsafe(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, seen, _):
        for sent, kept in (("abc-1", True), (None, False), ("bad id", False), ("x" * 200, False)):
            call = client.unary(GOOD, metadata=((scope.REQUEST_ID_KEY, sent),) if sent else ())
            echoed = dict(await call.initial_metadata())[scope.REQUEST_ID_KEY]
            await call
            here = seen.scopes[-1]
            assert here is not None
            assert here.request_id == echoed
            assert (echoed == sent) is kept
            assert scope.ACCEPTABLE_ID.fullmatch(echoed)
        seen.fail = lambda: errors.QueueFull("full")
        _, error, _ = await refused(client.unary(GOOD, metadata=((scope.REQUEST_ID_KEY, "abc-2"),)))
        assert error.metadata["requestId"] == "abc-2"


async def test_onward_calls_carry_request_id_and_the_shorter_deadline(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, seen, _):
        scope.enter(scope.Scope("outer-7", deadline=None))
        await client.unary(GOOD)
        assert seen.scopes[-1] is not None
        assert seen.scopes[-1].request_id == "outer-7"
        assert seen.scopes[-1].deadline is None
        soon = asyncio.get_running_loop().time() + 5
        scope.enter(scope.Scope("outer-8", deadline=soon))
        await client.unary(GOOD, timeout=100)
        left_s = seen.scopes[-1].remaining_s()
        assert left_s is not None
        assert left_s < 6  # gRPC rounds a deadline up a little
        scope.enter(scope.Scope("outer-9", deadline=soon - 6))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await all_of(client.watch(audio_pb2.AudioFormat(sample_rate=48_000, channels=1)))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        scope.leave()


async def test_a_token_is_required_before_the_message_is_read_but_not_by_health(tmp_path: Path) -> None:
    async with running_server(tmp_path, token="open-sesame") as (client, _, server):
        for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "open-sesame"),)):
            for call in (client.unary(b"\xff", metadata=metadata), all_of(client.watch(GOOD, metadata=metadata))):
                code, error, _ = await refused(call)
                assert code is grpc.StatusCode.UNAUTHENTICATED
                assert isinstance(error, errors.Unauthenticated)
        assert await client.unary(GOOD, metadata=(("authorization", "Bearer open-sesame"),)) == GOOD
        async with channels.connect(server.addresses[0], RoleAccess(token="open-sesame")) as channel:
            assert await Client(channel).unary(GOOD) == GOOD
        health = health_pb2_grpc.HealthStub(client.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest(service=NAME))).status == 1


async def test_the_scope_knows_the_caller(tmp_path: Path) -> None:
    for token in ("", "open-sesame"):
        async with running_server(tmp_path, token=token) as (client, seen, _):
            await client.unary(GOOD, metadata=(("authorization", f"Bearer {token}"),))
            here = seen.scopes[-1]
            assert here is not None
            assert (here.owner, here.grants, here.peer) == ("local", OPERATOR_GRANTS, "127.0.0.1")


async def test_cancel_runs_finally_when_waiting_and_when_suspended_at_yield(tmp_path: Path) -> None:
    for waiting, error in ((1, "CancelledError"), (8, "GeneratorExit")):
        async with running_server(tmp_path) as (client, seen, server):
            call = client.watch(audio_pb2.AudioFormat(sample_rate=48_000, channels=waiting))
            for _ in range(3):
                await call.read()
            if waiting == 8:
                await stands_still(seen)
            call.cancel()
            await asyncio.wait_for(seen.finished.wait(), 10)
            assert seen.ended == [error, "finally"]
            assert await server.calls.none(10)
            assert num_ended(server, "CANCELLED") == 1


def num_ended(server: Server, code: str) -> float | None:
    labels = {"service": NAME, "method": "Watch", "code": code}
    return server.metrics.registry.get_sample_value("segue_rpc_handled_total", labels)


async def stands_still(seen: Seen) -> None:
    """Wait until the handler is suspended at its `yield`, because the reader does not read."""
    before = -1
    async with asyncio.timeout(20):
        while before != seen.num_sent or before == 0:
            before = seen.num_sent
            await asyncio.sleep(0.2)


async def test_a_deadline_is_counted_as_such(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, seen, server):
        waiting = audio_pb2.AudioFormat(sample_rate=48_000, channels=1)
        timeout_s = 0.3
        while not seen.started.is_set():  # on a busy machine the deadline may pass before the call arrives
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await all_of(client.watch(waiting, timeout=timeout_s))
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            timeout_s *= 4
        await asyncio.wait_for(seen.finished.wait(), 10)
        assert await server.calls.none(10)
        assert num_ended(server, "DEADLINE_EXCEEDED") == 1


async def test_stop_waits_for_the_finally_of_cancelled_handlers(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, seen, server):
        call = client.watch(audio_pb2.AudioFormat(sample_rate=48_000, channels=1))
        for _ in range(3):
            await call.read()
        assert await server.stop(0)
        assert seen.ended == ["CancelledError", "finally"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_and_messages_are_counted(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, _, server):
        await all_of(client.both(iter([GOOD] * 5)))
        await all_of(client.watch(GOOD))
        registry = server.metrics.registry
        labels = {"service": NAME, "method": "Both"}
        assert registry.get_sample_value("segue_rpc_msg_received_total", labels) == 5
        assert registry.get_sample_value("segue_rpc_msg_sent_total", labels) == 5
        assert registry.get_sample_value("segue_rpc_handled_total", labels | {"code": "OK"}) == 1
        assert registry.get_sample_value("segue_rpc_msg_sent_total", labels | {"method": "Watch"}) == 3


async def test_too_large_a_message_is_refused_by_size(tmp_path: Path) -> None:
    async with running_server(tmp_path) as (client, _, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.unary(bytes((1 << 20) + 1))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_connection_without_calls_is_closed_and_opens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_IDLE_S", 0.2)
    async with running_server(tmp_path) as (client, _, _):
        assert await client.unary(GOOD) == GOOD
        async with asyncio.timeout(60):
            while (state := client.channel.get_state()) is grpc.ChannelConnectivity.READY:
                await client.channel.wait_for_state_change(state)
        assert await client.unary(GOOD) == GOOD


async def test_an_old_connection_takes_no_new_calls_and_ends_no_open_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_AGE_S", 0.2)
    async with running_server(tmp_path) as (client, seen, _):
        watch = client.watch(audio_pb2.AudioFormat(sample_rate=48_000, channels=1))
        assert [await watch.read() for _ in range(3)]
        async with asyncio.timeout(60):
            while (state := client.channel.get_state()) is grpc.ChannelConnectivity.READY:
                await client.channel.wait_for_state_change(state)
        assert await client.unary(GOOD) == GOOD  # over a new connection
        assert not watch.done()
        assert seen.ended == []
        watch.cancel()


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("ipv4:192.0.2.7:50123", "192.0.2.7"),
        ("ipv6:%5B2001:db8:1:2::7%5D:50123", "2001:db8:1:2::/64"),
        ("ipv6:[::1]:50123", "::/64"),
        ("unix:/run/segue.sock", "unix"),
        ("unix:", "unix"),
    ],
)
def test_a_peer_is_a_host_or_a_network_without_its_port(address: str, peer: str) -> None:
    assert peer_of(address) == peer


async def test_a_stranger_guesses_slowly_and_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "SLOW_DOWN_S", 3600.0)
    async with running_server(tmp_path, "sesame", max_calls=1) as (client, _, _):
        wrong, right = (("authorization", "Bearer guess"),), (("authorization", "Bearer sesame"),)
        for _ in range(admission.FREE_FAILURES):
            code, _, _ = await refused(client.unary(GOOD, metadata=wrong))
            assert code is grpc.StatusCode.UNAUTHENTICATED
        held = client.unary(GOOD, metadata=wrong)
        # Calls without a token are no guesses; the right token is served at once, in the only place for a call.
        assert (await refused(client.unary(GOOD)))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert await client.unary(GOOD, metadata=right) == GOOD
        assert not held.done()
        held.cancel()


async def test_failures_are_remembered_of_a_bounded_number_of_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_PEERS", 10)
    failures = admission.TokenFailures()
    for number in range(1000):
        await failures.slow_down(f"192.0.2.{number}")
    assert failures.num_peers == 10
