"""The whole system in containers, for the tests of this folder."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

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


@pytest.fixture(scope="session")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The unchanged compose file, brought up for these tests alone and taken down after them, however they end."""
    passwords = {name: secrets.token_hex(16) for name in ("POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "REDIS_PASSWORD")}
    ports = {"REST_PORT": str(free_port()), "GRPC_PORT": str(free_port())}
    system = System(f"colophon-test-{os.getpid()}", {**ports, **passwords}, tmp_path_factory.mktemp("compose"))
    failed_before = request.session.testsfailed
    with _taken_down(system):
        try:
            system.up()
            yield Running(system, int(ports["REST_PORT"]), int(ports["GRPC_PORT"]), passwords)
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
