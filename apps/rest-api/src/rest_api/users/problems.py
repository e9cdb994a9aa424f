"""What goes wrong with accounts, as problems: status, type and sentence of each."""

from typing import Final

from book_db.errors import (
    AccessNotFound,
    ApiTokenNotFound,
    LastSuperuser,
    LinkNotFound,
    RefreshRefused,
    SessionNotFound,
    TooManyApiTokens,
    UserNotFound,
)
from fastapi import Request, Response
from fastapi_users.exceptions import (
    FastAPIUsersException,
    InvalidPasswordException,
    InvalidResetPasswordToken,
    InvalidVerifyToken,
    UserAlreadyExists,
    UserAlreadyVerified,
    UserNotExists,
)

from rest_api.problems.document import problem
from rest_api.problems.translation import answer_to, translate
from rest_api.users.passwords import PasswordsBusy


class BadCredentials(FastAPIUsersException):
    """Nobody can sign in with these credentials."""


class WrongPassword(BadCredentials):
    """The password with which the caller was to show who they are is not theirs."""


class NotForOneself(FastAPIUsersException):
    """Superusers change their own address and password as everybody does."""


class PasswordNeeded(FastAPIUsersException):
    """What a thief of a superuser's session would change of another user is changed with the superuser's password."""


class RegistrationClosed(FastAPIUsersException):
    """Nobody makes an account here but by invitation."""


class AddressNotConfirmed(FastAPIUsersException):
    """Nobody signs in here who has not confirmed the address."""


class NotSuperuser(FastAPIUsersException):
    """The caller is signed in, but may not manage users."""


_TOLD: Final[dict[type[FastAPIUsersException], tuple[int, str, str]]] = {
    # 400 and not 401, as RFC 6749, section 5.2, has it: no access token is missing.
    BadCredentials: (400, "bad-credentials", "The e-mail address or the password is wrong."),
    WrongPassword: (403, "wrong-password", "The current password is wrong."),
    NotForOneself: (
        403,
        "password-needed",
        "Your own address and password are changed at /api/v1/users/me, with your current password.",
    ),
    PasswordNeeded: (
        403,
        "password-needed",
        "Another address, password or right of a user takes your own password, as `current_password`.",
    ),
    RegistrationClosed: (403, "registration-closed", "Accounts are made here by invitation: ask those who run it."),
    AddressNotConfirmed: (
        403,
        "email-not-confirmed",
        "Confirm your address first, with the link in the mail; /api/v1/auth/request-verify-token sends another one.",
    ),
    NotSuperuser: (403, "not-superuser", "Only superusers manage users."),
    UserNotExists: (404, "user-not-found", "There is no such user."),
    UserAlreadyExists: (409, "email-taken", "Another user has this e-mail address."),
    UserAlreadyVerified: (409, "already-verified", "This address is confirmed already."),
    InvalidVerifyToken: (400, "bad-verification-link", "This link is not good any more: ask for a new one."),
    InvalidResetPasswordToken: (
        400,
        "bad-reset-link",
        "This link is not good any more: it was used, or it is too old. Ask for a new one.",
    ),
}

for _kind, _told in _TOLD.items():
    translate(_kind, *_told)

translate(UserNotFound, 404, "user-not-found")
translate(SessionNotFound, 404, "session-not-found")
translate(AccessNotFound, 404, "access-not-found")
translate(LinkNotFound, 404, "login-not-found")
translate(ApiTokenNotFound, 404, "api-token-not-found")
translate(TooManyApiTokens, 409, "too-many-api-tokens")
translate(LastSuperuser, 409, "last-superuser")
# 400 and not 401, as RFC 6749, section 5.2, has it for a grant that is not good.
translate(RefreshRefused, 400, "bad-refresh-token")


@answer_to.register
def _(error: InvalidPasswordException, _request: Request) -> Response:
    """As every other field that is not valid."""
    violation = {"pointer": "/password", "detail": error.reason}
    return problem(422, "invalid", "The request is not valid.", errors=[violation])


@answer_to.register
def _(error: PasswordsBusy, _request: Request) -> Response:
    return problem(503, "busy", str(error), headers={"Retry-After": str(error.retry_after)})
