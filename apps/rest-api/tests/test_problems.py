"""Errors as problem documents."""

import json
from http import HTTPStatus
from importlib import import_module
from typing import Any, Final

import pytest
from fastapi import Request
from rest_api.books.streams.problems import StreamError
from rest_api.problems.translation import answer_to
from rest_api.users.oauth.problems import SignInFailed
from support.errors import an_error, kinds_of

TOLD: Final[dict[str, Any]] = {"provider": "github", "status_code": 404, "errors": [], "reason": "x", "headers": None}


def known_errors() -> list[type[Exception]]:
    """All that some room of the service knows how to tell, and all that come from them."""
    import_module("rest_api.app")  # has all rooms register theirs
    known = {kind for each in answer_to.registry.keys() - {object} for kind in kinds_of(each)}
    # What has no status of its own is never raised.
    return sorted(known - {StreamError, SignInFailed}, key=lambda kind: (kind.__module__, kind.__name__))


def told(error: Exception, method: str) -> tuple[int, str]:
    answer = answer_to(
        error, Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": []})
    )
    return answer.status_code, json.loads(bytes(answer.body))["type"]


class TestASubclassOfAnErrorThatIsKnown:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_is_answered_as_its_parent_is(self, method: str) -> None:
        kinds = known_errors()
        assert len(kinds) > 50
        for kind in kinds:
            another = type(f"Another{kind.__name__}", (kind,), {})
            one, other = (told(an_error(each, **TOLD), method) for each in (kind, another))
            assert (one, one[0] != HTTPStatus.INTERNAL_SERVER_ERROR) == (other, True), kind
