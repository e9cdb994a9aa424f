"""What the settings of TLS must be among each other. That each wrong variable is named is tried in test_process.py."""

from collections.abc import Callable
from pathlib import Path

import pytest
from book_runtime.settings import SettingsError, load
from grpc_api.settings import CallSettings

TlsFiles = Callable[[str], Path]

GOOD = {"grpc_tls_cert_file": "cert", "grpc_tls_key_file": "key", "grpc_tls_client_ca_file": "ca"}


def settings(tls_files: TlsFiles, **changed: str | None) -> CallSettings:
    """Those with everything that TLS can have, but for what is changed."""
    return load(CallSettings, **{name: tls_files(file) for name, file in (GOOD | changed).items() if file})


class TestTls:
    def test_is_made_of_all_that_is_set(self, tls_files: TlsFiles) -> None:
        assert settings(tls_files).tls() is not None
        assert settings(tls_files, grpc_tls_client_ca_file=None).tls() is not None

    def test_is_not_spoken_where_nothing_is_set(self) -> None:
        assert load(CallSettings).tls() is None

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            pytest.param({"key": None}, "KEY_FILE: GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE must be set", id="no-key"),
            pytest.param({"cert": None}, "KEY_FILE: GRPC_TLS_CERT_FILE and GRPC_TLS_KEY_FILE", id="key-alone"),
            pytest.param({"cert": None, "key": None}, "CLIENT_CA_FILE: it is of no use", id="authority-alone"),
            pytest.param({"key": "ca"}, "KEY_FILE: there is no private key in PEM", id="no-private-key"),
            pytest.param({"key": "other"}, "KEY_FILE: the key does not fit the certificate", id="another-key"),
            pytest.param({"cert": "key"}, "CERT_FILE: there is no certificate in PEM", id="no-certificate"),
            pytest.param({"client_ca": "key"}, "CLIENT_CA_FILE: there is no certificate in PEM", id="no-authority"),
            pytest.param({"cert": "nothing"}, "CERT_FILE: there is no such file", id="no-file"),
        ],
    )
    def test_by_halves_is_refused(self, tls_files: TlsFiles, changed: dict[str, str | None], told: str) -> None:
        with pytest.raises(SettingsError) as error:
            settings(tls_files, **{f"grpc_tls_{name}_file": file for name, file in changed.items()})
        assert f"GRPC_TLS_{told}" in str(error.value)
        assert "BEGIN" not in str(error.value)

    def test_all_that_is_wrong_is_named_at_once(self, tls_files: TlsFiles) -> None:
        with pytest.raises(SettingsError) as error:
            settings(
                tls_files, grpc_tls_cert_file="key", grpc_tls_key_file="nothing", grpc_tls_client_ca_file="nothing"
            )
        assert [problem.variable.lower() for problem in error.value.problems] == list(GOOD)
