"""Files of several PEM blocks (RFC 7468), one behind the other."""

import re
from typing import Final

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


def blocks_of(pem: bytes) -> list[bytes]:
    """Each block by itself, in order, with a line end; what stands between them is passed over."""
    return [block[0] + b"\n" for block in _BLOCK.finditer(pem)]
