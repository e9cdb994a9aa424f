"""What an error of gRPC says beside its code."""

from typing import TypeVar

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

M = TypeVar("M", bound=Message)


def detail_of(error: grpc.aio.AioRpcError, kind: type[M]) -> M:
    """The first detail of a kind. There must be one."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has all that is read of a call
    assert status is not None, error
    detail = kind()
    assert any(each.Unpack(detail) for each in status.details), status
    return detail
