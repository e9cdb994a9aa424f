"""What is wrong with a request about books before the catalogue is asked. The docstring of an error is its message."""


class MalformedHeader(Exception):
    """The header {name} cannot be read."""

    def __init__(self, name: str, detail: str) -> None:
        """`detail` says how it must be."""
        self.name = name
        self.detail = detail
        super().__init__((MalformedHeader.__doc__ or "").format(name=name))


class PreconditionRequired(Exception):
    """The request must say in If-Match which version of the book it is about."""

    def __init__(self) -> None:
        super().__init__(PreconditionRequired.__doc__)
