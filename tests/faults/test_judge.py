"""The judge: finds nothing in a correct system, and a violation in one for each thing that it did wrong."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from faults.judge import Evidence, violations
from faults.writes import Attempt, Book, Entry, Kind, Outcome, Write

ANN, BOB = "ann", "bob"

FIRST = Book(1, "Emma", "Austen", "1815-12-23", 1)
SECOND = FIRST._replace(title="Emma. A novel", version=2)
THIRD = SECOND._replace(author="Jane Austen", version=3)
GONE = THIRD._replace(version=4)
OTHER = Book(2, "Romola", "Eliot", "1863-01-01", 1)


def fields_of(book: Book) -> Mapping[str, str]:
    return {"title": book.title, "author": book.author, "publication_date": book.publication_date}


def done(at: float, answer: str, book: Book | None = None) -> Attempt:
    return Attempt(at, at + 0.5, answer, Outcome.DONE, book and book.version, book)


def refused(at: float, answer: str, version: int | None = None) -> Attempt:
    return Attempt(at, at + 0.5, answer, Outcome.NOT_DONE, version)


def lost(at: float) -> Attempt:
    return Attempt(at, at + 0.5, "ReadError", Outcome.UNKNOWN)


def create(book: Book, *attempts: Attempt, key: str | None = None) -> Write:
    return Write(ANN, "created", fields_of(book), key=key, attempts=list(attempts))


def change(fields: Mapping[str, str], *attempts: Attempt, if_match: int | None = None) -> Write:
    return Write(BOB, "updated", fields, 1, if_match, attempts=list(attempts))


def delete(*attempts: Attempt, if_match: int | None = None) -> Write:
    return Write(BOB, "deleted", {}, 1, if_match, attempts=list(attempts))


def entry(kind: Kind, book: Book) -> Entry:
    return Entry(kind, ANN if kind == "created" else BOB, book)


def placed(*entries: Entry) -> list[tuple[int, Entry]]:
    return list(enumerate(entries, start=1))


WRITES = [
    create(FIRST, lost(0), done(1, "201", FIRST), key="a key"),
    change({"title": SECOND.title}, done(2, "200", SECOND)),
    change({"title": "Too late"}, refused(2, "412 precondition-failed", 2), if_match=1),
    change({"author": THIRD.author}, lost(3)),
    change({"title": "Never"}, refused(4, "503 unavailable"), lost(5)),
    delete(lost(6)),
    delete(done(7, "204")),
    change({"title": "After the end"}, refused(8, "404 book-not-found")),
    create(OTHER, lost(9)),
]
LOG = [
    entry("created", FIRST),
    entry("updated", SECOND),
    entry("updated", THIRD),
    entry("created", OTHER),
    entry("deleted", GONE),
]
CORRECT = Evidence(
    writes=WRITES,
    reads={SECOND, THIRD},
    log=placed(*LOG),
    watched=placed(*LOG),
    rows={2: OTHER},
    shown={1: None, 2: OTHER},
    left={"outbox": 0},
)


def log(*entries: Entry) -> Evidence:
    return replace(CORRECT, log=placed(*entries))


def writes(changed: Mapping[int, Write | None]) -> Evidence:
    """Those of the correct one, but for some that are others, or were never asked for."""
    told = [changed.get(number, write) for number, write in enumerate(WRITES)]
    return replace(CORRECT, writes=[write for write in told if write])


class TestTheJudge:
    def test_finds_nothing_in_a_correct_system(self) -> None:
        assert violations(CORRECT) == []

    @pytest.mark.parametrize(
        ("evidence", "violation"),
        [
            pytest.param(log(*LOG[:2], *LOG[3:]), "has the versions [1, 2, 4] in the log", id="an-update"),
            pytest.param(log(*LOG[:4]), "of book 1 the database has None", id="a-deletion"),
            pytest.param(log(*LOG[:3], LOG[4]), "and the log None", id="a-creation-that-nobody-was-told-of"),
            pytest.param(log(LOG[3]), "is not in the log", id="a-book-with-all-its-changes"),
        ],
    )
    def test_finds_what_was_lost(self, evidence: Evidence, violation: str) -> None:
        assert violation in "\n".join(violations(evidence))

    @pytest.mark.parametrize(
        ("evidence", "violation"),
        [
            pytest.param(log(*LOG[:2], *LOG[1:]), "has the versions [1, 2, 2, 3, 4]", id="an-event-twice"),
            pytest.param(log(LOG[0], LOG[2], LOG[1], *LOG[3:]), "has the versions [1, 3, 2, 4]", id="out-of-order"),
            pytest.param(log(*LOG, entry("created", OTHER._replace(id=3))), "may be there 1 times", id="done-twice"),
            pytest.param(writes({3: None}), "nobody has asked for Entry(kind='updated'", id="an-update-of-nobody's"),
            pytest.param(writes({5: None, 6: None}), "nobody has asked", id="a-deletion-of-nobody's"),
            pytest.param(log(*LOG[:3], LOG[3]._replace(actor=BOB), LOG[4]), "nobody has", id="in-another's-name"),
            pytest.param(log(*LOG[:4], entry("deleted", GONE._replace(title="Sold"))), "nobody", id="other-content"),
            pytest.param(log(*LOG, entry("updated", GONE._replace(version=5))), "deleted, updated", id="after-the-end"),
        ],
    )
    def test_finds_what_nobody_asked_for(self, evidence: Evidence, violation: str) -> None:
        assert violation in "\n".join(violations(evidence))

    @pytest.mark.parametrize(
        ("evidence", "violation"),
        [
            pytest.param(
                writes({1: change({"title": SECOND.title}, done(2, "200", SECOND._replace(version=7)))}),
                "was answered with Book(id=1, title='Emma. A novel', author='Austen', publication_date='1815-12-23', "
                "version=7), and is not in the log",
                id="what-was-not-done",
            ),
            pytest.param(
                writes({3: change({"author": THIRD.author}, refused(3, "503 unavailable"))}),
                "is in the log 1 times, and may be there 0 times",
                id="a-refusal-of-what-was-done",
            ),
            pytest.param(
                writes({1: change({"title": SECOND.title}, lost(2), if_match=3)}), "nobody", id="a-condition-not-met"
            ),
            pytest.param(
                writes({0: create(FIRST, done(3, "201", FIRST))}),
                "version 1 of book 1 was made after 2 had been answered",
                id="what-was-before",
            ),
            pytest.param(
                writes({8: create(OTHER, done(9, "201", OTHER), done(10, "201", OTHER._replace(id=3)), key="a key")}),
                "was answered with Book(id=3",
                id="two-books-for-one-key",
            ),
            pytest.param(
                writes({7: Write(BOB, "updated", {"title": "?"}, 2, attempts=[refused(9, "404 book-not-found")])}),
                "was told that there is no such book",
                id="that-a-book-is-gone",
            ),
            pytest.param(
                writes({2: change({"title": "?"}, refused(2, "412 precondition-failed", 9), if_match=1)}),
                "was told that the book is at version 9",
                id="a-version-that-never-was",
            ),
            pytest.param(
                writes({4: change({"title": "?"}, refused(2, "500 internal"))}), "was answered 500", id="an-error"
            ),
            pytest.param(
                writes({8: create(OTHER, refused(9, "503 outcome-unknown"), lost(9), key="a key")}),
                "was told that its outcome is unknown",
                id="a-doubt-where-there-is-a-key",
            ),
        ],
    )
    def test_finds_a_wrong_answer_to_a_writer_about(self, evidence: Evidence, violation: str) -> None:
        assert violation in "\n".join(violations(evidence))

    @pytest.mark.parametrize(
        ("evidence", "violation"),
        [
            pytest.param(replace(CORRECT, rows={}), "the database has None, and the log Book(id=2", id="no-row"),
            pytest.param(
                replace(CORRECT, rows={2: OTHER._replace(title="Sold")}), "the database has Book(id=2", id="a-row"
            ),
            pytest.param(
                replace(CORRECT, shown={1: THIRD, 2: OTHER}), "readers are shown Book(id=1", id="a-stale-cache"
            ),
            pytest.param(
                replace(CORRECT, reads={THIRD._replace(version=2)}),
                "a reader was shown",
                id="a-read-of-what-never-was",
            ),
            pytest.param(replace(CORRECT, watched=placed(*LOG[:2], *LOG[3:])), "watcher was shown", id="an-event-back"),
            pytest.param(replace(CORRECT, watched=placed(*LOG, LOG[-1])), "instead of None", id="on-with-an-event"),
            pytest.param(replace(CORRECT, errors=["rest-api logged: Oh!"]), "logged: Oh!", id="something-to-itself"),
            pytest.param(replace(CORRECT, left={"outbox": 3}), "3 left in the outbox", id="something-left"),
        ],
    )
    def test_finds_what_is_kept_or_shown_wrongly(self, evidence: Evidence, violation: str) -> None:
        assert violation in "\n".join(violations(evidence))
