"""What keeps people from signing in with a provider. The docstring of an error is its message."""

from typing import ClassVar, Final

from book_runtime.errors import DocumentedError
from fastapi import Request, Response
from fastapi_users.exceptions import FastAPIUsersException

from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to

TITLES: Final = {"github": "GitHub", "google": "Google"}
"""What people call the providers, by their names."""


class SignInFailed(DocumentedError, FastAPIUsersException):
    """Nobody was signed in with {provider}."""

    status: ClassVar[int] = 400
    slug: ClassVar[str]

    def __init__(self, provider: str) -> None:
        self.provider = TITLES[provider]


@answer_to.register
def _(error: SignInFailed, _request: Request) -> Response:
    return problem(error.status, error.slug, str(error))


class NotBegunHere(SignInFailed):
    """This browser has not begun to sign in with {provider}, or it did more than an hour ago. Begin again."""

    slug = "sign-in-not-begun-here"


class SignInDenied(SignInFailed):
    """{provider} was told not to sign you in here."""

    slug = "sign-in-denied"


class CodeRefused(SignInFailed):
    """The code of {provider} is missing, too old or used already. Begin again."""

    slug = "code-refused"


class NoVerifiedEmail(SignInFailed):
    """{provider} has not verified the e-mail address of this account. Confirm it there, then sign in again."""

    slug = "no-verified-email"


class UnusableEmail(SignInFailed):
    """The e-mail address of this account at {provider} is none that can be used here."""

    slug = "unusable-email"


class EmailNotConfirmed(SignInFailed):
    """An account here has this e-mail address, but nobody has shown that it is theirs. If it may be someone else's
    work, choose a new password first, with the link of POST /api/v1/auth/forgot-password. Then confirm the address,
    with the link of POST /api/v1/auth/request-verify-token, and sign in with {provider} again."""

    status = 409
    slug = "email-not-confirmed"


class NobodysAccount(SignInFailed):
    """Nobody here has the e-mail address of this account at {provider}, and accounts are made by invitation."""

    status = 403
    slug = "registration-closed"


class AccountInactive(SignInFailed):
    """The account here that belongs to this one at {provider} is deactivated."""

    status = 403
    slug = "account-inactive"


class ProviderFailed(SignInFailed):
    """{provider} does not answer as it should. Begin again later, or sign in with your password."""

    status = 502
    slug = "provider-failed"
