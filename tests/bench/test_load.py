"""What the programs that make load have said, read."""

import pytest

from benchmarks.load import (
    LoadFailed,
    rate_of_h2load,
    speed_of_redis,
    speed_of_wrk,
    times_of_h2load,
)
from benchmarks.pgbench import rate_of_pgbench, times_of_pgbench

H2LOAD = """\
starting benchmark...
Main benchmark duration is started for thread #0.
finished in 1.00s, 201.00 req/s, 27.01KB/s
requests: 201 total, 202 started, 201 done, {succeeded} succeeded, {failed} failed, 0 errored, 0 timeout
status codes: 202 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 27.01KB (27661) total, 1.84KB (1887) headers (space savings 93.12%), 20.22KB ({data}) data
"""

PGBENCH = """\
transaction type: two-rows.sql
number of clients: 8
number of transactions actually processed: 42012
number of failed transactions: {failed} ({failed}.000%)
latency average = 0.952 ms
tps = 8402.433591 (without initial connection time)
"""

REDIS = """\
"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"SET","75187.97","0.262","0.088","0.247","0.367","0.591","1.183"
"GET","81632.66","0.233","0.080","0.223","0.335","0.503","0.839"
"""


class TestWrk:
    def test_its_last_line_is_what_counts(self) -> None:
        said = 'Running 5s test\n{"answered": 25000, "seconds": 5.000000, "p99": 0.012500, "failed": 0, "example": 0}\n'
        speed = speed_of_wrk(said)
        assert (speed.rate, speed.p99) == (5_000, 0.0125)

    def test_an_answer_with_another_status_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed, match=r"wrk met .* 3 of 25000, with status 401"):
            speed_of_wrk('{"answered": 25000, "seconds": 5.0, "p99": 0.0125, "failed": 3, "example": 401}')

    def test_no_answer_at_all_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed):
            speed_of_wrk('{"answered": 0, "seconds": 5.0, "p99": 0.0, "failed": 0, "example": 0}')


class TestH2load:
    def test_its_rate_is_read(self) -> None:
        assert rate_of_h2load(H2LOAD.format(succeeded=201, failed=0, data=201 * 103), size=103) == 201

    def test_the_answer_that_was_on_its_way_at_the_end_is_no_fault(self) -> None:
        assert rate_of_h2load(H2LOAD.format(succeeded=201, failed=0, data=202 * 103), size=103) == 201

    def test_a_failed_call_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed):
            rate_of_h2load(H2LOAD.format(succeeded=200, failed=1, data=200 * 103), size=103)

    @pytest.mark.parametrize(
        "data", [pytest.param(0, id="errors-come-without-a-message"), pytest.param(150 * 103, id="some-do")]
    )
    def test_calls_without_their_answers_fail_the_round(self, data: int) -> None:
        # HTTP's status is 200 for them too.
        with pytest.raises(LoadFailed, match="103 bytes were wanted"):
            rate_of_h2load(H2LOAD.format(succeeded=201, failed=0, data=data), size=103)

    def test_something_else_than_its_output_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed):
            rate_of_h2load("h2load: unrecognized option", size=103)

    def test_its_log_has_microseconds_in_the_end(self) -> None:
        assert list(times_of_h2load("1764319441000000\t200\t1500\n1764319441001600\t200\t250\n")) == [0.0015, 0.00025]


class TestPgbench:
    def test_its_rate_is_read(self) -> None:
        assert rate_of_pgbench(PGBENCH.format(failed=0)) == pytest.approx(8402.43, abs=0.01)

    def test_a_failed_transaction_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed):
            rate_of_pgbench(PGBENCH.format(failed=1))

    def test_its_log_has_microseconds_in_the_third_column(self) -> None:
        assert list(times_of_pgbench("0 1 1200 0 1764319441 123\n7 2 800 0 1764319441 456\n")) == [0.0012, 0.0008]


class TestRedisBenchmark:
    def test_the_line_of_get_is_read(self) -> None:
        speed = speed_of_redis(REDIS)
        assert (speed.rate, speed.p99) == (81632.66, 0.000503)

    def test_no_such_line_fails_the_round(self) -> None:
        with pytest.raises(LoadFailed):
            speed_of_redis("Could not connect to Redis\n")
