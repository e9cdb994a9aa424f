from pathlib import Path

from support.workspace import Workspace


class TestAWorkspaceOnDisk:
    def test_has_its_data_where_they_outlive_the_machine_and_removes_them(self) -> None:
        workspace = Workspace(on_disk=True)
        folder = workspace.make_folder("data")
        assert folder.is_relative_to(Path("/var/tmp"))  # noqa: S108  # in a folder of its own
        workspace.close()
        assert not folder.exists()
