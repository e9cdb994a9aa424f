"""Errors that say what happened: the docstring of an error is its message."""

from typing import ClassVar


class DocumentedError(Exception):
    """Its docstring is its message, on one line, with its attributes where they are named in braces: `{book_id}`.

    A subclass without a docstring says what its parent says.
    """

    _message: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        if cls.__doc__:
            cls._message = " ".join(cls.__doc__.split())

    def __str__(self) -> str:
        return self._message.format(**vars(self))
