"""The wrapper around every handler: parse, call, serialize, turn errors into statuses, log one line.

Handlers are registered as taking bytes, so that a request that does not parse is answered like any other bad request.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from tailrace.server.api import tracing
from tailrace.server.api.status import Trailers, code_and_reason, internal_trailers, message_of, trailers_of
from tailrace.server.api.violations import invalid
from tailrace.server.domain.errors import ServerDrainingError, StoreUnavailableError, TailraceError

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request", bound=Message)

_QUIET_LOOKS = 5
_LOOK_S = 0.05

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """A status other than OK."""

    code: grpc.StatusCode
    message: str
    trailers: Trailers
    crash: Exception | None = None
    """What nobody had thought of."""


class CallObserver(Protocol):
    """Somebody who counts calls."""

    def begin(self, method: str) -> None:
        """Hear that a call has begun; never waits."""

    def end(self, method: str, code: str, duration_s: float, *, is_stream: bool) -> None:
        """Hear that it has ended, and how; never waits."""


class OpenCalls:
    """The calls being served, so that a stopping server can refuse new ones and wait for the rest."""

    def __init__(self, observer: CallObserver | None = None) -> None:
        self.observer = observer
        """Is told of every call, of refused ones too."""
        self.draining = asyncio.Event()
        """Set once the server stops: streams say goodbye, long polls answer early, new calls are refused."""
        self._count = 0
        self._refused_count = 0
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __len__(self) -> int:
        """Count the calls being served."""
        return self._count

    def __enter__(self) -> None:
        """Begin a call.

        Raises:
            ServerDrainingError: No new calls are taken.
        """
        if self.draining.is_set():
            self._refused_count += 1
            raise ServerDrainingError
        self._count += 1
        self._none_left.clear()

    def __exit__(self, *_: object) -> None:
        """End a call."""
        self._count -= 1
        if not self._count:
            self._none_left.set()

    async def drain(self, grace_s: float) -> None:
        """Refuse new calls from now on and wait for the open ones, at most ``grace_s``."""
        self.draining.set()
        try:
            async with asyncio.timeout(grace_s):
                await self._none_left.wait()
        except TimeoutError:
            logger.warning("drain_cut_short", open_calls=self._count)

    async def refuse_rest(self, at_most_s: float) -> None:
        """Go on refusing until no call has come for a quarter of a second, at most ``at_most_s``.

        Several short looks instead of a long one: a loop that is behind, and has calls to take up yet, passes through
        all of them before this returns.
        """
        quiet_looks, seen = 0, self._refused_count
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while quiet_looks < _QUIET_LOOKS:
                    await asyncio.sleep(_LOOK_S)
                    quiet_looks = quiet_looks + 1 if self._refused_count == seen else 0
                    seen = self._refused_count


def generic_handler(service: ServiceDescriptor, servicer: object, calls: OpenCalls) -> grpc.GenericRpcHandler:
    """Wrap every method of a servicer, by the service's descriptor.

    Unary methods are ``async def method(request, context)`` and return the response; methods that answer with a stream
    take ``context`` and write to it; those that read a stream get each request with its size in bytes.
    """
    handlers = {
        method.name: _method_handler(method, getattr(servicer, method.name), calls) for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _method_handler(
    method: MethodDescriptor, behavior: Callable[..., Any], calls: OpenCalls
) -> "grpc.RpcMethodHandler[Any, Any]":
    is_stream = method.client_streaming or method.server_streaming
    served = _Method(name=f"{method.containing_service.full_name}/{method.name}", is_stream=is_stream, calls=calls)
    request_class = GetMessageClass(method.input_type)
    if method.client_streaming:
        return grpc.stream_stream_rpc_method_handler(_bidi(served, request_class, behavior))
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_server_stream(served, request_class, behavior))
    return grpc.unary_unary_rpc_method_handler(_unary(served, request_class, behavior))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """One method as it is served."""

    name: str
    is_stream: bool
    calls: OpenCalls


def _unary(
    method: _Method, request_class: type[Message], behavior: Callable[[Any, Context], Awaitable[Message]]
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def handle(raw: bytes, context: Context) -> bytes:
        async def answer() -> bytes:
            response = await behavior(parse(request_class, raw), context)
            return response.SerializeToString()

        response = await _guard(method, context, answer)
        assert response is not None, "a refused call was aborted"
        return response

    return handle


def _server_stream(
    method: _Method, request_class: type[Message], behavior: Callable[[Any, Context], Awaitable[None]]
) -> Callable[[bytes, Context], Awaitable[None]]:
    async def handle(raw: bytes, context: Context) -> None:
        async def answer() -> None:
            await behavior(parse(request_class, raw), context)

        await _guard(method, context, answer)

    return handle


def _bidi(
    method: _Method, request_class: type[Message], behavior: Callable[[AsyncIterator[Any], Context], Awaitable[None]]
) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
    async def handle(raws: AsyncIterator[bytes], context: Context) -> None:
        async def answer() -> None:
            await behavior(_parse_each(request_class, raws), context)

        await _guard(method, context, answer)

    return handle


async def _parse_each(request_class: type[Request], raws: AsyncIterator[bytes]) -> AsyncIterator[tuple[Request, int]]:
    async for raw in raws:
        yield parse(request_class, raw), len(raw)


def parse(request_class: type[Request], raw: bytes) -> Request:
    """Parse a request, without the fields that this server does not know: no limit holds for them.

    Raises:
        InvalidRequestError: The bytes are no such message.
    """
    try:
        request = request_class.FromString(raw)
    except DecodeError:
        raise invalid("request", f"is not a {request_class.DESCRIPTOR.full_name}") from None
    request.DiscardUnknownFields()
    return request


Answer = TypeVar("Answer")


async def _guard(method: _Method, context: Context, answer: Callable[[], Awaitable[Answer]]) -> Answer | None:
    """Run a call to its end: an answer, or a status that names the reason."""
    with tracing.serving(method.name, context.invocation_metadata) as note_end:
        return await _run_to_end(method, context, answer, note_end)


async def _run_to_end(
    method: _Method, context: Context, answer: Callable[[], Awaitable[Answer]], note_end: tracing.Ended
) -> Answer | None:
    began_at = time.perf_counter()
    code, crash = "CANCELLED", None
    if (observer := method.calls.observer) is not None:
        observer.begin(method.name)
    try:
        try:
            with method.calls:
                response = await answer()
                code = "OK"
                return response
        except TailraceError as error:
            refusal = _refusal_of(error)
        except asyncio.CancelledError:
            if _is_cancelled_by_peer():
                raise
            # A cancellation from inside would leave the caller without any status until its own deadline.
            refusal = _refusal_of(StoreUnavailableError("the call was interrupted; whether it took effect is unknown"))
        except Exception as error:  # noqa: BLE001 - logged in full; nothing of it may reach the caller
            refusal = _unexpected(method.name, error)
        code, crash = refusal.code.name, refusal.crash
        await context.abort(refusal.code, refusal.message, refusal.trailers)
    finally:
        duration_s = time.perf_counter() - began_at
        logger.info("call_finished", method=method.name, code=code, duration_ms=round(duration_s * 1e3, 2))
        if observer is not None:
            observer.end(method.name, code, duration_s, is_stream=method.is_stream)
        note_end(code, crash)
    return None


def _is_cancelled_by_peer() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refusal_of(error: TailraceError) -> _Refusal:
    return _Refusal(code=code_and_reason(error)[0], message=message_of(error), trailers=trailers_of(error))


def _unexpected(name: str, error: Exception) -> _Refusal:
    incident_id = secrets.token_hex(8)
    logger.error("call_crashed", method=name, incident_id=incident_id, exc_info=error)
    return _Refusal(
        code=grpc.StatusCode.INTERNAL,
        message=f"internal error, incident {incident_id}",
        trailers=internal_trailers(incident_id),
        crash=error,
    )
