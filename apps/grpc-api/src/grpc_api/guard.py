"""What happens around every call: who is calling, what went wrong, how long it took."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
from book_db.callers import Callers
from grpc_status import rpc_status
from prometheus_client import Histogram

from grpc_api.auth import identify
from grpc_api.errors import status_of
from grpc_api.metadata import first
from grpc_api.tracing import on_behalf_of

_CALLS: Final = Histogram(
    "colophon_grpc_call_seconds",
    "Calls by method and status code",
    ["method", "code"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)

_OPEN: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.v1.", "/grpc.reflection.v1alpha.")
"""What anyone may call."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Guard(grpc.aio.ServerInterceptor):
    """One interceptor for all of it, which wraps each method once: a chain of them would cost a part of every call."""

    def __init__(self, callers: Callers | None) -> None:
        """Without ``callers``, everybody may call."""
        self._callers = callers
        self._guarded: dict[str, _Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["_Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = await continuation(handler_call_details)
        # A method that does not exist has no handler, and is not remembered: there are as many as a client invents.
        if handler is None or method.startswith(_OPEN):
            return handler
        self._guarded[method] = guarded = self._guard(method, handler)
        return guarded

    def _guard(self, method: str, handler: _Handler) -> _Handler:
        handle, decode, callers = handler.unary_unary, handler.request_deserializer, self._callers
        assert handle is not None, "the contract has unary calls only"
        assert decode is not None

        async def guarded(request: bytes, context: Any) -> Any:
            began = time.perf_counter()
            code = "CANCELLED"
            try:
                if callers is not None:
                    await identify(context.invocation_metadata(), callers)
                # Here and not before this function, where grpcio would do it: a stranger cannot make us parse, and what
                # cannot be parsed is an error like the others.
                response = await handle(decode(request), context)
            except Exception as error:  # noqa: BLE001  # what leaves this function would reach the caller with its text
                with on_behalf_of(first(context.invocation_metadata(), "traceparent")):
                    status = rpc_status.to_status(status_of(error, method))
                code = status.code.name
                await context.abort_with_status(status)
            else:
                code = "OK"
                return response
            finally:
                _CALLS.labels(method, code).observe(time.perf_counter() - began)

        return grpc.unary_unary_rpc_method_handler(guarded, response_serializer=handler.response_serializer)
