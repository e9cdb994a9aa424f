"""What is wrong with a request about books before the catalogue is asked. The docstring of an error is its message."""

from book_runtime.errors import DocumentedError


class MalformedHeader(DocumentedError):
    """The header {name} cannot be read."""

    def __init__(self, name: str, detail: str) -> None:
        """`detail` says how it must be."""
        self.name = name
        self.detail = detail


class PreconditionRequired(DocumentedError):
    """The request must say in If-Match which version of the book it is about."""
