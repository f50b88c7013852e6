"""The interceptor around every handler: metrics, request id, caller, decoding, validation, and the status of errors.

gRPC decodes a request after its interceptors, and sends the text of any exception to the client. So the interceptor
takes over the decoder (`request_deserializer=None`) and maps its errors. It is one wrapper, not five, because each
layer of async generators costs time for every streamed message.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio

from segue_runtime import errors, logs, scope
from segue_runtime.accounting import audit
from segue_runtime.rpc import validation
from segue_runtime.rpc.addresses import peer_of
from segue_runtime.rpc.admission.admission import OPEN_SERVICES, STRANGER, Admission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from segue_runtime.accounting.traffic import TrafficMeter
    from segue_runtime.metrics import Metrics
    from segue_runtime.rpc.open_calls import OpenCalls

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

FIRST_MESSAGE_S = 60.0
"""The time for the message of a call that has one: it may have a megabyte, on a slow connection."""
READ_ON_S = 2.0
PAUSE_S = 1.0
"""A caller that sends nothing for this time is not in the middle of sending."""
POLLED = ("segue.renderer.v1.RendererService", "GetStatus")
"""Conductors call it every second: only a call that fails is worth a line of the log."""
log = logs.get("rpc")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps the handlers of one server."""

    def __init__(
        self,
        metrics: Metrics,
        calls: OpenCalls,
        admission: Admission | None = None,
        headers_first: frozenset[str] = frozenset(),
        traffic: TrafficMeter | None = None,
    ) -> None:
        self.headers_first = headers_first
        self._traffic = traffic
        self._metrics = metrics
        self._calls = calls
        self.admission = admission or Admission()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        service, _, method = handler_call_details.method.strip("/").rpartition("/")
        sent = dict(handler_call_details.invocation_metadata or ())
        call = Call(self, service, method, sent, handler)
        # All kinds are served as streams of requests: a refused call is answered before its message was read, so that
        # strangers hold no calls open; and grpc.aio never answers a call that should have one message and ends without.
        serialize = self._serializer(call, handler.response_serializer)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(call.stream, None, serialize)
        return grpc.stream_unary_rpc_method_handler(call.unary, None, serialize)

    def _serializer(self, call: Call, serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
        """Return what encodes the responses of a call; for users' calls it counts their bytes."""
        if serialize is None:
            return None
        encode, traffic = _unless_bytes(serialize), self._traffic
        if traffic is None or not self.admission.is_for_users(call.service):
            return encode

        def encode_counted(message: object) -> bytes:
            encoded = encode(message)
            traffic.count(call.owner, sent_bytes=len(encoded))
            return encoded

        return encode_counted

    def accepted(self, call: Call) -> None:
        """Count a call whose caller is known, if users call its service."""
        if self._traffic is not None and self.admission.is_for_users(call.service):
            self._traffic.count(call.owner, requests=1)

    def began(self, service: str, method: str) -> None:
        """Count the start of a call."""
        self._calls.enter()
        self._metrics.started.labels(service, method).inc()

    def ended(self, call: Call, code: str, seconds: float, messages: tuple[int, int]) -> None:
        """Count the end of a call and log it."""
        service, method = call.service, call.method
        self._calls.leave()
        self._metrics.ended.labels(service, method, code).inc()
        self._metrics.seconds.labels(service, method).observe(seconds)
        self._metrics.received.labels(service, method).inc(messages[0])
        self._metrics.sent.labels(service, method).inc(messages[1])
        is_routine = service in OPEN_SERVICES or ((service, method) == POLLED and code == "OK")
        write = log.debug if call.is_refused or is_routine else log.info
        fields = {"peer": call.peer, "owner": call.owner, "service": service, "method": method}
        write("call", **fields, code=code, seconds=round(seconds, 4))


def _unless_bytes(serialize: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Let handlers return encoded messages, which saves copies."""
    return lambda message: message if type(message) is bytes else serialize(message)


class Call:
    """One call from start to end."""

    def __init__(
        self,
        interceptor: CallInterceptor,
        service: str,
        method: str,
        metadata: Mapping[str, str | bytes],
        handler: Handler,
    ) -> None:
        self._interceptor = interceptor
        self.service = service
        self.method = method
        self._metadata = metadata
        self._caller = STRANGER
        self.peer = ""
        self.is_refused = False
        """Whether the caller is unknown, or may not call this method."""
        self._request_id = scope.accept_request_id(metadata.get(scope.REQUEST_ID_KEY))
        self._decode = handler.request_deserializer or bytes
        self._streams_in = handler.request_streaming
        self._streams_out = handler.response_streaming
        self._behaviour: Callable[..., Any] = (
            handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream  # type: ignore[assignment] # exactly one is set
        )
        self.num_received = 0
        self._num_sent = 0

    @property
    def owner(self) -> str:
        """The owner that the caller acts for; empty if the caller is unknown."""
        return self._caller.owner

    async def unary(self, requests: object, context: Context) -> object:
        """Serve a method with one response."""
        async with self._served(context):
            # Usually not earlier: a client retries an UNAVAILABLE call only before it has received headers.
            headers_first = self.service in self._interceptor.headers_first
            if headers_first:
                await context.send_initial_metadata(self._echo())
            response = await self._behaviour(await self._input(requests, context), context)
            if not headers_first:
                await context.send_initial_metadata(self._echo())
            self._num_sent += 1
        return response

    async def stream(self, requests: object, context: Context) -> AsyncIterator[object]:
        """Serve a method with many responses."""
        async with self._served(context):
            await context.send_initial_metadata(self._echo())
            given = await self._input(requests, context)
            responses = self._behaviour(given, context)
            if not hasattr(responses, "__aiter__"):
                await responses  # a handler that uses context.write, such as Watch of the health service
                return
            try:
                async for response in responses:
                    self._num_sent += 1
                    yield response
            except errors.SegueError:
                if isinstance(given, Requests):
                    await given.read_on()
                raise
            finally:
                # Without it, a suspended generator runs its `finally` only when it is garbage collected.
                await responses.aclose()

    async def _input(self, requests: Any, context: Context) -> object:
        if self._streams_in:
            return Requests(requests, self)
        try:
            async with asyncio.timeout(FIRST_MESSAGE_S):
                raw = cast("object", await context.read())
        except TimeoutError:
            raise errors.MalformedRequest(f"no message came within {FIRST_MESSAGE_S:g} s") from None
        if not isinstance(raw, bytes):  # the end of the stream
            raise errors.MalformedRequest("the call ended without a message; this method needs one")
        self.num_received += 1
        return self.parse(raw)

    def parse(self, raw: bytes) -> object:
        """Decode and check one message."""
        return validation.parse(self._decode, raw)

    def _echo(self) -> tuple[tuple[str, str], ...]:
        return ((scope.REQUEST_ID_KEY, self._request_id),)

    @asynccontextmanager
    async def _served(self, context: Context) -> AsyncIterator[None]:
        began = time.monotonic()
        code = "OK"
        self.peer = peer_of(context.peer())
        admission = self._interceptor.admission
        self._interceptor.began(self.service, self.method)
        left_s = context.time_remaining()
        # The stubs are wrong: without a deadline it is None.
        deadline = None if left_s is None else began + left_s  # pyright: ignore[reportUnnecessaryComparison]
        scope.enter(scope.Scope(self._request_id, deadline=deadline, peer=self.peer))
        is_admitted = False
        try:
            await self._authenticate(context)
            self._interceptor.accepted(self)
            scope.enter(scope.Scope(self._request_id, self.owner, deadline, self._caller.grants, self.peer))
            admission.count(self.owner, self.service)
            with admission.admitted(self.service, self.peer, is_stream=self._streams_out):
                is_admitted = True
                yield
            given = cast("object", context.code())  # None or a number too, whatever the stubs say
            code = given.name if isinstance(given, grpc.StatusCode) else code
        except (asyncio.CancelledError, GeneratorExit):
            # The context is unreliable here; only the clock distinguishes a deadline from a cancellation.
            code = "DEADLINE_EXCEEDED" if deadline is not None and time.monotonic() >= deadline else "CANCELLED"
            raise
        except grpc.aio.AbortError:
            code = _aborted_code(context)
            raise
        except Exception as error:  # noqa: BLE001 - the one place where every error gets its status
            failure = self._known(error)
            if isinstance(failure, errors.TooManyCalls):
                admission.refused(self.peer, self.owner, self.method, failure)
            if self.owner and not is_admitted:  # the handlers of changes write the lines of what they refuse
                audit.record("refuse", audit.Change(of=self.owner), method=self.method, result=failure.reason)
            code = failure.code.name
            await self._abort(context, failure)
        finally:
            self._interceptor.ended(self, code, time.monotonic() - began, (self.num_received, self._num_sent))

    async def _authenticate(self, context: Context) -> None:
        """Find out who calls; raise Unauthenticated, or PermissionDenied if the caller may not call this method."""
        admission = self._interceptor.admission
        try:
            self._caller = await admission.caller(self.service, self._metadata, context.auth_context)
            admission.check(self._caller, self.service, self.method)
        except errors.SegueError as refusal:
            self.is_refused = True
            admission.refused(self.peer, self.owner, self.method, refusal)
            if "authorization" in self._metadata and isinstance(refusal, errors.Unauthenticated):
                await admission.slow_down(self.peer)
            raise

    def _known(self, error: Exception) -> errors.SegueError:
        if isinstance(error, errors.SegueError):
            if isinstance(error, errors.InternalError):
                log.error("failed", method=self.method, exc_info=error)
            return error
        if isinstance(error, grpc.RpcError):
            return errors.from_rpc_error(error)
        if isinstance(error, NotImplementedError):
            # Generated servicers raise it for methods that the server does not implement.
            return errors.NotImplementedYet(f"{self.service}/{self.method} is not offered by this server")
        if errors.is_disk_full(error):
            return errors.StorageFull("the disk of temporary files is full")
        log.error("failed", service=self.service, method=self.method, exc_info=error)
        return errors.InternalError(f"internal error; the server's log has it under {self._request_id}")

    async def _abort(self, context: Context, failure: errors.SegueError) -> None:
        status = errors.to_status(failure, self._request_id)
        trailers = [*(context.trailing_metadata() or ()), *self._echo()]
        trailers.append((errors.DETAILS_KEY, status.SerializeToString()))
        await context.abort(failure.code, status.message, tuple(trailers))


def _aborted_code(context: Context) -> str:
    given = cast("object", context.code())
    return given.name if isinstance(given, grpc.StatusCode) else "UNKNOWN"


class Requests:
    """The messages of a client's stream, each decoded and validated."""

    def __init__(self, raw: AsyncIterator[bytes], call: Call) -> None:
        self._raw = raw
        self._call = call
        self._messages: AsyncIterator[bytes] | None = None
        self._is_reading = False

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> object:
        if self._messages is None:
            self._messages = self._raw.__aiter__()
        self._is_reading = True
        message = await self._messages.__anext__()
        self._is_reading = False
        self._call.num_received += 1
        return self._call.parse(message)

    async def read_on(self) -> None:
        """Read for a moment longer before a refusal is sent, if messages may still come.

        A grpc.aio client that writes to an ended stream reports INTERNAL instead of the status that it received.
        """
        if self._messages is None or self._is_reading:
            return  # no message was read, or a read was interrupted and cannot be resumed
        clock = asyncio.get_running_loop().time
        end = clock() + READ_ON_S
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_S) as pause:
                async for _ in self._messages:
                    pause.reschedule(min(end, clock() + PAUSE_S))
