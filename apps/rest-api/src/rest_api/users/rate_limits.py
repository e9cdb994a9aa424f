"""How often somebody may try: to sign in, to register, to be sent a mail, to use a link, to refresh a session.

Each is counted for the client's network and for the account, so that neither many accounts tried from one place nor one
account tried from many places get far. Only the digests of both are kept.

docs/decisions/0014 gives the reasons.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import blake2b
from typing import Annotated, Literal

from book_db.accounts.addresses import folded
from book_runtime.errors import DocumentedError
from book_runtime.settings import Settings
from fastapi import Depends, Request, Response
from limits import RateLimitItem, parse_many
from prometheus_client import Counter
from pydantic import AfterValidator, Field

from rest_api.client_address import networks_of, site_of
from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to
from rest_api.users.addresses import normalised
from rest_api.users.passwords import SITE
from rest_api.users.problems import BadCredentials
from rest_api.users.rate_counter import Exhausted, RateCounter

_REFUSED = Counter("colophon_rate_limited", "Requests that were refused because there were too many", ["limit"])


class TooManyRequests(DocumentedError):
    """There were too many of these requests lately. Try again in {retry_after} seconds."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after


@answer_to.register
def _(error: TooManyRequests, _request: Request) -> Response:
    return problem(429, "too-many-requests", str(error), headers={"Retry-After": str(error.retry_after)})


def _checked_limit(text: str) -> str:
    try:
        items = parse_many(text)
    except ValueError:
        raise ValueError("it is not a limit") from None  # limits' own sentence repeats the value
    if any(item.amount < 1 for item in items):
        raise ValueError("it lets nobody through")
    return text


Limit = Annotated[str, AfterValidator(_checked_limit), Field(examples=["20/minute", "5/10 minutes; 20/day"])]
"""In the notation of the library `limits`; several are told apart by semicolons, and all of them hold."""


class LimitSettings(Settings):
    """How much is too much. For what each of them is about, see RateLimits."""

    rate_limits: Literal["on", "off"] = "on"
    """Off: nothing is limited. For a service behind something that limits already."""

    limit_login_per_address: Limit = "60/minute"
    """Attempts to sign in from one address."""

    limit_login_failures: Limit = "10/15 minutes"
    """Wrong passwords for one account from one address."""

    limit_login_failures_per_account: Limit = "100/hour"
    """Wrong passwords for one account from everywhere."""

    limit_password_per_account: Limit = "5/hour"  # noqa: S105  # no secret
    """Changes of one account's password by who knows it: each makes the links of before useless."""

    limit_register_per_address: Limit = "60/hour"
    """Accounts asked for from one address."""

    limit_register_per_account: Limit = "20/hour"
    """Accounts asked for with one e-mail address."""

    limit_mail_per_address: Limit = "60/hour"
    """Mails with links asked for from one address."""

    limit_mail_per_account: Limit = "5/hour"
    """Mails with links asked for to one e-mail address."""

    limit_link_per_address: Limit = "60/minute"
    """Links of mails used from one address."""

    limit_link_per_token: Limit = "10/minute"  # noqa: S105  # no secret
    """Uses of one link."""

    limit_refresh_per_address: Limit = "600/minute"
    """Sessions refreshed from one address."""

    limit_refresh_per_session: Limit = "20/minute"
    """Refreshes of one session."""


class RateLimits:
    """What is called before anything that costs, tells or sends: it raises TooManyRequests, or lets through.

    The address comes first: what is refused there is not counted for the account, so that one place cannot use up
    what an account may from elsewhere.
    """

    def __init__(self, settings: LimitSettings, counter: RateCounter, secret: str) -> None:
        """``secret`` makes the digests useless to those who can read Redis alone."""
        self._counter = counter
        self._secret = bytes.fromhex(secret)
        self._items: dict[str, list[RateLimitItem]] = {
            name: parse_many(getattr(settings, name)) if settings.rate_limits == "on" else []
            for name in LimitSettings.model_fields
            if name.startswith("limit_")
        }

    async def register(self, request: Request, email: str) -> None:
        await self._hit_from("limit_register_per_address", request)
        await self._hit("limit_register_per_account", _account_of(email))

    async def mail(self, request: Request, email: str) -> None:
        await self._hit_from("limit_mail_per_address", request)
        await self._hit("limit_mail_per_account", _account_of(email))

    async def password(self, email: str) -> None:
        await self._hit("limit_password_per_account", _account_of(email))

    async def link(self, request: Request, token: str) -> None:
        await self._hit_from("limit_link_per_address", request)
        await self._hit("limit_link_per_token", token)

    async def refresh_from(self, request: Request) -> None:
        await self._hit_from("limit_refresh_per_address", request)

    async def refresh_of(self, session: str) -> None:
        await self._hit("limit_refresh_per_session", session)

    async def login(self, request: Request) -> None:
        await self._hit_from("limit_login_per_address", request)

    @asynccontextmanager
    async def guessing(self, request: Request, email: str) -> AsyncIterator[None]:
        """For the block in which a password is compared: it counts when the block raises BadCredentials.

        It is counted beforehand and taken back afterwards, so that a thousand guesses at the same time are no more than
        a thousand one after the other.
        """
        account = _account_of(email)
        async with AsyncExitStack() as back:
            await back.enter_async_context(await self._hit_from("limit_login_failures", request, account))
            await back.enter_async_context(await self._hit("limit_login_failures_per_account", account))
            try:
                yield
            except BadCredentials:
                back.pop_all()
                raise

    async def forgive(self, request: Request, email: str) -> None:
        """Forgets the wrong passwords for an account whose owner has shown to be one by other means."""
        account = _account_of(email)
        for network, times in networks_of(request).items():
            await self._forget("limit_login_failures", network, account, times=times)
        await self._forget("limit_login_failures_per_account", account)

    async def _hit_from(self, limit: str, request: Request, *whose: str) -> AsyncExitStack:
        """Counts one for each network that the client is in."""
        async with AsyncExitStack() as back:
            for network, times in networks_of(request).items():
                await back.enter_async_context(await self._hit(limit, network, *whose, times=times))
            return back.pop_all()

    async def _hit(self, limit: str, *whose: str, times: int = 1) -> AsyncExitStack:
        """Counts one, which is given back if the stack is closed. So many ``times`` the limit is let through."""
        async with AsyncExitStack() as back:
            for item in self._items_of(limit, times):
                try:
                    hit = await self._counter.hit(item, self._key(limit, whose))
                except Exhausted as exhausted:
                    _REFUSED.labels(limit.removeprefix("limit_")).inc()
                    raise TooManyRequests(exhausted.seconds) from None
                back.push_async_callback(self._counter.refund, hit)
            return back.pop_all()

    async def _forget(self, limit: str, *whose: str, times: int = 1) -> None:
        for item in self._items_of(limit, times):
            await self._counter.forget(item, self._key(limit, whose))

    def _items_of(self, limit: str, times: int) -> list[RateLimitItem]:
        items = self._items[limit]
        return items if times == 1 else [type(item)(item.amount * times, item.multiples) for item in items]

    def _key(self, limit: str, whose: Iterable[str]) -> str:
        digest = blake2b("\0".join(whose).encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16)
        return f"{limit.removeprefix('limit_')}/{digest.hexdigest()}"


def _account_of(email: str) -> str:
    """The same for all spellings that find the same account. What is no address finds none, and counts as it is."""
    with suppress(ValueError):
        return folded(normalised(email))
    return email


async def _rate_limits(request: Request) -> RateLimits:
    SITE.set(site_of(request))
    limits: RateLimits = request.app.state.rate_limits
    return limits


Limits = Annotated[RateLimits, Depends(_rate_limits)]
"""For endpoints."""
