"""How long answers take must not tell whether somebody has an account.

Hashing is what takes long, then the database, and a mail most of all. So what is counted is how much of each stands
between a question and its answer: seconds would say something of the machine.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import argon2
import httpx
import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters
from book_db.store import Store
from rest_api.users import passwords
from rest_api.users.services import AccountServices
from support.data_layer import statements_sent_to
from support.people import PASSWORD, Person, log_in
from support.waiting import PATIENCE, patience, until

pytestmark = pytest.mark.usefixtures("quick_hashing")


@contextmanager
def hashes_made() -> Iterator[list[Parameters]]:
    """What each hash in the block costs, be it made to be stored or to be compared."""
    costs: list[Parameters] = []
    compute = argon2.low_level.hash_secret, argon2.low_level.verify_secret

    def hash_secret(*args: object, **options: object) -> bytes:
        hashed: bytes = compute[0](*args, **options)  # type: ignore[arg-type]  # as they came
        costs.append(extract_parameters(hashed.decode()))
        return hashed

    def verify_secret(hashed: bytes, *args: object) -> bool:
        costs.append(extract_parameters(hashed.decode()))
        return compute[1](hashed, *args)  # type: ignore[arg-type]  # as they came

    with patch.multiple("argon2._password_hasher", hash_secret=hash_secret, verify_secret=verify_secret):
        yield costs


class TestLogin:
    async def test_takes_as_long_for_whoever_is_not_let_in(
        self, ada: Person, anonymous: httpx.AsyncClient, services: AccountServices, store: Store
    ) -> None:
        idle = await Person.register(anonymous)
        await services.users.change(idle.id, {"is_active": False}, decided_on={"id": idle.id})
        tries = {
            "wrong password": (ada.email, "correct horse batterz"),
            "unknown": ("nobody@example.org", PASSWORD),
            "deactivated": (idle.email, PASSWORD),
            "impossible password": (ada.email, "\0"),
        }
        for name, (email, password) in tries.items():
            with hashes_made() as hashes, statements_sent_to(store.database) as statements:
                assert (await log_in(anonymous, email, password)).status_code == 400
            # Looked for, and noted.
            assert (hashes, len(statements)) == ([passwords.COST], 2), name

    async def test_leaves_the_event_loop_free_for_others(
        self, ada: Person, anonymous: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        is_comparing, may_go_on = threading.Event(), threading.Event()
        verify = PasswordHasher.verify

        def verify_when_told(hasher: PasswordHasher, hashed: str, password: str) -> bool:
            is_comparing.set()
            assert may_go_on.wait(PATIENCE), "nobody else had a turn"
            return verify(hasher, hashed, password)

        monkeypatch.setattr(PasswordHasher, "verify", verify_when_told)
        signing_in = asyncio.create_task(log_in(anonymous, ada.email, PASSWORD))
        await until(is_comparing.is_set, "the password is compared")
        assert (await ada.call("GET", "/users/me")).status_code == 200
        may_go_on.set()
        assert (await signing_in).status_code == 200


class TestForgotPassword:
    async def test_takes_as_long_for_an_unknown_address(
        self,
        ada: Person,
        anonymous: httpx.AsyncClient,
        services: AccountServices,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        server_is_back = asyncio.Event()

        class Stuck:
            async def send(self, _letter: object) -> None:
                await server_is_back.wait()

        monkeypatch.setattr(services.manager._mail_queue, "_mailer", Stuck())
        for email in (ada.email, "nobody@example.org"):
            with hashes_made() as hashes, statements_sent_to(store.database) as statements:
                async with patience("there is an answer before a mail has left"):
                    answer = await anonymous.post("/api/v1/auth/forgot-password", json={"email": email})
            assert (answer.status_code, hashes, len(statements)) == (202, [], 2), email
        server_is_back.set()
