"""What the mails say."""

from dataclasses import dataclass

from rest_api.users.mail import Letter


@dataclass(frozen=True, slots=True)
class Letters:
    """Writes the mails of the service that people reach under this address."""

    public_url: str

    def verification(self, to: str, token: str, hours: int) -> Letter:
        link = self._link("verify", token)
        return Letter(
            to,
            "Confirm your e-mail address",
            f"Hello,\n\nto confirm that {to} is your address in the book catalogue, open\n\n{link}\n\n"
            f"The link is good for {_hours(hours)}. If you have not made an account, you need not do anything.\n",
            link,
        )

    def password_reset(self, to: str, token: str, hours: int) -> Letter:
        link = self._link("reset-password", token)
        return Letter(
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
