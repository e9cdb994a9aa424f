"""Values that Schemathesis cannot make from the document alone."""

import csv
import io
import json
from typing import Final

import schemathesis
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from rest_api.users.addresses import MAX_LENGTH, normalised
from schemathesis.core.jsonschema import make_validator

_MAILBOX: Final = make_validator({"type": "string", "format": "email"}, Draft202012Validator)
_STREAMS: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl", "text/csv")


def register_strategies() -> None:
    """The format `email` allows hosts that no mail can reach, which the service does not. Streams have lines."""
    # Chance makes none of these lengths, and searches for long.
    long = st.sampled_from([_an_address_of(length) for length in (MAX_LENGTH - 1, MAX_LENGTH, MAX_LENGTH + 1)])
    schemathesis.openapi.format("email", st.emails().filter(_is_taken) | long)
    books = st.lists(
        st.fixed_dictionaries({"title": st.text(), "author": st.text(), "publication_date": st.dates().map(str)}),
        max_size=5,
    )
    ndjson = books.map(lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    *ndjsons, csv_ = _STREAMS
    for media_type in ndjsons:
        schemathesis.openapi.media_type(media_type, ndjson)
    schemathesis.openapi.media_type(csv_, books.map(_csv))


def _csv(books: list[dict[str, str]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["title", "author", "publication_date"])
    writer.writeheader()
    writer.writerows(books)
    return text.getvalue().encode()


def _an_address_of(length: int) -> str:
    return ("ada@" + f"{'x' * 60}." * 6)[: length - 8] + ".example"


def _is_taken(address: str) -> bool:
    if not _MAILBOX.is_valid(address):
        return False
    try:
        normalised(address)
    except ValueError:
        return False
    return True
