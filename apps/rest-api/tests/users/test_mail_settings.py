from pathlib import Path

import pytest
from book_runtime.settings import SettingsError, load
from rest_api.settings import RestSettings


class TestMailSettings:
    @pytest.mark.parametrize(
        ("variable", "value", "wrong"),
        [
            pytest.param("smtp_url", "smtp://me:s3cret@mail?tls=1", "the only option is starttls", id="unknown-option"),
            pytest.param("smtp_url", "smtps://me:s3cret@mail?starttls=1", "encrypted from the start", id="both"),
            pytest.param("smtp_url", "http://mail", "must start with smtp:// or smtps://", id="other-scheme"),
            pytest.param("mail_from", "books", "must be an e-mail address", id="no-address"),
            pytest.param("mail_from", "a@b.org\r\nBcc: all@b.org", "must be an e-mail address", id="header"),
        ],
    )
    def test_that_are_wrong_are_named_at_start(
        self, private_key_file: Path, variable: str, value: str, wrong: str
    ) -> None:
        known: dict[str, object] = {
            "database_url": "postgresql://localhost/x",
            "jwt_private_key_file": private_key_file,
            variable: value,
        }
        with pytest.raises(SettingsError) as refused:
            load(RestSettings, **known)
        assert [problem.variable for problem in refused.value.problems] == [variable.upper()]
        assert wrong in str(refused.value)
        assert "s3cret" not in str(refused.value)
