"""What the mails say."""

from dataclasses import dataclass
from typing import Final

from rest_api.users.mail import Email

_RECOVER: Final = (
    "choose a new password by mail, which ends everything that somebody else can act in your name with, or write to "
    "those who run the catalogue."
)


@dataclass(frozen=True, slots=True)
class EmailTemplates:
    """Writes the mails of the service that people reach under this address."""

    public_url: str

    def verification(self, to: str, token: str, hours: int) -> Email:
        link = self._link("verify", token)
        return Email(
            to,
            "Confirm your e-mail address",
            f"Hello,\n\nto confirm that {to} is your address in the book catalogue, open\n\n{link}\n\n"
            f"and enter the password of your account. The link is good for {_hours(hours)}. If you have neither made "
            "an account nor asked for this address, somebody else has, and you need not do anything: without you they "
            "cannot confirm it.\n",
            link,
        )

    def new_address(self, to: str, new: str) -> Email:
        what = f"the e-mail address of your account is now {new}."
        # A link to choose a password would go to the new address.
        return self._note(to, "Your e-mail address was changed", what, "write to those who run the catalogue.")

    def new_password(self, to: str) -> Email:
        return self._note(to, "Your password was changed", "your account has a new password.")

    def new_login(self, to: str, provider: str) -> Email:
        what = f"your account can now be signed in to with an account at {provider} that has this address."
        return self._note(to, f"You can sign in with {provider}", what)

    def new_token(self, to: str, name: str) -> Email:
        return self._note(to, "A token was made", f"a token for a program was made in your account, called {name!r}.")

    def _note(self, to: str, subject: str, what: str, otherwise: str = _RECOVER) -> Email:
        return Email(
            to,
            subject,
            f"Hello,\n\nin the book catalogue at {self.public_url.rstrip('/')}, {what}\n\n"
            f"If that was not you, {otherwise}\n",
        )

    def invitation(self, to: str, token: str, hours: int) -> Email:
        link = self._link("reset-password", token)
        return Email(
            to,
            "You have an account in the book catalogue",
            f"Hello,\n\nan account was made for {to} in the book catalogue. To choose its password, open\n\n{link}\n\n"
            f"The link is good for {_hours(hours)}; then have another one sent from the same page.\n",
            link,
        )

    def password_reset(self, to: str, token: str, hours: int) -> Email:
        link = self._link("reset-password", token)
        return Email(
            to,
            "Choose a new password",
            f"Hello,\n\nto choose a new password for {to} in the book catalogue, open\n\n{link}\n\n"
            f"The link is good for {_hours(hours)} and for one change. If you have not asked for it, you need not do "
            "anything: your password stays as it is.\n",
            link,
        )

    def _link(self, page: str, token: str) -> str:
        # What stands after # stays in the browser: it reaches no access log and no other site.
        return f"{self.public_url.rstrip('/')}/account/{page}#token={token}"


def _hours(hours: int) -> str:
    return "one hour" if hours == 1 else f"{hours} hours"
