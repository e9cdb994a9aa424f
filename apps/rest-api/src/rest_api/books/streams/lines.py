"""What may be wrong with a line of an upload, whatever is in it."""

from typing import Final

from book_runtime.delimited.lines import Line, undecodable

LINE_MAX_BYTES: Final = 2**16
"""The longest book, with every character of it escaped, has half as many."""


def fault_of(line: Line) -> str:
    """Why this is no line of text; empty if it is one."""
    if line.is_too_long:
        return f"must have at most {LINE_MAX_BYTES:,} bytes"
    if broken := undecodable(line.text):
        byte, before = broken
        return f"must be UTF-8, which the byte 0x{byte:02X} at {len(line.text[:before].encode()) + 1} is not"
    return ""
