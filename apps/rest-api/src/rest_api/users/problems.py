"""What goes wrong with accounts, as problems: status, type and sentence of each."""

from typing import Final

from fastapi_users.exceptions import (
    FastAPIUsersException,
    InvalidResetPasswordToken,
    InvalidVerifyToken,
    UserAlreadyExists,
    UserAlreadyVerified,
    UserNotExists,
)


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


PROBLEMS: Final[dict[type[FastAPIUsersException], tuple[int, str, str]]] = {
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
"""An InvalidPasswordException is not among them: it is answered like every other field that is not valid."""
