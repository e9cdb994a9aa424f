"""What the service is told of the providers that it is registered with."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from book_runtime.settings import SettingsError, load
from rest_api.settings import RestSettings
from rest_api.users.oauth.providers import Credentials, registered

SECRET = "hush-hush"


def settings(monkeypatch: pytest.MonkeyPatch, key: Path, environment: Mapping[str, str]) -> RestSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load(RestSettings, database_url="postgresql:///books", jwt_private_key_file=key)


class TestTheCredentials:
    def test_come_in_pairs(self, monkeypatch: pytest.MonkeyPatch, private_key_file: Path) -> None:
        known = settings(
            monkeypatch, private_key_file, {"GITHUB_CLIENT_ID": "colophon", "GITHUB_CLIENT_SECRET": SECRET}
        )
        assert registered(known) == {"github": Credentials("colophon", SECRET)}

    @pytest.mark.parametrize("provider", ["GITHUB", "GOOGLE"])
    @pytest.mark.parametrize(
        "environment", [pytest.param({"ID": "colophon"}, id="id"), pytest.param({"SECRET": SECRET}, id="secret")]
    )
    def test_are_wrong_where_one_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, private_key_file: Path, provider: str, environment: Mapping[str, str]
    ) -> None:
        """All that is wrong is named together, and no value is repeated."""
        half = {f"{provider}_CLIENT_{name}": value for name, value in environment.items()}
        with pytest.raises(SettingsError) as caught:
            settings(monkeypatch, private_key_file, {**half, "REST_PORT": "eighty"})
        assert {each.variable for each in caught.value.problems} == {f"{provider}_CLIENT_SECRET", "REST_PORT"}
        assert f"must be set if {provider}_CLIENT_ID is, and only then" in str(caught.value)
        assert SECRET not in str(caught.value)

    def test_are_not_shown(self, monkeypatch: pytest.MonkeyPatch, private_key_file: Path) -> None:
        known = settings(
            monkeypatch, private_key_file, {"GOOGLE_CLIENT_ID": "colophon", "GOOGLE_CLIENT_SECRET": SECRET}
        )
        assert SECRET not in repr(known) + str(known.model_dump())

    def test_need_not_be_there(self, monkeypatch: pytest.MonkeyPatch, private_key_file: Path) -> None:
        assert registered(settings(monkeypatch, private_key_file, {})) == {}
