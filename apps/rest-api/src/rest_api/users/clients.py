"""What is kept of where a sign-in came from."""

import re
from typing import Final

from book_db.accounts.sessions import Client
from fastapi import Request

from rest_api.client_address import address_of

USER_AGENT_MAX: Final = 200
"""Characters. Enough to recognise a browser by; what is longer is cut."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def client_of(request: Request) -> Client:
    """Where the request comes from, as its user may be shown it."""
    user_agent = _CONTROL.sub(" ", request.headers.get("user-agent", "")).strip()
    return Client(user_agent[:USER_AGENT_MAX] or None, address_of(request) or None)
