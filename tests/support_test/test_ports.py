import socket

from support.ports import free_port


class TestFreePort:
    def test_it_can_be_listened_on(self) -> None:
        with socket.create_server(("127.0.0.1", free_port())):
            pass

    def test_it_is_given_once(self) -> None:
        ports = [free_port() for _ in range(100)]
        assert len(set(ports)) == 100

    def test_outgoing_connections_never_get_it_as_their_own_port(self) -> None:
        assert all(20_000 <= free_port() < 30_000 for _ in range(100))
