"""What users look like in requests and responses."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from book_db.accounts.secret_tokens import LENGTH_MAX as SECRET_TOKEN_MAX
from book_db.roles import Role
from book_db.text import clean
from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rest_api.spelling import HYPHENATED, IN_DIGITS, text_pattern
from rest_api.users import passwords
from rest_api.users.addresses import MAX_LENGTH, normalised

PAGE_SIZE_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 100
TOKEN_NAME_MAX: Final = 100


def _each_once(scopes: list[str]) -> list[str]:
    if len(set(scopes)) < len(scopes):
        raise ValueError("must name each scope once")
    return scopes


Email = Annotated[
    str,
    AfterValidator(normalised),
    Field(
        description="At most 254 characters; no two users have the same, in whatever case it is written.",
        examples=["ada@example.com"],
        json_schema_extra={"format": "email", "maxLength": MAX_LENGTH},
    ),
]
Password = Annotated[
    str,
    Field(
        description=f"{passwords.RULES}.",
        examples=["correct horse battery"],
        json_schema_extra={
            "format": "password",
            "minLength": passwords.MIN_LENGTH,
            "maxLength": passwords.MAX_LENGTH,
            "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$",
        },
    ),
]
CurrentPassword = Annotated[
    str,
    Field(
        max_length=passwords.MAX_LENGTH,
        description="The password as it is now.",
        examples=["correct horse battery"],
        json_schema_extra={"format": "password"},
    ),
]
MailedToken = Annotated[
    str, Field(min_length=1, max_length=1_024, description="What the link in the mail ends with, after `#token=`.")
]

TokenName = Annotated[
    str,
    AfterValidator(partial(clean, at_most=TOKEN_NAME_MAX)),
    Field(
        description="For oneself, to know it by. Trimmed; then 1 to 100 characters, no control characters.",
        examples=["nightly export"],
        json_schema_extra={"pattern": text_pattern(), "minLength": 1, "maxLength": TOKEN_NAME_MAX},
    ),
]
TokenScope = Literal["books:read", "books:write"]
TokenScopes = Annotated[
    list[TokenScope],
    AfterValidator(_each_once),
    Field(
        min_length=1,
        max_length=2,
        description="What the token may do: read books, over REST and gRPC; write them. Neither holds the other.",
        examples=[["books:read"]],
        json_schema_extra={"uniqueItems": True},
    ),
]

UserId = Annotated[UUID, Path(description="The user's id."), HYPHENATED]
SessionId = Annotated[UUID, Path(description="The session's id."), HYPHENATED]
AccessId = Annotated[UUID, Path(description="The id of a session, a token or a login of the user."), HYPHENATED]
ApiTokenId = Annotated[UUID, Path(description="The id of the token, which is not the token."), HYPHENATED]
PageSize = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="How many users at most."), IN_DIGITS]
PageToken = Annotated[
    str | None, Query(max_length=100, description="`next_page_token` of the page before; none for the first.")
]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserCreate(_Input):
    """A new account."""

    email: Email
    password: Password


class UserInvite(_Input):
    """A new account that a superuser makes, with the superuser's own password as the proof that it is they."""

    email: Email
    role: Role = Field(
        default=None,  # type: ignore[assignment]  # absent, never null
        validate_default=False,
        description="Without it, that of those who register.",
    )
    current_password: CurrentPassword


class _Change(_Input):
    email: Email = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null
    password: Password = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null

    @model_validator(mode="after")
    def _names_a_field(self) -> Self:
        if not self.values():
            raise ValueError("must name at least one field to change")
        return self

    def values(self) -> dict[str, Any]:
        """The fields that are to be changed, and no other."""
        return self.model_dump(exclude_unset=True, exclude={"current_password", "end_tokens"})


class UserUpdate(_Change):
    """What users change of themselves, one field at least, and their password as the proof that it is they."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 2, "dependentRequired": {"end_tokens": ["password"]}})

    current_password: CurrentPassword
    end_tokens: bool = Field(
        default=False,
        strict=True,
        description="With a new password: whether the tokens of one's programs end too.",
    )

    @model_validator(mode="after")
    def _ends_tokens_with_a_password(self) -> Self:
        if "end_tokens" in self.model_fields_set and "password" not in self.model_fields_set:
            raise ValueError("end_tokens goes with a new password")
        return self


class UserUpdateBySuperuser(_Change):
    """What superusers change of a user, one field at least, and their own password as the proof that it is they."""

    model_config = ConfigDict(
        json_schema_extra={
            "minProperties": 1,
            "allOf": [
                {"not": {"required": ["current_password"], "maxProperties": 1}},
                {"not": {"required": ["role", "is_superuser"]}},
            ],
        }
    )

    current_password: CurrentPassword = Field(
        default=None,  # type: ignore[assignment]  # absent, never null
        validate_default=False,
        description="The superuser's own password as it is now, wanted with another address, password or right.",
    )

    @model_validator(mode="after")
    def _names_a_right_once(self) -> Self:
        if {"role", "is_superuser"} <= self.model_fields_set:
            raise ValueError("role and is_superuser are the same right: name one of them")
        return self

    def values(self) -> dict[str, Any]:
        values = super().values()
        role: Role | None = values.pop("role", None)
        return values if role is None else values | role.columns

    is_active: bool = Field(
        default=None,  # type: ignore[assignment]  # absent, never null
        validate_default=False,
        strict=True,
        description="False ends every session and takes back every token, at once.",
    )
    role: Role = Field(
        default=None,  # type: ignore[assignment]  # absent, never null
        validate_default=False,
        description="Instead of `is_superuser`: a `reader` reads books, an `editor` writes them too, an `admin` is a "
        "superuser.",
    )
    is_superuser: bool = Field(default=None, validate_default=False, strict=True)  # type: ignore[assignment]  # absent, never null
    is_verified: bool = Field(default=None, validate_default=False, strict=True)  # type: ignore[assignment]  # absent, never null


class UserRead(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    new_email: str | None = Field(
        description="The address that is the user's when it is confirmed; null if none waits.", examples=[None]
    )
    is_active: bool = Field(description="Whether the user may sign in.")
    role: Role = Field(description="What the user may do: a reader reads books, an editor writes them too.")
    is_superuser: bool = Field(description="Whether the user manages the others: an admin.")
    is_verified: bool = Field(description="Whether the user has shown that the address is theirs.")
    created_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])


class UserPage(BaseModel):
    """A page of users, by ascending id."""

    users: list[UserRead]
    next_page_token: str | None = Field(description="Ask for the next page with it; null at the end.")


class _SessionFacts(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime = Field(description="When the user signed in, UTC.", examples=["2026-11-23T18:00:00.123456Z"])
    last_used_at: datetime = Field(
        description="When it was begun, or refreshed for the last time, UTC.", examples=["2026-11-23T18:15:00.123456Z"]
    )
    expires_at: datetime = Field(
        description="When it ends unless it is refreshed, UTC.", examples=["2026-12-23T18:15:00.123456Z"]
    )
    user_agent: str | None = Field(
        description="The program that signed in, as it called itself.", examples=["Mozilla/5.0 (X11; Linux x86_64)"]
    )
    address: str | None = Field(description="The address it signed in from.", examples=["192.0.2.7"])


class SessionRead(_SessionFacts):
    """A place where the user is signed in."""

    current: bool = Field(description="Whether it is the one that asks.")


class SessionList(BaseModel):
    """The user's sessions that have not ended."""

    sessions: list[SessionRead]


def _whole(value: object) -> object:
    # JSON has one kind of number: 30.0 is 30.
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ApiTokenCreate(_Input):
    """A token for a program, and the user's password as the proof that it is they."""

    current_password: CurrentPassword
    name: TokenName
    scopes: TokenScopes
    expires_in_days: Annotated[int, BeforeValidator(_whole)] = Field(
        default=30, strict=True, ge=1, le=365, description="After so many days it is good no more.", examples=[90]
    )


class ApiTokenRead(BaseModel):
    """What is told of a token that is good."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str = Field(examples=["nightly export"])
    scopes: list[TokenScope] = Field(examples=[["books:read"]])
    created_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])
    expires_at: datetime = Field(description="UTC.", examples=["2027-02-21T18:00:00.123456Z"])


class ApiTokenCreated(ApiTokenRead):
    """A token, told this once."""

    token: str = Field(
        description="To be sent along as `Authorization: Bearer ...`. Whoever has it can do what its scopes allow.",
        examples=["colophon_api_..."],
    )


class ApiTokenList(BaseModel):
    """The user's tokens that have not expired."""

    tokens: list[ApiTokenRead]


class LinkedLogin(BaseModel):
    """An account with a provider, good for signing in."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    provider: str = Field(examples=["github"])
    account_email: str = Field(
        description="The address that the provider had verified when it was last used.", examples=["ada@example.com"]
    )
    created_at: datetime = Field(description="When it was linked, UTC.", examples=["2026-11-23T18:00:00.123456Z"])


class SessionOfUser(_SessionFacts):
    """A place where a user is signed in."""


class Access(BaseModel):
    """Whatever one can act as a user with, but for the password."""

    sessions: list[SessionOfUser] = Field(description="Those that have not ended, the one that was used last first.")
    tokens: list[ApiTokenRead] = Field(description="Those that have not expired, the newest first.")
    logins: list[LinkedLogin] = Field(description="Accounts at providers, the oldest first.")


class AuditEvent(BaseModel):
    """Something that was done, or tried, with an account."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(description="Ascending with time.", examples=[17])
    occurred_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])
    kind: str = Field(examples=["signed-in"])
    outcome: Literal["done", "wrong", "refused"] = Field(
        description="`wrong`: a password, a code or a link was not good. `refused`: by a limit, a role, or what is "
        "there; to the same ones again and again it is noted once a minute."
    )
    user_id: UUID | None = Field(description="Whose account it is; null if that is not known.")
    actor_id: UUID | None = Field(description="Who did it; null for who was not signed in.")
    session_id: UUID | None = Field(description="The session it was done in, or that it began.")
    address: str | None = Field(description="Of the client.", examples=["192.0.2.7"])
    trace_id: str | None = Field(
        description="As in the log and in traces.", examples=["4bf92f3577b34da6a3ce929d0e0e4736"]
    )
    detail: str | None = Field(examples=["github"])


class AuditPage(BaseModel):
    """A page of the audit trail, the newest event first."""

    events: list[AuditEvent]
    next_before: int | None = Field(description="Ask for the next page with `before`; null at the end.", examples=[16])


class Tokens(BaseModel):
    """A sign-in (RFC 6749, section 5.1)."""

    access_token: str = Field(description="To be sent along as `Authorization: Bearer ...`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  # no secret
    expires_in: int = Field(description="Seconds for which the access token is good.", examples=[900])
    refresh_token: str = Field(
        description="Good once, for new tokens of the same session.", examples=["colophon_refresh_..."]
    )
    refresh_expires_in: int = Field(
        description="Seconds for which the refresh token is good, and the session lives without it.",
        examples=[2_592_000],
    )


class Refresh(_Input):
    """What a session is refreshed with."""

    refresh_token: str = Field(
        max_length=SECRET_TOKEN_MAX, description="The one that came last.", examples=["colophon_refresh_..."]
    )


class CurrentPasswordOnly(_Input):
    """The proof that it is the user who asks."""

    current_password: CurrentPassword


class EmailOnly(_Input):
    """An address to which a link is to be sent."""

    email: Email


class NewPassword(_Input):
    """A new password, and the proof that it may be set."""

    token: MailedToken
    password: Password


class Verification(_Input):
    """The proof that an address is the user's, who has made the account."""

    token: MailedToken
    current_password: CurrentPassword = Field(
        description="Of the account. Who has the address alone has not shown that the account is theirs, and chooses a "
        "password first (`forgotPassword`)."
    )
