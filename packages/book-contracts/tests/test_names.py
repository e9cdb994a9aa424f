"""What others build on: the names that this package gives, and those on the broker."""

from importlib.resources import files

import betterproto2
import book_contracts
import pytest
from book_contracts import events
from books.v1 import book_event_pb2, book_pb2, book_service_pb2
from google.protobuf.any_pb2 import Any

FILES = [book_pb2.DESCRIPTOR, book_event_pb2.DESCRIPTOR, book_service_pb2.DESCRIPTOR]


class TestThePackage:
    def test_it_gives_every_message_every_enum_and_the_client(self) -> None:
        names = {name for file in FILES for name in (*file.message_types_by_name, *file.enum_types_by_name)}
        names |= {f"{service}Stub" for file in FILES for service in file.services_by_name}
        assert set(book_contracts.__all__) == names | {"FieldMask"}, "and what they are made with"
        assert all(getattr(book_contracts, name) for name in names)

    @pytest.mark.parametrize("package", ["book_contracts", "book_contracts.messages", "books"])
    def test_it_says_that_it_is_typed(self, package: str) -> None:
        assert files(package).joinpath("py.typed").is_file()

    @pytest.mark.parametrize("name", sorted(book_contracts.__all__))
    def test_the_comments_of_the_proto_are_its_docstrings(self, name: str) -> None:
        thing = getattr(book_contracts, name)
        inherited = {betterproto2.Message.__doc__, betterproto2.Enum.__doc__, None}
        assert thing.__doc__ not in inherited
        assert not thing.__doc__.startswith(f"{name}("), "the signature that dataclass makes up"


class TestTheNamesOnTheBroker:
    def test_there_is_a_routing_key_for_each_kind_of_event(self) -> None:
        kinds = {name.removeprefix("BOOK_EVENT_KIND_").lower() for name, _ in book_event_pb2.BookEventKind.items()}
        assert {events.CREATED, events.UPDATED, events.DELETED} == {f"book.{kind}" for kind in kinds - {"unspecified"}}

    def test_whoever_wants_them_all_gets_them_all(self) -> None:
        prefix, star = events.ALL_EVENTS.split(".")
        assert star == "*", "one word in a topic exchange"
        for key in (events.CREATED, events.UPDATED, events.DELETED):
            assert key.startswith(f"{prefix}.")
            assert key.count(".") == 1

    def test_the_schema_is_that_of_the_message(self) -> None:
        packed = Any(type_url=events.DATA_SCHEMA)
        assert packed.Is(book_event_pb2.BookEvent.DESCRIPTOR)  # type: ignore[arg-type]  # its stubs know one kind of descriptor
