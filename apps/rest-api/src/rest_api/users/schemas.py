"""What users look like in requests and responses."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from book_db.secret_tokens import LENGTH_MAX as SECRET_TOKEN_MAX
from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rest_api.users import passwords
from rest_api.users.addresses import MAX_LENGTH, normalised

PAGE_SIZE_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 100

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
MailedToken = Annotated[
    str, Field(min_length=1, max_length=1_024, description="What the link in the mail ends with, after `#token=`.")
]

UserId = Annotated[UUID, Path(description="The user's id.")]
PageSize = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="How many users at most.")]
PageToken = Annotated[
    str | None, Query(max_length=100, description="`next_page_token` of the page before; none for the first.")
]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class UserCreate(_Input):
    """A new account."""

    email: Email
    password: Password


class UserUpdate(_Input):
    """What users change of themselves, one field at least."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    email: Email = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null
    password: Password = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null

    @model_validator(mode="after")
    def _names_a_field(self) -> "UserUpdate":
        if not self.model_fields_set:
            raise ValueError("must name at least one field")
        return self

    def values(self) -> dict[str, Any]:
        """The fields that are named, and no other."""
        return self.model_dump(exclude_unset=True)


class UserUpdateBySuperuser(UserUpdate):
    """What superusers change of a user, one field at least."""

    is_active: bool = Field(default=None, validate_default=False, description="False ends every session at once.")  # type: ignore[assignment]  # absent, never null
    is_superuser: bool = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null
    is_verified: bool = Field(default=None, validate_default=False)  # type: ignore[assignment]  # absent, never null


class UserRead(BaseModel):
    """A user."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str = Field(examples=["ada@example.com"])
    is_active: bool = Field(description="Whether the user may sign in.")
    is_superuser: bool = Field(description="Whether the user manages the others.")
    is_verified: bool = Field(description="Whether the user has shown that the address is theirs.")
    created_at: datetime = Field(description="UTC.", examples=["2026-11-23T18:00:00.123456Z"])


class UserPage(BaseModel):
    """A page of users, by ascending id."""

    users: list[UserRead]
    next_page_token: str | None = Field(description="Ask for the next page with it; null at the end.")


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


class EmailOnly(_Input):
    """An address to which a link is to be sent."""

    email: Email


class NewPassword(_Input):
    """A new password, and the proof that it may be set."""

    token: MailedToken
    password: Password


class Verification(_Input):
    """The proof that an address is the user's."""

    token: MailedToken
