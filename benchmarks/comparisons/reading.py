"""REST's reads against an endpoint that does nothing but answer, on the same server with the same options."""

from collections.abc import Iterator

from support.services import RestApi

from benchmarks.bench import Bench
from benchmarks.catalogue import LATE, page_after
from benchmarks.load import RedisItself
from benchmarks.measuring import Comparison, Measurement

_REDIS_REQUESTS = 20_000
"""For each second of a round: Redis does several times as many."""


def gets(bench: Bench) -> Iterator[Measurement]:
    """A thousand books are asked for in turn, so that hardly ever two connections ask for the same one."""
    book = bench.answer("/books/1")
    hit = {"If-None-Match": book.headers["ETag"]}  # all are at their first version
    constant = "constant FastAPI endpoint"
    with bench.constant(book.content) as of_book:
        cached = bench.reading(bench.rest)
        yield Comparison("GET a book, cached", constant, 0.70, cached, of_book, bench.rest)
        with RestApi(bench.workspace, bench.catalogue.without_cache()) as uncached:
            stored = bench.reading(uncached)
            yield Comparison("GET a book, from PostgreSQL", constant, 0.50, stored, of_book, uncached)
        matching = bench.reading(bench.rest, hit, status=304)
        yield Comparison("GET a book, If-None-Match hit", constant, 0.75, matching, of_book, bench.rest)
        redis = RedisItself(bench.catalogue.redis.port, len(book.content), round(_REDIS_REQUESTS * bench.size.seconds))
        yield Comparison("GET a book, cached", "redis-benchmark, GET", None, cached, redis, bench.rest)


def lists(bench: Bench) -> Iterator[Measurement]:
    """The first page is what most readers ask for, many of them at once. So it is asked for again and again, and so is
    the thousandth; where a service gives several who ask the same at once one answer, these rows show it. In the last
    row nobody asks what anybody else is asking.
    """
    same = "constant endpoint, same bytes"
    late = page_after(bench.catalogue.before_page(LATE))
    in_turn = bench.catalogue.pages(bench.size.pages)
    with bench.constant(bench.answer(f"/books?{late}").content) as of_page:
        for what, pages in (
            ("list of 100, first page", [page_after(0)]),
            ("list of 100, thousandth page", [late]),
            ("list of 100, a thousand pages in turn", in_turn),
        ):
            yield Comparison(what, same, 0.35, bench.listing(bench.rest, pages), of_page, bench.rest)
