"""Tests can rely on signals, however the run was started."""

import pytest

from .conftest import PytestInItsOwnProcess

_ASK = "import signal; print(*(int(signal.getsignal(number) is signal.SIG_IGN) for number in (1, 2, 3, 15)))"


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_what_a_test_starts_ignores_nothing_that_the_run_was_started_to_ignore(
    own_pytest: PytestInItsOwnProcess, workers: str
) -> None:
    own_pytest.write(
        "test_it.py",
        f"""
        import os
        import signal
        import subprocess
        import sys

        def test_it():
            said = subprocess.run([sys.executable, "-c", {_ASK!r}], capture_output=True, text=True, check=True).stdout
            assert said == "0 0 0 0\\n"
            # The run itself goes on.
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
                os.kill(os.getpid(), number)
        """,
    )
    run = own_pytest.start(workers, started_by=("sh", "-c", 'trap "" HUP INT QUIT TERM; exec "$@"', "sh"))
    assert "1 passed" in run.output()
    assert run.status == 0
