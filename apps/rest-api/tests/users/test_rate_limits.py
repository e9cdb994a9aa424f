"""How often somebody may try."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import redis as redis_client
from book_runtime.settings import SettingsError, load
from book_runtime.turns import Turns
from limits import parse
from limits.aio.storage import RedisStorage
from rest_api.app import create_app
from rest_api.settings import RestSettings
from rest_api.users import passwords, rate_counter
from rest_api.users.rate_counter import Exhausted, RateCounter
from rest_api.users.rate_limits import LimitSettings
from structlog.testing import capture_logs
from support.mailbox import Mailbox
from support.people import PASSWORD, Person, log_in
from support.redis import RedisServer
from support.waiting import PATIENCE, patience, until

Serve = Callable[..., AbstractAsyncContextManager[Callable[..., httpx.AsyncClient]]]

pytestmark = pytest.mark.usefixtures("quick_hashing")


@pytest.fixture
def serve(rest_settings: RestSettings) -> Serve:
    """Serves with other settings, and gives clients with other addresses."""

    @asynccontextmanager
    async def serving(**settings: object) -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
        app = create_app(rest_settings.model_copy(update=settings))

        def client(address: str = "192.0.2.1") -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 1))
            return httpx.AsyncClient(transport=transport, base_url="http://colophon")

        async with app.router.lifespan_context(app):
            yield client

    return serving


def is_refused(answer: httpx.Response) -> bool:
    """Whether it says so in full, or else lets through."""
    if answer.status_code != 429:
        return False
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:colophon:too-many-requests"
    assert int(answer.headers["retry-after"]) >= 1
    return True


async def refusals(calls: int, call: Callable[[], Any]) -> list[bool]:
    return [is_refused(await call()) for _ in range(calls)]


GONE = "outage of the counts in Redis: this process counts towards rate limits by itself"
BACK = "outage of the counts in Redis is over"

TOKEN = "x" * 40
NOBODY = "nobody@example.org"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "login": ("login", {"data": {"username": NOBODY, "password": PASSWORD}}),
    "register": ("register", {"json": {"email": NOBODY, "password": PASSWORD}}),
    "forgot-password": ("mail", {"json": {"email": NOBODY}}),
    "request-verify-token": ("mail", {"json": {"email": NOBODY}}),
    "reset-password": ("link", {"json": {"token": TOKEN, "password": PASSWORD}}),
    "verify": ("link", {"json": {"token": TOKEN, "current_password": PASSWORD}}),
}
each_endpoint = pytest.mark.parametrize("endpoint", [pytest.param(name, id=name) for name in CALLS])


SPELLINGS = {
    "capitals": "ANN@EXAMPLE.ORG",
    "a-mark-that-maps-to-nothing": "ann@exam\u034fple.org",
    "many-of-them": "ann@exam" + "\u034f" * 15 + "ple.org",
    "a-variation-selector": "ann@example\ufe0f.org",
    "an-ideographic-full-stop": "ann@example\u3002org",
    "letters-of-full-width": "ann@\uff45xample.org",
}
"""Ways to write one address that all find its account."""


class TestPerAddress:
    @each_endpoint
    async def test_the_fourth_of_three_is_refused_and_other_addresses_are_not(
        self, serve: Serve, endpoint: str
    ) -> None:
        limit, call = CALLS[endpoint]
        async with (
            serve(**{f"limit_{limit}_per_address": "3/hour"}) as client,
            client() as here,
            client("192.0.2.2") as there,
        ):
            path = f"/api/v1/auth/{endpoint}"
            assert await refusals(5, lambda: here.post(path, **call)) == [False] * 3 + [True] * 2
            assert not is_refused(await there.post(path, **call))

    async def test_all_of_an_ipv6_site_are_one(self, serve: Serve) -> None:
        async with serve(limit_login_per_address="3/hour") as client:
            for host, refused in ((1, False), (2, False), (0xFFFF, False), (0xABCD, True)):
                async with client(f"2001:db8:1:2::{host:x}") as here:
                    assert is_refused(await log_in(here, NOBODY, PASSWORD)) is refused
            async with client("2001:db8:1:3::1") as neighbour:
                assert not is_refused(await log_in(neighbour, NOBODY, PASSWORD))

    async def test_a_forged_forwarded_for_is_no_other_address(self, serve: Serve) -> None:
        async with serve(limit_login_per_address="3/hour") as client, client() as here:
            answers = []
            for n in range(4):
                here.headers["X-Forwarded-For"] = f"198.51.100.{n}"
                answers.append(is_refused(await log_in(here, NOBODY, PASSWORD)))
            assert answers == [False, False, False, True]

    @pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3"])
    async def test_behind_a_trusted_proxy_the_last_hop_counts(self, serve: Serve, peer: str) -> None:
        async with (
            serve(limit_login_per_address="3/hour", trusted_proxies="10.0.0.0/8") as client,
            client(peer) as here,
        ):
            answers = []
            for n in range(4):
                here.headers["X-Forwarded-For"] = f"203.0.113.{n}, 198.51.100.7, 10.9.9.9"
                answers.append(is_refused(await log_in(here, NOBODY, PASSWORD)))
            assert answers == [False, False, False, True]
            here.headers["X-Forwarded-For"] = "198.51.100.8"
            assert not is_refused(await log_in(here, NOBODY, PASSWORD))

    @pytest.mark.parametrize("told", ["unknown", "_hidden", "", "[", "198.51.100.7.8"])
    async def test_behind_one_that_does_not_tell_the_proxy_counts(self, serve: Serve, told: str) -> None:
        """And not all clients of all proxies as one."""
        async with (
            serve(limit_login_per_address="2/hour", trusted_proxies="10.0.0.0/8") as client,
            client("10.1.2.3") as one,
            client("10.1.2.4") as other,
        ):
            for each in (one, other):
                each.headers["X-Forwarded-For"] = told
                assert await refusals(3, partial(log_in, each, NOBODY, PASSWORD)) == [False, False, True]

    async def test_the_networks_of_one_site_count_together_with_rising_limits(self, serve: Serve) -> None:
        """Providers give whole sites to their customers, of 256 and 65,536 networks."""
        addresses = (
            *(f"2001:db8:1:100::{n}" for n in range(3)),
            *(f"2001:db8:1:10{n}::1" for n in range(1, 4)),
            *(f"2001:db8:1:{n}00::1" for n in range(2, 8)),
            "2001:db8:2::1",
        )
        answers = []
        async with serve(limit_login_per_address="2/hour") as client:
            for address in addresses:
                async with client(address) as here:
                    answers.append(is_refused(await log_in(here, NOBODY, PASSWORD)))
        assert answers == [
            *(False, False, True),  # a /64 may do two,
            *(False, False, True),  # a /56 twice as many
            *(False, False, False, False, True, True),  # and a /48 four times as many,
            False,  # whatever others do.
        ]


class TestPerAccount:
    @each_endpoint
    async def test_the_fourth_of_three_is_refused_from_wherever_it_comes(self, serve: Serve, endpoint: str) -> None:
        limit, call = CALLS[endpoint]
        name = {"login": "login_failures_per_account", "link": "link_per_token"}.get(limit, f"{limit}_per_account")
        answers = []
        async with serve(**{f"limit_{name}": "3/hour"}) as client:
            for n in range(5):
                async with client(f"192.0.2.{n}") as here:
                    answers.append(is_refused(await here.post(f"/api/v1/auth/{endpoint}", **call)))
        assert answers == [False] * 3 + [True] * 2

    @pytest.mark.parametrize("spelling", [pytest.param(value, id=name) for name, value in SPELLINGS.items()])
    async def test_however_it_is_written(self, serve: Serve, mailbox: Mailbox, spelling: str) -> None:
        async with serve(limit_mail_per_account="2/hour") as client, client() as here:
            await Person.register(here, "ann@example.org")
            answers = [
                is_refused(await here.post("/api/v1/auth/forgot-password", json={"email": email}))
                for email in ("ann@example.org", spelling, "ann@example.org", spelling)
            ]
        assert answers == [False, False, True, True]
        assert [each["Subject"] for each in mailbox.messages].count("Choose a new password") == 2

    async def test_another_mailbox_is_another_account(self, serve: Serve) -> None:
        """PostgreSQL's lower makes one of the two in some collations."""
        async with serve(limit_mail_per_account="1/hour") as client, client() as here:
            for email in ("\u0130da@example.org", "ida@example.org"):
                await Person.register(here, email)
                assert not is_refused(await here.post("/api/v1/auth/forgot-password", json={"email": email}))

    async def test_no_more_mails_are_sent_than_are_let_through(self, serve: Serve, mailbox: Mailbox) -> None:
        async with serve(limit_mail_per_account="2/hour") as client, client() as here:
            person = await Person.register(here)
            await refusals(6, lambda: here.post("/api/v1/auth/forgot-password", json={"email": person.email}))
        assert [each["Subject"] for each in mailbox.messages].count("Choose a new password") == 2


class TestChangeMe:
    async def test_sends_no_more_mails_to_an_address_than_may_be_asked_for(
        self, serve: Serve, mailbox: Mailbox
    ) -> None:
        async with serve(limit_mail_per_account="2/hour") as client, client() as here:
            person = await Person.register(here)
            await person.sign_in()
            answers = [
                is_refused(await change(person, email=email))
                for n in range(3)
                for email in ("victim@example.org", f"{n}@example.org")
            ]
        assert answers == [False] * 4 + [True, False]
        assert [each["To"] for each in mailbox.messages].count("victim@example.org") == 2

    async def test_tells_no_more_often_who_has_an_account_than_registering_does(self, serve: Serve) -> None:
        async with serve(limit_register_per_address="4/hour") as client, client() as here:
            person, other = await Person.register(here), await Person.register(here)
            await person.sign_in()
            statuses = [(await change(person, email=other.email)).status_code for _ in range(3)]
        assert statuses == [409, 409, 429]

    async def test_changes_the_password_a_few_times_an_hour(self, serve: Serve) -> None:
        """A thief who knows it would make every link useless that the owner is sent."""
        async with serve(limit_password_per_account="2/hour") as client, client() as here:
            person = await Person.register(here)
            await person.sign_in()
            answers = []
            for n in range(3):
                new = f"another password {n}"
                answers.append(is_refused(await change(person, password=new)))
                person.password = person.password if answers[-1] else new
        assert answers == [False, False, True]


async def change(person: Person, **changes: str) -> httpx.Response:
    return await person.call("PATCH", "/users/me", json={"current_password": person.password, **changes})


class TestPasswordsThatAreBeingChecked:
    async def test_are_not_too_many(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(passwords, "Turns", lambda *_, **__: Turns(0, waiting=0, waiting_each=0))
        async with serve() as client, client() as here:
            answer = await log_in(here, NOBODY, PASSWORD)
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:colophon:busy")
        assert answer.headers["retry-after"] == "1"


class TestLogin:
    async def test_counts_failures_of_an_account_alone(self, serve: Serve) -> None:
        async with serve(limit_login_failures="3/hour") as client, client() as here:
            person = await Person.register(here)
            assert await refusals(9, lambda: log_in(here, person.email, PASSWORD)) == [False] * 9
            assert (
                await refusals(5, lambda: log_in(here, person.email, "wrong " + PASSWORD)) == [False] * 3 + [True] * 2
            )
            # Now the right one is refused as well, before it is looked at: a guesser learns nothing from it.
            assert is_refused(await log_in(here, person.email, PASSWORD))

    @pytest.mark.parametrize("spelling", [pytest.param(value, id=name) for name, value in SPELLINGS.items()])
    async def test_counts_failures_however_the_account_is_written(self, serve: Serve, spelling: str) -> None:
        async with serve(limit_login_failures="3/hour") as client, client() as here:
            await Person.register(here, "ann@example.org")
            assert (await log_in(here, spelling, PASSWORD)).status_code == 200
            await refusals(3, lambda: log_in(here, "ann@example.org", "wrong " + PASSWORD))
            assert is_refused(await log_in(here, spelling, PASSWORD))

    async def test_outlives_that_many_others_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without Redis there is room for so many counters, and whoever fills it must not begin anew."""
        monkeypatch.setattr(rate_counter, "_MAX_OWN_COUNTERS", 100)
        monkeypatch.setattr(rate_counter, "_EVICTED_COUNTERS", 10)
        counter, limit = RateCounter(None), parse("3/hour")
        for _ in range(3):
            await counter.hit(limit, "victim")
        with pytest.raises(Exhausted):
            await counter.hit(limit, "victim")
        for number in range(1_000):
            await counter.hit(limit, f"nobody {number}")
        assert len(counter._memory.storage) <= 101
        with pytest.raises(Exhausted):
            await counter.hit(limit, "victim")
        for number in range(200):
            for _ in range(3):
                await counter.hit(limit, f"another victim {number}")
            with pytest.raises(Exhausted):
                await counter.hit(limit, f"another victim {number}")
        assert len(counter._memory.storage) <= 101
        with pytest.raises(Exhausted):
            await counter.hit(limit, "another victim 199")

    async def test_a_stranger_elsewhere_does_not_lock_the_owner_out(self, serve: Serve) -> None:
        async with (
            serve(limit_login_failures="3/hour", limit_login_failures_per_account="5/hour") as client,
            client() as here,
            client("198.51.100.1") as strangers,
        ):
            person = await Person.register(here)
            answers = await refusals(50, lambda: log_in(strangers, person.email, "wrong " + PASSWORD))
            assert answers == [False] * 3 + [True] * 47
            assert (await log_in(here, person.email, PASSWORD)).status_code == 200

    async def test_a_hundred_guesses_at_once_are_no_more_than_one_after_the_other(self, serve: Serve) -> None:
        async with (
            serve(limit_login_failures="10/hour", limit_login_per_address="1000/hour") as client,
            client() as here,
        ):
            person = await Person.register(here)
            guesses = [log_in(here, person.email, f"wrong password {n}") for n in range(100)]
            let_through = [answer for answer in await asyncio.gather(*guesses) if not is_refused(answer)]
        print(f"100 guesses at once, 10 allowed: {len(let_through)} were compared")
        assert len(let_through) == 10

    async def test_is_open_again_when_the_password_is_reset(self, serve: Serve, mailbox: Mailbox) -> None:
        async with (
            serve(limit_login_failures="2/hour", limit_login_failures_per_account="2/hour") as client,
            client() as here,
        ):
            person = await Person.register(here)
            await refusals(3, lambda: log_in(here, person.email, "wrong " + PASSWORD))
            assert is_refused(await log_in(here, person.email, PASSWORD))
            await here.post("/api/v1/auth/forgot-password", json={"email": person.email})
            token = await mailbox.reset_token(person.email)
            changed = await here.post("/api/v1/auth/reset-password", json={"token": token, "password": PASSWORD * 2})
            assert changed.status_code == 204
            assert (await log_in(here, person.email, PASSWORD * 2)).status_code == 200

    @pytest.mark.parametrize("known", [pytest.param(True, id="known"), pytest.param(False, id="unknown")])
    async def test_is_refused_alike_for_known_and_unknown_accounts(self, serve: Serve, known: bool) -> None:
        async with serve(limit_login_failures="3/hour") as client, client() as here:
            email = (await Person.register(here)).email if known else NOBODY
            assert await refusals(4, lambda: log_in(here, email, "wrong " + PASSWORD)) == [False] * 3 + [True]

    async def test_is_let_through_again_after_the_seconds_it_was_told(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with serve(limit_login_per_address="1/hour") as client, client() as here:
            await log_in(here, NOBODY, PASSWORD)
            answer = await log_in(here, NOBODY, PASSWORD)
            assert is_refused(answer)
            then = time.time() + int(answer.headers["retry-after"])
            monkeypatch.setattr(time, "time", lambda: then)
            assert not is_refused(await log_in(here, NOBODY, PASSWORD))


class TestTheSwitch:
    async def test_off_lets_everything_through(self, serve: Serve) -> None:
        async with serve(rate_limits="off", limit_login_per_address="1/hour") as client, client() as here:
            assert await refusals(5, lambda: log_in(here, NOBODY, PASSWORD)) == [False] * 5


class TestSettings:
    def test_all_that_are_no_limits_are_told_at_once(self) -> None:
        with pytest.raises(SettingsError) as refused:
            load(
                LimitSettings,
                limit_login_per_address="often",
                limit_mail_per_account="0/hour",
                limit_refresh_per_address="5/fortnight",
                rate_limits="maybe",
            )
        assert {each.variable for each in refused.value.problems} == {
            "LIMIT_LOGIN_PER_ADDRESS",
            "LIMIT_MAIL_PER_ACCOUNT",
            "LIMIT_REFRESH_PER_ADDRESS",
            "RATE_LIMITS",
        }
        assert "LIMIT_MAIL_PER_ACCOUNT: it lets nobody through" in str(refused.value)
        assert "for example 20/minute" in str(refused.value)
        assert "often" not in str(refused.value)

    @pytest.mark.parametrize("proxies", ["10.0.0.1/8", "10.0.0", "proxy_1", "*", "10.0.0.0/33"])
    def test_proxies_are_addresses_networks_and_names(
        self, database_url: str, rest_settings: RestSettings, proxies: str
    ) -> None:
        with pytest.raises(SettingsError, match="TRUSTED_PROXIES: it must be addresses"):
            load(RestSettings, **rest_settings.model_dump() | {"trusted_proxies": proxies})


@pytest.fixture
def no_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that answers slowly on a busy machine is not taken for one that is away."""
    monkeypatch.setattr(RateCounter, "open", partial(RateCounter.open, timeout=PATIENCE))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that Redis was asked to count."""
    keys: list[str] = []
    incr = RedisStorage.incr

    async def note(storage: RedisStorage, key: str, expiry: int, amount: int = 1) -> int:
        if "trial" not in key:
            keys.append(key)
        return await incr(storage, key, expiry, amount)

    monkeypatch.setattr(RedisStorage, "incr", note)
    return keys


class TestInRedis:
    @pytest.mark.usefixtures("no_haste")
    async def test_processes_count_together_and_keep_no_address_and_no_name(self, serve: Serve, redis_url: str) -> None:
        settings = {"redis_url": redis_url, "limit_login_per_address": "4/hour"}
        async with serve(**settings) as one, serve(**settings) as other, one() as here, other() as there:
            both = [is_refused(await log_in(each, NOBODY, PASSWORD)) for each in (here, there) * 3]
        assert both == [False] * 4 + [True] * 2
        with redis_client.Redis.from_url(redis_url, decode_responses=True) as asking:
            keys = asking.keys()
        assert keys
        assert all(key.startswith("colophon:limit:") for key in keys)
        assert not any("192.0.2" in key or "nobody" in key for key in keys)

    @pytest.mark.usefixtures("no_haste")
    async def test_a_count_is_gone_with_its_window(self, serve: Serve, redis_url: str) -> None:
        async with serve(redis_url=redis_url, limit_login_per_address="1/hour") as client, client() as here:
            await log_in(here, NOBODY, PASSWORD)
            answer = await log_in(here, NOBODY, PASSWORD)
            assert is_refused(answer)
            with redis_client.Redis.from_url(redis_url) as redis:
                # So many seconds pass for Redis.
                for key in redis.scan_iter():
                    left = redis.ttl(key)
                    assert left > 0
                    redis.expire(key, left - int(answer.headers["retry-after"]))
            assert not is_refused(await log_in(here, NOBODY, PASSWORD))

    @pytest.mark.usefixtures("no_haste")
    async def test_while_it_is_away_each_process_counts_and_says_so_once(
        self, serve: Serve, own_redis: RedisServer, asked: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rate_counter, "_REDIS_RETRY_SECONDS", 0.05)
        own_redis.stop()
        with capture_logs() as lines:
            async with serve(redis_url=own_redis.url, limit_login_per_address="3/hour") as client, client() as here:
                for refused in [False] * 3 + [True] * 2:
                    assert is_refused(await log_in(here, NOBODY, PASSWORD)) == refused
                assert len(asked) == 1, "more than the one attempt that finds out was held up"
                own_redis.start()
                await until(lambda: BACK in [line["event"] for line in lines], "Redis is said to be back")
                assert not is_refused(await log_in(here, NOBODY, PASSWORD))
                assert len(asked) > 1
        assert [line["event"] for line in lines if "the counts" in line["event"]] == [GONE, BACK]

    async def test_one_that_hangs_delays_no_request_for_long(
        self, serve: Serve, own_redis: RedisServer, asked: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rate_counter, "_REDIS_RETRY_SECONDS", 3_600)
        async with serve(redis_url=own_redis.url) as client, client() as here:
            await log_in(here, NOBODY, PASSWORD)
            asked.clear()
            own_redis.freeze()
            try:
                async with patience("all are answered"):
                    for _ in range(4):
                        assert (await log_in(here, NOBODY, PASSWORD)).status_code == 400
            finally:
                own_redis.thaw()
        assert len(asked) <= 1, "more than the one attempt that finds out was held up"

    async def test_holds_a_request_up_for_a_quarter_of_a_second_at_most(self, redis_url: str) -> None:
        async with RateCounter.open(redis_url) as counter:
            assert counter._redis is not None
            pool = counter._redis.connection_pool
            options = pool.connection_kwargs
            waits = [pool.timeout, options["socket_timeout"], options["socket_connect_timeout"]]  # type: ignore[attr-defined]
        assert max(waits) <= 0.25
