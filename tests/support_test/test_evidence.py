"""A failure says enough: the logs of what the test used are kept, and it says where."""

import re
from pathlib import Path

import pytest

from .conftest import PytestInItsOwnProcess

_TESTS = """
    import sys
    import psycopg
    import pytest
    from support.server import Server

    class Talkative(Server):
        name = "talkative"

        def _spawn(self):
            command = [sys.executable, "-c", "import time; print(*range(100), sep='\\\\n', flush=True); time.sleep(60)"]
            return self.workspace.spawn(command, log=self.log, cwd=self.folder)

        def _answers(self):
            return "99" in self.log.read_text()

    def ask(url, question):
        with psycopg.connect(url) as connection:
            connection.execute(question)

    def test_that_passes(database_url):
        with pytest.raises(psycopg.Error):
            ask(database_url, "SELECT the_question_of_another_test")

    @pytest.mark.parametrize("name", ["a/b c"])
    def test_that_fails(database_url, workspace, name):
        with Talkative(workspace):
            ask(database_url, "SELECT what_is_not_there")
"""


@pytest.mark.server
@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_servers_said_is_kept_and_the_failure_says_where(own_pytest: PytestInItsOwnProcess, workers: str) -> None:
    own_pytest.write("test_it.py", _TESTS)
    output = own_pytest.start(workers).output()
    assert "1 failed, 1 passed" in output
    places = {Path(place).name.split("-")[0]: Path(place) for place in re.findall(r"whole in (.*?\.log)", output)}
    assert places.keys() == {"postgresql", "talkative"}
    assert 'column "what_is_not_there" does not exist' in output
    assert 'column "what_is_not_there" does not exist' in places["postgresql"].read_text()
    assert "the_question_of_another_test" not in places["postgresql"].read_text()
    assert places["talkative"].read_text().split() == [str(number) for number in range(100)]
    # The end of it is in the report.
    assert "\n80\n" in output
    assert "\n79\n" not in output


@pytest.mark.server
def test_what_was_kept_by_the_run_before_is_gone(own_pytest: PytestInItsOwnProcess) -> None:
    kept = own_pytest.folder / ".test-logs" / "of-a-test" / "server.log"
    kept.parent.mkdir(parents=True)
    kept.touch()
    own_pytest.write("test_it.py", "def test_it(): ...")
    assert "1 passed" in own_pytest.start().output()
    assert not kept.exists()
