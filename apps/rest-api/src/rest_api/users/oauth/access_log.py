"""What the access log must not show: it writes addresses down whole, and providers put their codes into them."""

import logging
import re
from typing import Final

_CALLBACK: Final = re.compile(r"(/api/v1/auth/\w+/callback)\?.*")


def leave_codes_out() -> None:
    """Cuts the codes of providers out of uvicorn's access log. A later call changes nothing."""
    logging.getLogger("uvicorn.access").addFilter(_without_code)


def _without_code(record: logging.LogRecord) -> bool:
    if isinstance(record.args, tuple):
        record.args = tuple(_CALLBACK.sub(r"\1", each) if isinstance(each, str) else each for each in record.args)
    return True
