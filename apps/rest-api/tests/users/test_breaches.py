"""Passwords that were found in stolen data: whoever knows them is outside of the system, and respx in its place."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from hashlib import sha1

import httpx
import pytest
import respx
from rest_api.settings import RestSettings
from rest_api.users import breaches as breaches_module
from rest_api.users.breaches import Breaches, open_breaches
from structlog.testing import capture_logs
from support.people import PASSWORD, Person
from support.waiting import patiently

URL = "https://breaches.example.org/range"
STOLEN = "staple battery horse"
DIGEST = sha1(STOLEN.encode(), usedforsecurity=False).hexdigest().upper()
PREFIX, REST = DIGEST[:5], DIGEST[5:]
OTHERS = "0018A45C4D1DEF81644B54AB7F969B88D65:10\r\n00D4F6E8FA6EECAD2A3AA415EEC418D38EC:2"


@pytest.fixture
def api() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=URL) as router:
        yield router


@pytest.fixture
async def breaches() -> AsyncIterator[Breaches]:
    async with open_breaches(URL) as breaches:
        yield breaches


class TestTheRangeApi:
    async def test_is_told_five_digits_and_nothing_else(self, api: respx.MockRouter, breaches: Breaches) -> None:
        api.get(f"/{PREFIX}").respond(text=f"{OTHERS}\r\n{REST}:3")
        assert await breaches.have(STOLEN)
        [call] = api.calls
        assert call.request.url == f"{URL}/{PREFIX}"
        assert call.request.headers["add-padding"] == "true"
        assert call.request.content == b""

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(OTHERS, id="others"),
            pytest.param("", id="nothing"),
            pytest.param(f"{REST}:0", id="padding"),
            pytest.param(REST, id="no-number"),
            pytest.param("<html>", id="no-answer-of-it"),
        ],
    )
    async def test_that_does_not_name_it_lets_it_through(
        self, api: respx.MockRouter, breaches: Breaches, text: str
    ) -> None:
        api.get(f"/{PREFIX}").respond(text=text)
        assert not await breaches.have(STOLEN)

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(httpx.Response(503), id="error"),
            pytest.param(httpx.Response(302, headers={"location": "https://elsewhere.example.org"}), id="elsewhere"),
            pytest.param(httpx.ConnectError("away"), id="away"),
            pytest.param(httpx.ReadTimeout("slow"), id="slow"),
        ],
    )
    async def test_that_does_not_answer_lets_it_through_and_the_log_says_so(
        self, api: respx.MockRouter, breaches: Breaches, answer: httpx.Response | Exception
    ) -> None:
        api.get(f"/{PREFIX}").mock(side_effect=[answer])
        with capture_logs() as lines:
            assert not await breaches.have(STOLEN)
        assert [line["log_level"] for line in lines] == ["warning"]
        assert STOLEN not in str(lines)

    async def test_that_drips_is_waited_for_no_longer_than_a_second(
        self, breaches: Breaches, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert breaches_module.TIMEOUT_SECONDS == 1.0
        monkeypatch.setattr(breaches_module, "TIMEOUT_SECONDS", 0.05)

        asked = asyncio.Event()

        async def never(_: httpx.Request) -> httpx.Response:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        with respx.mock(base_url=URL, assert_all_called=False) as router:  # respx counts those that were answered
            router.get(f"/{PREFIX}").mock(side_effect=never)
            assert not await patiently(breaches.have(STOLEN), "it is given up")
        assert asked.is_set()


class TestPasswords:
    @pytest.fixture
    def rest_settings(self, rest_settings: RestSettings) -> RestSettings:
        return rest_settings.model_copy(update={"breached_passwords_url": URL})

    @pytest.mark.usefixtures("quick_hashing")
    async def test_that_were_found_in_stolen_data_are_refused_wherever_one_is_chosen(
        self, anonymous: httpx.AsyncClient, api: respx.MockRouter
    ) -> None:
        api.get(f"/{PREFIX}").respond(text=f"{REST}:3")
        api.route().respond(text=OTHERS)
        ada = await Person.register(anonymous)
        await ada.sign_in()
        register = {"email": "eve@example.org", "password": STOLEN}
        answers = [
            await anonymous.post("/api/v1/auth/register", json=register),
            await ada.call("PATCH", "/users/me", json={"password": STOLEN, "current_password": PASSWORD}),
        ]
        for answer in answers:
            assert answer.status_code == 422
            assert answer.json()["errors"] == [
                {"pointer": "/password", "detail": "must not be one that was found in stolen data"}
            ]

    @pytest.mark.usefixtures("quick_hashing")
    async def test_are_asked_about_when_they_are_chosen_and_not_when_they_are_compared(
        self, anonymous: httpx.AsyncClient, api: respx.MockRouter
    ) -> None:
        api.route().respond(text=OTHERS)
        ada = await Person.register(anonymous)
        assert len(api.calls) == 1
        await ada.sign_in()
        assert len(api.calls) == 1


class TestNobody:
    async def test_is_asked_unless_it_is_configured(self, rest_settings: RestSettings) -> None:
        assert rest_settings.breached_passwords_url is None
        async with open_breaches(None) as breaches:
            assert not await breaches.have(STOLEN)
