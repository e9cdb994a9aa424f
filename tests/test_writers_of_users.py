"""Nobody writes to an account past the place that asks what it was decided on."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

WRITERS = {
    # A user who was not there before.
    "packages/book-db/src/book_db/accounts/users.py: Users.add",
    "packages/book-db/src/book_db/accounts/oauth_accounts.py: OAuthAccounts.add_user",
    # The place.
    "packages/book-db/src/book_db/accounts/users.py: Users.change",
    # The address as it is, in another column.
    "packages/book-db/src/book_db/accounts/addresses.py: _fold",
    # By id, which is all that it is decided on.
    "packages/book-db/src/book_db/accounts/users.py: Users.remove",
}

_STATEMENTS = {"insert", "update", "delete", "merge"}
_SQL = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE)\s+(?:ONLY\s+)?\"?users\b", re.IGNORECASE
)


def _writes_users(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(_SQL.search(node.value))
    if not isinstance(node, ast.Call) or not node.args:
        return False
    called, table = ast.unparse(node.func).rpartition(".")[2], ast.unparse(node.args[0])
    return called in _STATEMENTS and table in {"User", "User.__table__", "tables.User"}


def _names(node: ast.AST, outer: tuple[str, ...] = ()) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Everything below a node, each with the names of the classes and functions that it stands in."""
    for child in ast.iter_child_nodes(node):
        names = (
            (*outer, child.name) if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else outer
        )
        yield child, names
        yield from _names(child, names)


def writers_in(source: str) -> set[str]:
    return {".".join(names) for node, names in _names(ast.parse(source)) if _writes_users(node)}


def _sources() -> Iterator[Path]:
    """All but migrations, which write before the services of their release start."""
    for member in (*(ROOT / "packages").iterdir(), *(ROOT / "apps").iterdir()):
        yield from (path for path in (member / "src").rglob("*.py") if path.parent.name != "versions")


def test_every_writer_of_users_is_known() -> None:
    found = {f"{path.relative_to(ROOT)}: {name}" for path in _sources() for name in writers_in(path.read_text())}
    assert found == WRITERS


def test_a_writer_is_found_however_it_writes() -> None:
    source = """
class Thief:
    def take(self):
        return sqlalchemy.update(User).values(is_superuser=True)
    async def grab(self):
        await connection.execute("update users set email = 'x'")
def look():
    return select(User)
PROMOTE = text("UPDATE users SET is_superuser = true")
"""
    assert writers_in(source) == {"Thief.take", "Thief.grab", ""}
