"""gRPC against a handler of bytes, and against pages from memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
from books.v1.book_service_pb2 import GetBookRequest, ListBooksRequest
from google.protobuf.message import Message
from support.services import GrpcApi

from benchmarks.bench import Bench
from benchmarks.catalogue import LATE, PAGE, token_after
from benchmarks.load import CONNECTIONS, Grpc
from benchmarks.measuring import Comparison, Measurement
from benchmarks.programs import Baseline


def calls(bench: Bench) -> Iterator[Measurement]:
    """Each connection asks for another book. The pages are those of REST's lists: the first and the thousandth for all,
    and in the last row each connection asks for another one.
    """
    with GrpcApi(bench.workspace, bench.catalogue.environment) as service:
        books = bench.catalogue.some(CONNECTIONS)
        gets = [GetBookRequest(id=book_id) for book_id in books]
        with _compared(bench, service, "GetBook", gets, "raw_grpc") as (target, baseline):
            yield Comparison("GetBook over gRPC", "raw grpc.aio handler", 0.80, target, baseline, service)
        against = "protobuf server answering from memory"
        starts = [book_id for book_id in bench.catalogue.some(CONNECTIONS) if book_id <= bench.catalogue.books - PAGE]
        for which, pages in (
            ("first page", [ListBooksRequest(page_size=PAGE)]),
            ("thousandth page", [_page_after(bench.catalogue.before_page(LATE))]),
            ("a page for each connection", list(map(_page_after, starts))),
        ):
            with _compared(bench, service, "ListBooks", pages, "grpc_from_memory") as (target, baseline):
                what = f"ListBooks of 100 over gRPC, {which}"
                yield Comparison(what, against, 0.60, target, baseline, service)


def _page_after(book_id: int) -> ListBooksRequest:
    return ListBooksRequest(page_size=PAGE, page_token=token_after(book_id))


@contextmanager
def _compared(
    bench: Bench, service: GrpcApi, name: str, requests: Sequence[Message], script: str
) -> Iterator[tuple[Grpc, Grpc]]:
    """The service, and the baseline that answers all of them as the service does the first, asked alike."""
    method = f"/books.v1.BookService/{name}"
    headers = {"authorization": f"Bearer {bench.token}"}
    folder = bench.workspace.make_folder("h2load")
    questions = _questions(folder, requests)
    answers = _answers(service.address, method, requests, headers)
    target = Grpc(service.address, method, questions, [_framed_length(answer) for answer in answers], folder, headers)
    with Baseline(bench.workspace, script, answers[0]) as server:
        [answer] = _answers(server.address, method, requests[:1], headers)
        lengths = [_framed_length(answer)] * len(questions)
        yield target, Grpc(server.address, method, questions, lengths, folder, headers)


def _questions(folder: Path, requests: Sequence[Message]) -> list[Path]:
    files = [folder / f"question-{number}" for number in range(len(requests))]
    for file, request in zip(files, requests, strict=True):
        file.write_bytes(_framed(request))
    return files


def _framed(request: Message) -> bytes:
    """As HTTP/2 carries it: not compressed, four bytes of length, the message."""
    message = request.SerializeToString()
    return b"\0" + len(message).to_bytes(4, "big") + message


def _framed_length(answer: bytes) -> int:
    return 1 + 4 + len(answer)


def _answers(address: str, method: str, requests: Sequence[Message], headers: dict[str, str]) -> list[bytes]:
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return [call(request.SerializeToString(), metadata=tuple(headers.items()), timeout=30) for request in requests]
