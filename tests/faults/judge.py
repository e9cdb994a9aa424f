"""What must hold after the faults. The judge has watched nothing: it knows what the writers say and what is left.

What was committed is known in two independent ways: by the answers, each of which names the version
it made, and by the rows, each of which counts its versions. The log must agree with both, and hold nothing else.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest
from typing import Final

from faults.writes import Attempt, Book, Entry, Outcome, Write

_ANSWERS: Final = frozenset(("200", "201", "204", "404 book-not-found", "412 precondition-failed"))
_UNAVAILABLE: Final = frozenset(("503 unavailable", "503 outcome-unknown"))


@dataclass(frozen=True)
class Evidence:
    """All that the judge is shown."""

    writes: Sequence[Write]
    reads: Collection[Book]
    """What readers were shown while faults were injected."""
    log: Sequence[tuple[int, Entry]]
    """In the order of its positions, each with its own."""
    watched: Sequence[tuple[int, Entry]]
    """What a watcher was shown of it, in the order of its coming."""
    rows: Mapping[int, Book]
    """The books in the database."""
    shown: Mapping[int, Book | None]
    """What readers are shown now of every book there ever was, through the cache."""
    left: Mapping[str, int]
    """What is left where nothing should be."""
    errors: Sequence[str] = ()
    """What services have logged that tells of an error nobody expected."""
    proxy_answers: frozenset[str] = frozenset()
    """What writers may be told by what stands between them and the service, where something does."""


class _Case:
    """The evidence, put in order."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.histories: dict[int, list[Entry]] = defaultdict(list)
        for _, entry in evidence.log:
            self.histories[entry.book.id].append(entry)
        self.made_by: dict[Write, list[Entry]] = {write: [] for write in evidence.writes}
        self.unexplained: list[Entry] = []
        self._explain()

    def _explain(self) -> None:
        """Finds for each entry the write that made it."""
        texts = {text: write for write in self.made_by for text in write.fields.values()}
        deletions = defaultdict(list)
        for write in self.made_by:
            if write.kind == "deleted":
                deletions[write.book_id].append(write)
        for history in self.histories.values():
            for before, entry in pairwise([None, *history]):
                assert entry
                suspects = [texts.get(entry.book.title), texts.get(entry.book.author), *deletions[entry.book.id]]
                makers = [write for write in suspects if write and _could_make(write, before, entry)]
                if makers:
                    # Of several, those who know that they did it, then those who may have done it.
                    makers.sort(key=lambda write: (-write.count(Outcome.DONE), -write.count(Outcome.UNKNOWN)))
                    self.made_by[makers[0]].append(entry)
                else:
                    self.unexplained.append(entry)


def _could_make(write: Write, before: Entry | None, entry: Entry) -> bool:
    if (write.kind, write.actor) != (entry.kind, entry.actor):
        return False
    if before is None or write.kind == "created":
        return before is None and write.kind == "created" and entry.book.holds(write.fields)
    meets_condition = write.if_match in {None, before.book.version}
    return meets_condition and write.book_id == entry.book.id and before.book.with_fields(write.fields) == entry.book


def violations(evidence: Evidence) -> list[str]:
    """Each violation, in a sentence."""
    case = _Case(evidence)
    checks = (
        *(_answers, _errors, _leftovers, _versions, _rows, _unexplained),
        *(_successes, _failures, _order, _refusals),
        *(_reads, _watching, _cache),
    )
    return [violation for check in checks for violation in check(case)]


def _answers(case: _Case) -> Iterator[str]:
    foreseen = _ANSWERS | _UNAVAILABLE | case.evidence.proxy_answers
    for write in case.evidence.writes:
        for answer in {attempt.answer for attempt in write.attempts}:
            if answer[0].isdigit() and answer not in foreseen:
                yield f"{write} was answered {answer}"
        if write.key and any(attempt.answer == "503 outcome-unknown" for attempt in write.attempts):
            yield f"{write} has a key, and was told that its outcome is unknown"


def _errors(case: _Case) -> Iterator[str]:
    yield from case.evidence.errors


def _leftovers(case: _Case) -> Iterator[str]:
    for place, count in case.evidence.left.items():
        if count:
            yield f"{count} left in the {place}"


def _versions(case: _Case) -> Iterator[str]:
    """Each once, in order, without a gap; made first and removed last."""
    for book_id, history in case.histories.items():
        versions = [entry.book.version for entry in history]
        if versions != list(range(1, len(history) + 1)):
            yield f"book {book_id} has the versions {versions} in the log"
        kinds = [entry.kind for entry in history]
        if kinds[0] != "created" or "created" in kinds[1:] or "deleted" in kinds[:-1]:
            yield f"book {book_id} was {', '.join(kinds)}"


def _rows(case: _Case) -> Iterator[str]:
    """The database holds what the log says, and nothing else."""
    for book_id in case.histories.keys() | case.evidence.rows.keys():
        row, history = case.evidence.rows.get(book_id), case.histories.get(book_id)
        last = history[-1].book if history and history[-1].kind != "deleted" else None
        if row != last:
            yield f"of book {book_id} the database has {row}, and the log {last}"


def _unexplained(case: _Case) -> Iterator[str]:
    for entry in case.unexplained:
        yield f"nobody has asked for {entry}"


def _successes(case: _Case) -> Iterator[str]:
    """What was answered with success was done, and as the answer says."""
    for write, entries in case.made_by.items():
        told = [attempt for attempt in write.attempts if attempt.outcome is Outcome.DONE]
        books = [entry.book for entry in entries]
        for attempt in told:
            if attempt.book not in books and not (write.kind == "deleted" and books):
                yield f"{write} was answered with {attempt.book}, and is not in the log"
        distinct = {attempt.book for attempt in told} if write.key else told
        if len(distinct) > len(entries):
            yield f"{write} was answered {len(distinct)} times with success, and is in the log {len(entries)} times"


def _failures(case: _Case) -> Iterator[str]:
    """What was refused was not done, and what may be done once at most was not done twice."""
    for write, entries in case.made_by.items():
        at_most = write.count(Outcome.DONE) + write.count(Outcome.UNKNOWN)
        if write.key or write.if_match or write.kind == "deleted":
            at_most = min(at_most, 1)
        if len(entries) > at_most:
            yield f"{write} is in the log {len(entries)} times, and may be there {at_most} times"


def _order(case: _Case) -> Iterator[str]:
    """A write that began after another one was answered comes after it."""
    answered: dict[int, list[tuple[Attempt, int]]] = defaultdict(list)
    for write, entries in case.made_by.items():
        for attempt in write.attempts:
            if attempt.outcome is Outcome.DONE:
                # Of a deletion the answer says no version, the log does.
                for book in [attempt.book] if attempt.book else [entry.book for entry in entries]:
                    answered[book.id].append((attempt, book.version))
    for book_id, versions in answered.items():
        versions.sort(key=lambda each: each[0].ended_at)
        ends = [attempt.ended_at for attempt, _ in versions]
        newest = list(accumulate((version for _, version in versions), max, initial=0))
        for attempt, version in versions:
            if (before := newest[bisect_left(ends, attempt.sent_at)]) >= version:
                yield f"version {version} of book {book_id} was made after {before} had been answered"


def _refusals(case: _Case) -> Iterator[str]:
    """Who was told that a book is gone, or at some version, was told the truth."""
    for write in case.evidence.writes:
        history = case.histories.get(write.book_id or 0, [])
        for attempt in write.attempts:
            if attempt.answer.startswith("404") and not (history and history[-1].kind == "deleted"):
                yield f"{write} was told that there is no such book"
            if attempt.answer.startswith("412") and not 0 < (attempt.version or 0) <= len(history):
                yield f"{write} was told that the book is at version {attempt.version}"


def _reads(case: _Case) -> Iterator[str]:
    """Nobody was shown what never was."""
    written = {entry.book for _, entry in case.evidence.log if entry.kind != "deleted"}
    for book in set(case.evidence.reads) - written:
        yield f"a reader was shown {book}"


def _watching(case: _Case) -> Iterator[str]:
    """The watcher was shown every entry once, in order."""
    for logged, watched in zip_longest(case.evidence.log, case.evidence.watched):
        if logged != watched:
            yield f"instead of {logged} the watcher was shown {watched}"
            return


def _cache(case: _Case) -> Iterator[str]:
    for book_id, book in case.evidence.shown.items():
        if book != case.evidence.rows.get(book_id):
            yield f"readers are shown {book}, and the database has {case.evidence.rows.get(book_id)}"
