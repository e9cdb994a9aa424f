"""What happens around every call: who is calling, what went wrong, how long it took."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, TypeAlias, cast

import grpc
from book_db.accounts.authentication import Authenticator, Caller
from grpc_status import rpc_status
from prometheus_client import Counter, Gauge, Histogram

from grpc_api.auth import authenticate
from grpc_api.errors import status_of
from grpc_api.limits import TooManyCalls
from grpc_api.metadata import first
from grpc_api.sending import end_with, write_all
from grpc_api.streams import Streams
from grpc_api.tracing import on_behalf_of
from grpc_api.unknown import refuse_what_is_unknown

_CALLS: Final = Histogram(
    "colophon_grpc_call_seconds",
    "Calls by method and status code",
    ["method", "code"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

# How long a stream lasted says when its caller went, and nothing of the service.
_STREAMS: Final = Gauge("colophon_grpc_streams", "Streams that are open, by method", ["method"])
_STREAMS_ENDED: Final = Counter(
    "colophon_grpc_streams_ended", "Streams that have ended, by method and status code", ["method", "code"]
)

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Guard:
    """Wraps every method once, when it is added to the server: an interceptor would run for each call.

    A method's handler may answer with a message, or with its bytes. The handler of a method that answers with a stream
    is an async generator of those, which is closed when the stream ends for any reason.
    """

    def __init__(self, authenticator: Authenticator | None, streams: Streams, most_calls: int = sys.maxsize) -> None:
        """Without ``authenticator``, everybody may call. ``most_calls`` may run at a time; streams do not count."""
        self._authenticator = authenticator
        self._streams = streams
        self._most_calls = most_calls
        self._calls = 0

    def around(self, server: grpc.aio.Server) -> "GuardedServer":
        """The server, as it is given to the generated functions that add services."""
        return GuardedServer(server, self._guard)

    def _guard(self, method: str, handler: _Handler) -> _Handler:
        return (self._guard_stream if handler.response_streaming else self._guard_call)(method, handler)

    def _guard_call(self, method: str, handler: _Handler) -> _Handler:
        handle, decode = handler.unary_unary, _decoder(handler)
        assert handle is not None, "the contract has no streams of requests"
        well = _CALLS.labels(method, "OK")

        async def guarded(request: bytes, context: Any) -> Any:
            began = time.perf_counter()
            self._calls += 1
            try:
                if self._calls > self._most_calls:
                    raise TooManyCalls(self._most_calls)
                if self._authenticator is not None:
                    await authenticate(context.invocation_metadata(), self._authenticator)
                # Here and not before this function, where grpcio would do it: a stranger cannot make us parse, and what
                # cannot be parsed is an error like the others.
                response = await handle(decode(request), context)
            except asyncio.CancelledError:
                _CALLS.labels(method, _reason_to_give_up(context)).observe(time.perf_counter() - began)
                raise
            except Exception as error:  # noqa: BLE001  # what leaves this function would reach the caller with its text
                status = _status_of(error, method, context)
                _CALLS.labels(method, status.code.name).observe(time.perf_counter() - began)
                await end_with(status, context)
            else:
                well.observe(time.perf_counter() - began)
                return response
            finally:
                self._calls -= 1

        return grpc.unary_unary_rpc_method_handler(guarded, response_serializer=_encoder(handler))

    def _guard_stream(self, method: str, handler: _Handler) -> _Handler:
        # grpcio's stubs know the blocking form of a handler alone.
        handle: Callable[[Any, Any], AsyncGenerator[Any, None]] | None = cast("Any", handler.unary_stream)
        decode = _decoder(handler)
        assert handle is not None, "the contract has no streams of requests"

        async def guarded(request: bytes, context: Any) -> None:
            async def authenticate_caller() -> Caller | None:
                if self._authenticator is None:
                    return None
                return await authenticate(context.invocation_metadata(), self._authenticator)

            code = "UNKNOWN"
            _STREAMS.labels(method).inc()
            try:
                async with self._streams.open(authenticate_caller):
                    await write_all(handle(decode(request), context), context)
            except asyncio.CancelledError:
                code = _reason_to_give_up(context)
                raise
            except Exception as error:  # noqa: BLE001  # as above
                status = _status_of(error, method, context)
                code = status.code.name
                await end_with(status, context)
            else:
                code = "OK"
            finally:
                _STREAMS.labels(method).dec()
                _STREAMS_ENDED.labels(method, code).inc()

        return grpc.unary_stream_rpc_method_handler(guarded, response_serializer=_encoder(handler))


class GuardedServer:
    """A server that guards each method that is added to it."""

    def __init__(self, server: grpc.aio.Server, guard: Callable[[str, _Handler], _Handler]) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Takes no notice of them: the same methods are registered as well."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, _Handler]) -> None:
        guarded = {name: self._guard(f"/{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, guarded)


def _decoder(handler: _Handler) -> Callable[[bytes], Any]:
    parse = handler.request_deserializer
    assert parse is not None

    def decoded(request: bytes) -> Any:
        message = parse(request)
        refuse_what_is_unknown(message)
        return message

    return decoded


def _encoder(handler: _Handler) -> Callable[[Any], bytes]:
    encode = handler.response_serializer
    assert encode is not None
    return lambda message: message if isinstance(message, bytes) else encode(message)


def _status_of(error: Exception, method: str, context: Any) -> Any:
    with on_behalf_of(first(context.invocation_metadata(), "traceparent")):
        return rpc_status.to_status(status_of(error, method))


def _reason_to_give_up(context: Any) -> str:
    """Why grpcio has cancelled a call: its time is over, or its caller has cancelled it or is gone."""
    return "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
