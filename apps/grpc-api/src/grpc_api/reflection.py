"""Server reflection, so that tools such as `buf curl` need no proto files."""

from collections.abc import Iterable
from typing import Final

import grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as V1ALPHA
from grpc_reflection.v1alpha.reflection import aio as reflection_aio
from grpc_reflection.v1alpha.reflection import enable_server_reflection

V1: Final = "grpc.reflection.v1.ServerReflection"


def add_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Tells of the services and of itself, in both versions.

    grpcio-reflection has v1alpha alone. v1 is the same on the wire under another name, and what newer tools ask first.
    """
    names = (*services, V1ALPHA)
    enable_server_reflection(names, server)
    answer = grpc.stream_stream_rpc_method_handler(
        reflection_aio.ReflectionServicer(names).ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": answer}),))
