"""The password once more, before something is changed that a thief of a session would change."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from rest_api.users.accounts import Account
from rest_api.users.problems import WrongPassword
from rest_api.users.rate_limits import Limits
from rest_api.users.services import CurrentUser, Services
from rest_api.users.trail import about


@contextmanager
def noting_a_wrong_password(request: Request) -> Iterator[None]:
    """For the audit trail, which knows by the status that something was refused."""
    try:
        yield
    except WrongPassword:
        about(request, outcome="wrong")
        raise


Prove = Callable[[str], Awaitable[Account]]


async def _prove(request: Request, user: CurrentUser, limits: Limits, services: Services) -> Prove:
    async def prove(password: str) -> Account:
        async with limits.guessing(request, user.email):
            with noting_a_wrong_password(request):
                await services.manager.check_password(user, password)
        return user

    return prove


Proof = Annotated[Prove, Depends(_prove)]
"""For endpoints of a GuardedRoute: to be called with the current password, gives the caller as found with it.

It raises WrongPassword, which counts as a wrong password at sign-in does, and TooManyRequests.
"""
