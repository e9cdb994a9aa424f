"""Whoever leaves something open fails itself, by name."""

import re

import pytest

from .conftest import PytestInItsOwnProcess

pytestmark = pytest.mark.server  # one of the tests inside starts a server


def test_a_test_that_leaves_something_open_fails_and_no_other(own_pytest: PytestInItsOwnProcess) -> None:
    own_pytest.write(
        "test_it.py",
        """
        import asyncio
        import subprocess
        import time
        from support.redis import RedisServer

        PROCESSES = []

        class Ring:
            def __init__(self, thing):
                self.itself, self.thing = self, thing

        def test_with_a_file():
            open(__file__)

        def test_with_a_file_in_a_ring():
            Ring(open(__file__))

        def test_with_a_coroutine_in_a_ring():
            Ring(asyncio.sleep(1))

        def test_between_them(): ...

        def test_with_a_process():
            PROCESSES.append(subprocess.Popen(["sleep", "60"]))

        def test_with_a_process_that_has_ended():
            PROCESSES.append(subprocess.Popen(["true"]))
            time.sleep(0.1)

        def test_with_a_server(workspace):
            RedisServer(workspace).start()

        def test_at_the_end():
            for process in PROCESSES:
                process.kill()
                process.wait()
        """,
    )
    output = own_pytest.start("-rfE").output()
    complaints = dict(re.findall(r"^(?:FAILED|ERROR) test_it.py::test_(\w+) - (.*)$", output, re.MULTILINE))
    assert complaints.keys() == {
        "with_a_file",
        "with_a_file_in_a_ring",
        "with_a_coroutine_in_a_ring",
        "with_a_process",
        "with_a_process_that_has_ended",
        "with_a_server",
    }
    for said in (
        "unclosed file <_io.",
        "coroutine 'sleep' was never awaited",
        "sleep 60",
        "which was not waited for",
        "redis-server",
    ):
        assert said in output


def test_what_many_tests_share_is_left_by_none_of_them(own_pytest: PytestInItsOwnProcess) -> None:
    own_pytest.write(
        "test_it.py",
        """
        import subprocess
        import pytest
        from support.redis import RedisServer

        def process():
            with subprocess.Popen(["sleep", "60"]) as process:
                yield process
                process.kill()

        of_the_module = pytest.fixture(scope="module")(process)
        of_the_session = pytest.fixture(scope="session")(process)

        @pytest.fixture(scope="module")
        def server(workspace):
            with RedisServer(workspace) as server:
                yield server

        def test_first(of_the_module, of_the_session): ...

        def test_that_starts_it_again(server):
            server.kill()
            server.start()

        def test_last(of_the_module, of_the_session, server): ...
        """,
    )
    run = own_pytest.start()
    assert "3 passed" in run.output()
    assert run.status == 0
