"""The bare limit: the same work without a queue's promises.

A SQLite table, one claim of a batch in one transaction, one child process behind a socket, one acknowledgement of the
batch: what is left when fences, tokens, sessions, retries, events and supervision are taken away. DESIGN's bare
prototypes are of this kind.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import struct
import time
from typing import TYPE_CHECKING

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = 100


def drain(path: Path, jobs: int) -> float:
    """Jobs per second of the bare pipeline, on a new file at path, in batches of 100."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE jobs (n INTEGER PRIMARY KEY, state INTEGER, name TEXT, body BLOB)")
    database.execute("CREATE INDEX ready ON jobs (n) WHERE state = 0")
    body = msgpack.packb({"a": {}})
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO jobs (state, name, body) VALUES (0, 'noop', ?)", [(body,)] * jobs)
    database.execute("COMMIT")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _child(theirs)
        os._exit(0)
    theirs.close()
    started_s = time.perf_counter()
    for batch in _claims(database):
        _send(ours, [[n, name, body] for n, name, body in batch])
        done = _receive(ours)
        database.execute("BEGIN IMMEDIATE")
        database.executemany("UPDATE jobs SET state = 2 WHERE n = ? AND state = 1", [(n,) for n in done])
        database.execute("COMMIT")
    took_s = time.perf_counter() - started_s
    ours.close()
    os.waitpid(child, 0)
    database.close()
    return jobs / took_s


def _claims(database: sqlite3.Connection) -> Iterator[list[tuple[int, str, bytes]]]:
    while True:
        database.execute("BEGIN IMMEDIATE")
        rows = database.execute(
            "UPDATE jobs SET state = 1 WHERE n IN (SELECT n FROM jobs WHERE state = 0 ORDER BY n LIMIT ?) "
            "RETURNING n, name, body", (BATCH,)).fetchall()
        database.execute("COMMIT")
        if not rows:
            return
        yield rows


def _child(link: socket.socket) -> None:
    jobs = {"noop": lambda: None}
    while True:
        batch = _receive(link)
        if batch is None:
            return
        done = []
        for n, name, body in batch:
            arguments = msgpack.unpackb(body)["a"]
            jobs[name](**arguments)
            done.append(n)
        _send(link, done)


def _send(link: socket.socket, value: object) -> None:
    data = msgpack.packb(value)
    link.sendall(struct.pack(">I", len(data)) + data)


def _receive(link: socket.socket) -> list | None:
    head = _exactly(link, 4)
    return None if head is None else msgpack.unpackb(_exactly(link, struct.unpack(">I", head)[0]))


def _exactly(link: socket.socket, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            return None
        data += part
    return data
