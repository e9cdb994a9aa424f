"""Find books by words, and list them in any order.

Revision: 0003, after 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Words are made in Python: `book_db.migrations.upgrade` fills them in when the schema is there.
    op.add_column("books", sa.Column("title_words", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("books", sa.Column("author_words", sa.ARRAY(sa.Text()), nullable=True))
    op.add_column("books", sa.Column("words_version", sa.BigInteger(), nullable=True))
    for column in ("title", "author"):
        op.alter_column("books", column, type_=sa.Text(collation="C"), existing_nullable=False)
        op.create_index(f"books_{column}_id_idx", "books", [sa.text(f'"left"({column}, 200)'), "id"])
    for column in ("publication_date", "version", "created_at", "updated_at"):
        op.create_index(f"books_{column}_id_idx", "books", [column, "id"])
    op.create_index("books_words_idx", "books", [sa.text("(title_words || author_words)")], postgresql_using="gin")
    op.create_index(
        "books_without_words_idx",
        "books",
        ["id"],
        postgresql_where=sa.text(
            "words_version IS DISTINCT FROM version OR title_words IS NULL OR author_words IS NULL"
        ),
    )


def downgrade() -> None:
    op.drop_index("books_without_words_idx", "books")
    op.drop_index("books_words_idx", "books")
    for column in ("publication_date", "version", "created_at", "updated_at"):
        op.drop_index(f"books_{column}_id_idx", "books")
    for column in ("title", "author"):
        op.drop_index(f"books_{column}_id_idx", "books")
        op.alter_column("books", column, type_=sa.Text(collation="default"), existing_nullable=False)
    op.drop_column("books", "words_version")
    op.drop_column("books", "author_words")
    op.drop_column("books", "title_words")
