"""The service that is examined, and who examines it."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from book_runtime.settings import load
from fastapi import FastAPI
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users import passwords
from rest_api.users.keys import make_key_pair
from schemathesis.python import asgi

from .examining import Examine, Examiner
from .generating import register_strategies


@pytest.fixture(scope="session", autouse=True)
def what_schemathesis_cannot_know() -> None:
    """Values that the document alone does not describe."""
    register_strategies()


@pytest.fixture
def app(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The service, started by the first request. Its hashes take a millisecond, as they are not what is examined."""
    monkeypatch.setattr(passwords, "COST", CHEAPEST)
    make_key_pair(tmp_path / "private.pem", tmp_path / "public.pem")
    yield create_app(
        load(
            RestSettings,
            database_url=database_url,
            jwt_private_key_file=tmp_path / "private.pem",
            redis_url=None,
            rate_limits="off",
        )
    )
    asgi.shutdown_lifespans()


@pytest.fixture
def examine(app: FastAPI, database_url: str, pytestconfig: pytest.Config) -> Examine:
    return Examiner(app, database_url, _seed(pytestconfig)).examine


def _seed(pytestconfig: pytest.Config) -> int | None:
    """The seed of `pytest --hypothesis-seed=...`; without one, every run does the same."""
    asked = pytestconfig.getoption("--hypothesis-seed")
    if asked is None:
        return None
    seed = random.getrandbits(32) if asked == "random" else int(asked)
    print(f"To do the same again: --hypothesis-seed={seed}")
    return seed
