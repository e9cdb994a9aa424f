"""Errors that say what happened: all that there are in the house."""

import pkgutil
from importlib import import_module

import book_db
import book_runtime
import colophon
import grpc_api
import rest_api
from book_runtime.errors import DocumentedError
from support.errors import an_error, kinds_of

_HOUSE = (book_runtime, book_db, rest_api, grpc_api, colophon)


def _all_kinds() -> list[type[DocumentedError]]:
    for member in _HOUSE:
        for module in pkgutil.walk_packages(member.__path__, f"{member.__name__}."):
            if "migrations" not in module.name and not module.name.endswith("__main__"):
                import_module(module.name)
    names = tuple(f"{member.__name__}." for member in _HOUSE)
    kinds = kinds_of(DocumentedError)
    return [kind for kind in kinds if kind is not DocumentedError and kind.__module__.startswith(names)]


class TestDocumentedError:
    def test_its_docstring_is_a_message_that_its_attributes_fill_in(self) -> None:
        messages = {kind: str(an_error(kind, provider="github")) for kind in _all_kinds()}
        assert len(messages) > 60
        assert {kind: said for kind, said in messages.items() if not said or "{" in said or "\n" in said} == {}

    def test_a_subclass_without_a_docstring_says_what_its_parent_says(self) -> None:
        class Refused(DocumentedError):
            """{who} was refused."""

            def __init__(self, who: str) -> None:
                self.who = who

        class RefusedAgain(Refused):
            pass

        assert str(RefusedAgain("{ann}")) == "{ann} was refused."
