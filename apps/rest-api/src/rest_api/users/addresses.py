"""E-mail addresses in the one form in which they are stored and looked for."""

import unicodedata
from typing import Final

from email_validator import EmailNotValidError, validate_email

MAX_LENGTH: Final = 254
"""Characters (RFC 5321, 4.5.3.1.3, less the angle brackets)."""


def normalised(address: str) -> str:
    """The address in Unicode NFC, its domain in small letters. Raises ValueError, which says what is wrong with it."""
    if len(address) > MAX_LENGTH:
        raise ValueError(f"must have at most {MAX_LENGTH} characters")
    try:
        checked = validate_email(address, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(f"is not an e-mail address: {error}") from error
    return unicodedata.normalize("NFC", checked)


def for_smtp(address: str) -> str:
    """The form that every mail server takes where there is one: an international domain in ASCII (RFC 5890)."""
    checked = validate_email(address, check_deliverability=False, globally_deliverable=False)
    return checked.ascii_email or checked.normalized
