"""A machine without Redis, RabbitMQ, Docker, Chromium, Node and other clients."""

from pathlib import Path

import pytest

from .conftest import PytestInItsOwnProcess, Run


@pytest.fixture
def bare_machine(own_pytest: PytestInItsOwnProcess, tmp_path: Path) -> PytestInItsOwnProcess:
    own_pytest.write(
        "conftest.py", "from support import programs\nprograms.OUT_OF_THE_WAY = ()\nprograms._OTHER_NAMES = {}\n"
    )
    own_pytest.write(
        "test_it.py",
        """
        def test_without_servers(): ...

        def test_with_a_cache(redis_url): ...

        def test_with_a_broker(amqp_url): ...

        def test_with_a_broker_of_its_own(own_rabbitmq): ...

        def test_with_a_browser(chromium, workspace): ...

        def test_with_another_language(node): ...

        def test_with_a_program_of_the_shell(curl): ...

        def test_with_languages_that_are_compiled(java, go): ...
        """,
    )
    return own_pytest


def start(machine: PytestInItsOwnProcess, *arguments: str) -> Run:
    return machine.start(*arguments, environment={"PATH": str(machine.folder)})


class TestMissingServers:
    @pytest.mark.parametrize(
        ("workers", "status"),
        [
            pytest.param("-n0", pytest.ExitCode.TESTS_FAILED, id="one-process"),
            pytest.param("-n2", pytest.ExitCode.INTERRUPTED, id="two-workers"),
        ],
    )
    def test_the_run_fails_at_once_and_says_what_to_install(
        self, bare_machine: PytestInItsOwnProcess, workers: str, status: pytest.ExitCode
    ) -> None:
        run = start(bare_machine, workers)
        said = run.output()
        assert run.status == status
        assert said.count("need rabbitmq-server and redis-server, and there is no Docker to run them in") == 1
        assert "apt-get install redis-server rabbitmq-server" in said
        assert said.count("need Chromium") == 1
        assert "apt-get install chromium" in said
        assert said.count("need Node 18 or newer and npm") == 1
        assert "apt-get install nodejs npm" in said
        assert said.count("need curl and go and javac") == 1
        assert "apt-get install curl golang-go default-jdk-headless" in said
        assert "passed" not in said
        assert "skipped" not in said

    def test_only_what_the_selected_tests_need_is_missed(self, bare_machine: PytestInItsOwnProcess) -> None:
        said = start(bare_machine, "-k", "cache").output()
        assert "need redis-server, and" in said
        assert "Chromium" not in said

    def test_unit_tests_run(self, bare_machine: PytestInItsOwnProcess) -> None:
        run = start(bare_machine, "-m", "not server")
        assert "1 passed, 7 deselected" in run.output()
        assert run.status == 0
