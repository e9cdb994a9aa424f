import socket

import pytest
from support import ports
from support.ports import free_port


class TestFreePort:
    def test_it_can_be_listened_on(self) -> None:
        with socket.create_server(("127.0.0.1", free_port())):
            pass

    def test_it_is_given_once(self) -> None:
        given = [free_port() for _ in range(100)]
        assert len(set(given)) == 100

    def test_it_is_none_that_somebody_listens_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        free, taken = free_port(), free_port()
        monkeypatch.setattr(ports, "_left", [free, taken])
        with socket.create_server(("127.0.0.1", taken)):
            assert free_port() == free

    def test_outgoing_connections_never_get_it_as_their_own_port(self) -> None:
        assert all(20_000 <= free_port() < 30_000 for _ in range(100))

    def test_another_process_is_given_none_of_the_same_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first = free_port() // 100 * 100
        monkeypatch.setattr(ports, "_BLOCKS", range(first, first + 100, 100))
        monkeypatch.setattr(ports, "_left", [])  # as in a process that has been given nothing yet
        with pytest.raises(RuntimeError, match="is taken"):
            free_port()
