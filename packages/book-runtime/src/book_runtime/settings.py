"""Settings come from environment variables, and a process with wrong ones does not start.

    class ShopSettings(Settings):
        database_url: PostgresUrl
        '''Where the shop's books are.'''

    settings = load(ShopSettings)

The docstring below a field and its `examples` are what the message of a wrong variable says would do.
"""

import ast
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, get_args
from urllib.parse import SplitResult, urlsplit

import pydantic_settings
from pydantic import AfterValidator, Field, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, core_schema

S = TypeVar("S", bound="Settings")


class Settings(pydantic_settings.BaseSettings):
    """Base of every process's settings. No prefix, any case, an empty variable counts as not set, no `.env` is read."""

    model_config = pydantic_settings.SettingsConfigDict(
        case_sensitive=False,
        env_ignore_empty=True,
        # A list that is not JSON would otherwise be reported alone, before all others are looked at.
        enable_decoding=False,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )


class Problem(NamedTuple):
    """One variable that is wrong."""

    variable: str
    """In capitals; empty when what is wrong lies between several."""
    wrong: str
    remedy: str = ""
    """What would do."""

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.variable, self.wrong))) + (f"\n      {self.remedy}" if self.remedy else "")


class SettingsError(Exception):
    """The environment is not as it must be."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n  ".join([self.__doc__ or "", *map(str, problems)]))


def load(settings: type[S], **known: object) -> S:
    """The settings of this process; what is `known` already is not looked for in the environment.

    Raises SettingsError, which names every wrong variable at once and repeats the value of none.
    """
    try:
        return settings(**known)
    except ValidationError as error:
        problems = _problems(settings, error.errors(include_url=False, include_input=False))
    # Not in the except block: whoever logs this error shall not log the other one's inputs with it.
    raise SettingsError(*problems)


class Url(str):
    """An address that may hold a password: a string like any other, but its `repr` hides the password.

    Subclasses say which addresses they take.
    """

    __slots__ = ()

    schemes: ClassVar[tuple[str, ...]]
    example: ClassVar[str]
    host_required: ClassVar[bool] = True

    def __repr__(self) -> str:
        return repr(self.without_password)

    @property
    def without_password(self) -> str:
        """The address as it may be shown and logged; without its query too, where some drivers look for a password."""
        parts = urlsplit(self)
        user, _, host = parts.netloc.rpartition("@")
        netloc = f"{user.partition(':')[0]}:***@{host}" if ":" in user else parts.netloc
        return parts._replace(netloc=netloc, query="").geturl()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls._check, core_schema.str_schema())

    @classmethod
    def _check(cls, text: str) -> Self:
        wrong = next(cls._faults(text), None)
        if wrong:
            raise ValueError(wrong)
        return cls(text)

    @classmethod
    def _faults(cls, text: str) -> Iterator[str]:
        if not text.isprintable() or " " in text:
            yield "there is a blank or a control character in it"
        if not text.startswith(tuple(f"{scheme}://" for scheme in cls.schemes)):
            yield f"it must start with {' or '.join(f'{scheme}://' for scheme in cls.schemes)}"
        parts = _split(text)
        if parts is None or parts.fragment or "@" in parts.path:
            yield (
                "it is not a URL: a port is a number, an address of IPv6 stands in brackets, and in the password"
                " characters such as # / ? @ [ ] must be percent-encoded (%23 for #)"
            )
        if cls.host_required and parts and not parts.hostname:
            yield "there is no host in it"


def _split(text: str) -> SplitResult | None:
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises when it is no port
    except ValueError:  # whose text may hold a part of the password
        return None
    return parts


class PostgresUrl(Url):
    """A PostgreSQL database; without a host it is the one of `?host=`, the folder of a socket, for example.

    There may be several hosts, of which the first that does is taken: `postgresql://user:password@one:5432,two:5432/db`.
    """

    schemes = ("postgresql", "postgres", "postgresql+psycopg")
    example = "postgresql://user:password@localhost:5432/database"
    host_required = False

    @classmethod
    def _faults(cls, text: str) -> Iterator[str]:
        for each in _with_one_host_each(text):
            yield from super()._faults(each)


def _with_one_host_each(url: str) -> Iterator[str]:
    """The address once for each of its hosts, that each may be looked at: a URL of the standard (RFC 3986) has one."""
    scheme, slashes, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, hosts = authority.rpartition("@")
    for host in hosts.split(","):
        yield f"{scheme}{slashes}{user}{at}{host}{rest.removeprefix(authority)}"


class AmqpUrl(Url):
    """A RabbitMQ broker."""

    schemes = ("amqp", "amqps")
    example = "amqp://user:password@localhost:5672/"


class RedisUrl(Url):
    """A Redis server, reached by network or through a socket."""

    schemes = ("redis", "rediss", "unix")
    example = "redis://:password@localhost:6379/0"
    host_required = False


Port = Annotated[int, Field(ge=0, le=65535)]
"""0 takes any that is free."""


def _check_file(path: Path) -> Path:
    # The messages leave the path out: somebody will put the key itself where its file belongs.
    # And os.path, because Path.exists raises OSError for a key's length.
    if not os.path.exists(path):  # noqa: PTH110  # as said
        raise ValueError("there is no such file")
    if not os.path.isfile(path):  # noqa: PTH113  # as said
        raise ValueError("it is not a file")
    if not os.access(path, os.R_OK):
        raise ValueError("this process may not read that file")
    return path


ExistingFile = Annotated[Path, AfterValidator(_check_file)]
"""A file that is there and can be read."""


def _problems(settings: type[Settings], errors: list[ErrorDetails]) -> list[Problem]:
    """One for each variable: the members of a union report one error each."""
    wrongs: dict[str, list[str]] = {}
    for error in errors:
        wrongs.setdefault(str(error["loc"][0]) if error["loc"] else "", []).append(_words_of(error))
    remedies = _remedies(settings)
    return [
        Problem(name.upper(), " or ".join(dict.fromkeys(wrong)), remedies.get(name.lower(), ""))
        for name, wrong in wrongs.items()
    ]


def _words_of(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is not set"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return error["msg"].replace("Input should", "should", 1)


def _remedies(settings: type[Settings]) -> Mapping[str, str]:
    """What would do, by variable."""
    docstrings = _docstrings_of_fields(settings)
    return {
        alias.lower(): _remedy(field, docstrings.get(name, ""))
        for name, field in settings.model_fields.items()
        for alias in (name, field.alias, field.validation_alias)
        if isinstance(alias, str)
    }


def _docstrings_of_fields(settings: type[Settings]) -> dict[str, str]:
    """Read only when something is wrong. pydantic's `use_attribute_docstrings` reads the source of every class at each
    start, which was 7 % of the time that rest-api needed.
    """
    docstrings: dict[str, str] = {}
    for each in reversed(settings.__mro__):
        if issubclass(each, Settings):
            with suppress(OSError):  # there is no source
                docstrings.update(_attribute_docstrings(inspect.getsource(each)))
    return docstrings


def _attribute_docstrings(source: str) -> Iterator[tuple[str, str]]:
    """Of a class."""
    definition = ast.parse(dedent(source)).body[0]
    for statement, following in pairwise(getattr(definition, "body", ())):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                yield name, inspect.cleandoc(text)


def _remedy(field: FieldInfo, docstring: str) -> str:
    examples = field.examples or _examples_of(field.annotation)
    for_example = f"for example {' or '.join(map(str, examples))}" if examples else ""
    return ", ".join(filter(None, ((field.description or docstring).removesuffix("."), for_example)))


def _examples_of(annotation: Any) -> list[str]:
    """Those of the Url types in it, be it one or a union with None."""
    types = get_args(annotation) or (annotation,)
    return [each.example for each in types if isinstance(each, type) and issubclass(each, Url)]
