"""Make the words of books anew.

Revision: 0014, after 0013
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | Sequence[str] | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_OR_NONE = "OR title_words IS NULL OR author_words IS NULL"


def upgrade() -> None:
    # Those of the release before are of another folding, and are told by what it writes here: the version alone. It
    # takes ours for left behind, and leaves them so when it changes a book. `book_db.migrations.upgrade` makes words.
    _look_for(f"words_version IS DISTINCT FROM version * 1000 + 2 {_OR_NONE}")


def downgrade() -> None:
    _look_for(f"words_version IS DISTINCT FROM version {_OR_NONE}")


def _look_for(books: str) -> None:
    op.drop_index("books_without_words_idx", "books")
    op.create_index("books_without_words_idx", "books", ["id"], postgresql_where=sa.text(books))
