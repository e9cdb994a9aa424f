"""The header Idempotency-Key, as draft-ietf-httpapi-idempotency-key-header has it and as Stripe's users write it."""

import re
from typing import Any, Final

from book_db.books.idempotency import IdempotencyKey
from fastapi import Request

from rest_api.books.problems import MalformedHeader

_NAME: Final = "Idempotency-Key"

# A string of RFC 9651, section 3.3.3, or the same without its quotes; of visible ASCII characters alone.
_FORM: Final = r'"(?:[!#-\[\]-~]|\\["\\]){1,255}"|[!#-~][!-~]{0,254}'
_KEY: Final = re.compile(_FORM)
_ESCAPED: Final = re.compile(r'\\(["\\])')


def key_of(request: Request, operation: str) -> IdempotencyKey | None:
    """What the user calls this request, if anything. Raises MalformedHeader."""
    if _NAME not in request.headers:
        return None
    value = ", ".join(request.headers.getlist(_NAME))
    if not _KEY.fullmatch(value):
        raise MalformedHeader(
            _NAME, 'must have 1 to 255 visible ASCII characters, best in quotes, for example "8e03978e"'
        )
    return IdempotencyKey(_ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value, operation)


REPLAYED: Final = {"Idempotent-Replayed": "true"}

FOR_CREATES: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": _NAME,
            "in": "header",
            "required": False,
            "description": "A name for this request, best a UUID. Sent again within 24 hours with the same key, the "
            "same request is not done again but gets its first answer again.",
            "schema": {"type": "string", "pattern": f"^(?:{_FORM})$", "examples": ['"8e03978e-40d5-43dd-bc93"']},
        }
    ]
}
"""What OpenAPI says of the header."""

REPLAYED_HEADER: Final = {
    "Idempotent-Replayed": {
        "description": "`true` where an earlier attempt with the same key made what is answered; otherwise absent.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
