"""What the driver's failures mean."""

import psycopg
import pytest
from book_db.errors import (
    ConnectionLost,
    DatabaseOverloaded,
    DatabaseUnavailable,
    NotCommitted,
    ReadOnlyDatabase,
    RightsMissing,
    SchemaNotThere,
    UnfitDatabase,
)
from book_db.postgres.failures import has_answered, meaning_of, translate_errors, why
from psycopg import errors

SERVER = 'connection to server at "127.0.0.1", port 5432 failed'


class TestASqlstate:
    @pytest.mark.parametrize(
        ("failure", "meaning"),
        [
            pytest.param(errors.SerializationFailure, NotCommitted, id="conflict-or-a-standby-that-must-go-on"),
            pytest.param(errors.AdminShutdown, NotCommitted, id="the-server-is-stopped"),
            pytest.param(errors.CannotConnectNow, NotCommitted, id="the-server-is-starting"),
            pytest.param(errors.TooManyConnections, NotCommitted, id="too-many-connections"),
            pytest.param(errors.IdleInTransactionSessionTimeout, NotCommitted, id="idle-in-a-transaction"),
            pytest.param(errors.ReadOnlySqlTransaction, ReadOnlyDatabase, id="a-standby"),
            pytest.param(errors.QueryCanceled, DatabaseOverloaded, id="statement-timeout"),
            pytest.param(errors.LockNotAvailable, DatabaseOverloaded, id="lock-timeout"),
            pytest.param(errors.InsufficientPrivilege, RightsMissing, id="a-role-without-rights"),
            pytest.param(errors.UndefinedTable, SchemaNotThere, id="not-set-up"),
            pytest.param(errors.CrashShutdown, ConnectionLost, id="another-backend-crashed"),
            pytest.param(errors.ProtocolViolation, ConnectionLost, id="a-pooler-lost-the-server"),
            pytest.param(errors.InvalidPassword, UnfitDatabase, id="a-pooler-is-not-let-in"),
            pytest.param(errors.DiskFull, DatabaseUnavailable, id="disk-full"),
        ],
    )
    def test_has_one_meaning(self, failure: type[psycopg.Error], meaning: type[DatabaseUnavailable]) -> None:
        assert type(meaning_of(failure("as it says"), ConnectionLost)) is meaning

    @pytest.mark.parametrize("failure", [errors.UniqueViolation, errors.DivisionByZero, errors.SyntaxError])
    def test_of_a_statement_that_is_wrong_has_none(self, failure: type[psycopg.Error]) -> None:
        with pytest.raises(failure), translate_errors(on_lost=ConnectionLost):
            raise failure


class TestAConnectionThatWasNotMade:
    @pytest.mark.parametrize(
        "said",
        [
            f'{SERVER}: FATAL:  password authentication failed for user "ann"',
            f'{SERVER}: FATAL:  role "ann" does not exist',
            f'{SERVER}: FATAL:  database "books" does not exist',
            f'{SERVER}: FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "ann", database "books", no encryption',
            f'{SERVER}: FATAL:  permission denied for database "books"\nDETAIL:  User does not have CONNECT privilege.',
            f"{SERVER}: FATAL:  unsupported startup parameter: options",
            f"{SERVER}: fe_sendauth: no password supplied",
        ],
    )
    def test_for_one_that_does_not_wait_is_an_unfit_database(self, said: str) -> None:
        meaning = meaning_of(psycopg.OperationalError(said), NotCommitted)
        assert isinstance(meaning, UnfitDatabase)
        assert has_answered(meaning)
        assert why(meaning) == said.partition("\n")[0]

    @pytest.mark.parametrize("said", [f"{SERVER}: session is read-only", f"{SERVER}: server is in hot standby mode"])
    def test_to_a_standby_is_read_only(self, said: str) -> None:
        assert isinstance(meaning_of(psycopg.OperationalError(said), NotCommitted), ReadOnlyDatabase)

    @pytest.mark.parametrize(
        ("said", "answered"),
        [
            pytest.param(f"{SERVER}: Connection refused\n\tIs the server running?", False, id="nobody-there"),
            pytest.param("failed to resolve host 'nowhere': Name or service not known", False, id="no-such-host"),
            pytest.param("connection timeout expired", False, id="no-answer"),
            pytest.param(f"{SERVER}: FATAL:  sorry, too many clients already", True, id="full"),
            pytest.param(f"{SERVER}: FATAL:  the database system is starting up", True, id="starting"),
            pytest.param(
                f"{SERVER}: FATAL:  Passwort-Authentifizierung fehlgeschlagen", True, id="in-another-language"
            ),
        ],
    )
    def test_for_any_other_reason_may_be_made_later(self, said: str, answered: bool) -> None:
        failure = psycopg.OperationalError(said)
        with pytest.raises(NotCommitted) as raised, translate_errors(on_lost=NotCommitted):
            raise failure
        assert type(raised.value) is NotCommitted
        assert has_answered(raised.value) is answered
