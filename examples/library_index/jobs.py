"""One job for each module: parse it, and write what it defines and imports into an SQLite index."""

from __future__ import annotations

import ast
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import callboard

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = """
CREATE TABLE IF NOT EXISTS modules (path TEXT PRIMARY KEY, lines INTEGER, functions INTEGER, classes INTEGER);
CREATE TABLE IF NOT EXISTS definitions (path TEXT, line INTEGER, kind TEXT, name TEXT);
CREATE INDEX IF NOT EXISTS definitions_by_path ON definitions (path);
CREATE TABLE IF NOT EXISTS imports (path TEXT, line INTEGER, module TEXT);
CREATE INDEX IF NOT EXISTS imports_by_path ON imports (path);
"""
LOCK_WAIT_S = 30.0

_kept = threading.local()


class Module(NamedTuple):
    """What one file holds.

    Attributes:
        definitions: line, "function" or "class", name.
        imports: line, module.
    """

    lines: int
    definitions: list[tuple[int, str, str]]
    imports: list[tuple[int, str]]

    def count(self, kind: str) -> int:
        """Definitions of a kind."""
        return sum(1 for _, found, _ in self.definitions if found == kind)


# No further attempt makes Python of what is none: such a file goes to the failed list at once.
@callboard.job(queue="index", max_attempts=3, retry_after=1, timeout=60,
               permanent=(SyntaxError, ValueError, RecursionError))
def index_module(index: str, root: str, path: str) -> None:
    """Index the module at root/path."""
    module = parse((Path(root) / path).read_bytes(), path)
    save(kept_index(index), path, module)


def parse(source: bytes, path: str) -> Module:
    """Read a module's source. Raises SyntaxError, ValueError or RecursionError where it is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in old files
        tree = ast.parse(source, path)
    definitions: list[tuple[int, str, str]] = []
    imports: list[tuple[int, str]] = []
    for node in statements(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                definitions.append((node.lineno, "function", node.name))
            case ast.ClassDef():
                definitions.append((node.lineno, "class", node.name))
            case ast.Import():
                imports += [(node.lineno, name.name) for name in node.names]
            case ast.ImportFrom():
                imports.append((node.lineno, "." * node.level + (node.module or "")))
            case _:
                pass
    return Module(len(source.splitlines()), definitions, imports)


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """All statements at any depth. Definitions and imports are nothing else, and expressions are most of a tree."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, block, None)
            if isinstance(inner, list):
                waiting += inner


def open_index(index: str) -> sqlite3.Connection:
    """Connect to the index."""
    connection = sqlite3.connect(index, timeout=LOCK_WAIT_S, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")  # kill -9 loses nothing; after a power cut, run with --fresh
    return connection


def kept_index(index: str) -> sqlite3.Connection:
    """The connection of this thread: a child runs many jobs, and need not connect for each."""
    if getattr(_kept, "index", None) != index:
        _kept.connection, _kept.index = open_index(index), index
    connection: sqlite3.Connection = _kept.connection
    return connection


def create_index(index: str) -> None:
    """Make the index's tables, unless they are there."""
    with closing(open_index(index)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)


def save(connection: sqlite3.Connection, path: str, module: Module) -> None:
    """Write one module, in one transaction, over whatever an earlier run of the same job wrote."""
    with connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        for table in ("definitions", "imports"):
            connection.execute(f"DELETE FROM {table} WHERE path = ?", (path,))  # noqa: S608 - the two names above
        connection.execute("INSERT OR REPLACE INTO modules VALUES (?, ?, ?, ?)",
                           (path, module.lines, module.count("function"), module.count("class")))
        connection.executemany("INSERT INTO definitions VALUES (?, ?, ?, ?)",
                               [(path, *row) for row in module.definitions])
        connection.executemany("INSERT INTO imports VALUES (?, ?, ?)", [(path, *row) for row in module.imports])
