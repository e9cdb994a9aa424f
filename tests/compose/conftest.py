"""The whole system in containers, for the tests of this folder."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.compose import NoDocker, Running, System, require_docker
from support.ports import free_port


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves these tests to `make test-compose`, which asks for them by their marker: they need Docker and minutes."""
    if "compose" in config.option.markexpr:
        return
    of_compose = [item for item in items if item.get_closest_marker("compose")]
    if of_compose:
        config.hook.pytest_deselected(items=of_compose)
        items[:] = [item for item in items if item not in of_compose]


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(item.get_closest_marker("compose") for item in session.items):
        try:
            require_docker()
        except NoDocker as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The unchanged compose file, brought up for the tests of a module and taken down after them, however they end."""
    with _brought_up(request, tmp_path_factory.mktemp("compose"), "REST_PORT", "GRPC_PORT") as running:
        yield running


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same with the profile `cluster`, reached through nginx."""
    folder, ports = tmp_path_factory.mktemp("cluster"), ("NGINX_REST_PORT", "NGINX_GRPC_PORT")
    with _brought_up(request, folder, *ports, profile="cluster") as running:
        yield running


@contextmanager
def _brought_up(
    request: pytest.FixtureRequest, folder: Path, rest: str, grpc: str, profile: str | None = None
) -> Iterator[Running]:
    """`rest` and `grpc` are the settings for the ports that are told."""
    roles = ("SETUP", "REST", "RELAY", "GRPC")
    secret = (
        "POSTGRES_PASSWORD",
        "RABBITMQ_PASSWORD",
        "REDIS_PASSWORD",
        *(f"POSTGRES_{role}_PASSWORD" for role in roles),
    )
    passwords = {name: secrets.token_hex(16) for name in secret}
    ports = {name: free_port() for name in {"REST_PORT", "GRPC_PORT", rest, grpc}}
    settings = passwords | {name: str(port) for name, port in ports.items()}
    system = System(f"colophon-test-{os.getpid()}", settings, folder, profile=profile)
    failed_before = request.session.testsfailed
    with _taken_down(system):
        try:
            system.up()
            yield Running(system, ports[rest], ports[grpc], passwords)
        except BaseException:
            _show(system, request.config)
            raise
        if request.session.testsfailed > failed_before:
            _show(system, request.config)


@contextmanager
def _taken_down(system: System) -> Iterator[None]:
    try:
        yield
    finally:
        system.down()
    assert system.leftovers() == []


def _show(system: System, config: pytest.Config) -> None:
    # Not captured: pytest would keep it to itself, as what the last test printed, which may have passed.
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{system.compose('ps')}\n{system.compose('logs', '--no-color', '--tail=200')}")
