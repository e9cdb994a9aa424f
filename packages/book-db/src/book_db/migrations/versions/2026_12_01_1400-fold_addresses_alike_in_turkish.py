"""Fold addresses alike in Turkish.

Revision: 0015, after 0014
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0015"
down_revision: str | Sequence[str] | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Where the database's collation is Turkish, lower('I') is a letter of its own. A change of capitals alone was taken for
# another address there, and folded by another rule than the application's.
_LOWER = "lower(translate({}, 'I', 'i'))"


def upgrade() -> None:
    op.execute(_fold_by(_LOWER))


def downgrade() -> None:
    op.execute(_fold_by("lower({})"))


def _fold_by(lower: str) -> str:
    new, old = lower.format("NEW.email"), lower.format("OLD.email")
    return f"""
        CREATE OR REPLACE FUNCTION fold_email() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'INSERT' THEN
                NEW.email_folded := coalesce(NEW.email_folded, {new});
            ELSIF NEW.email_folded = OLD.email_folded AND {new} <> {old} THEN
                NEW.email_folded := {new};
            END IF;
            RETURN NEW;
        END
        $$
    """
