"""However a test run ends, its servers and its files end with it."""

import signal
import subprocess
from pathlib import Path

import pytest
from support.waiting import wait_until

from .conftest import PytestInItsOwnProcess

pytestmark = pytest.mark.server  # the runs inside start them all

# Every kind of server runs; the broker is still booting, which is the worst moment.
_TESTS = """
    import os
    import signal
    import time
    from pathlib import Path

    def test_with_servers(private_servers, postgresql, redis_url):
        private_servers.rabbitmq
        workspace = private_servers.workspace
        Path("folders").write_text("\\n".join({{str(workspace.folder), str(workspace.data_folder)}}))
        Path("groups").write_text("\\n".join(str(process.pid) for process in workspace.processes))
        Path("ready").touch()
        {ending}
"""


class TestEndOfRun:
    @pytest.mark.parametrize(
        ("ending", "status"),
        [
            pytest.param("assert False", 1, id="red"),
            pytest.param("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, id="killed"),
        ],
    )
    def test_nothing_is_left(self, own_pytest: PytestInItsOwnProcess, ending: str, status: int) -> None:
        own_pytest.write("test_it.py", _TESTS.format(ending=ending))
        run = own_pytest.start()
        said = run.output()
        assert run.status == status, said
        _assert_nothing_left(own_pytest.folder)

    def test_nothing_is_left_after_ctrl_c(self, own_pytest: PytestInItsOwnProcess) -> None:
        own_pytest.write("test_it.py", _TESTS.format(ending="time.sleep(600)"))
        run = own_pytest.start()
        wait_until((own_pytest.folder / "ready").exists, "the test inside runs")
        run.interrupt()
        assert "KeyboardInterrupt" in run.output()
        assert run.status == pytest.ExitCode.INTERRUPTED
        _assert_nothing_left(own_pytest.folder)


def _assert_nothing_left(of: Path) -> None:
    folders = (of / "folders").read_text().splitlines()
    groups = (of / "groups").read_text().splitlines()
    assert len(groups) == 4, "postgres, redis, epmd and rabbitmq"
    # After SIGKILL the reaper works on when pytest is gone already.
    wait_until(lambda: not any(Path(folder).exists() for folder in folders), "the folders of the run are gone")
    left = [line for line in _processes() if line.split()[0] in groups or any(folder in line for folder in folders)]
    assert left == []


def _processes() -> list[str]:
    """All processes that are not zombies, each as its group, its state and its command."""
    listed = subprocess.run(["ps", "-Ao", "pgid=,stat=,args="], check=True, capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if not line.split()[1].startswith("Z")]
