"""What executors need of Linux: dying with the parent, adopting orphans, and finding what descends from a process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NAME: Final = 15
_MARK: Final = "CALLBOARD_CHILD"
_NAME: Final = "callboard:"
_ENVIRON_MAX: Final = 1 << 20
_ROUNDS_MAX: Final = 50
_BARE_MAX: Final = 1_000
_EXEC_S: Final = 0.002


class Process(NamedTuple):
    """A process as /proc shows it."""

    pid: int
    parent: int
    group: int
    session: int
    name: bytes
    started: bytes
    dead: bool


def die_with_parent(parent: int, number: int) -> None:
    """Get this signal when the thread that started this process ends; at once if it has ended already."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def processes() -> list[Process]:
    """All processes that /proc shows, also those that are dead and not reaped yet."""
    found: list[Process] = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only; Path objects cost three times as much
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
            # the command's name stands in parentheses and may hold anything, so cut behind the last one
            head, _, tail = file.read().rpartition(b")")
            fields = tail.split()
            command = head.partition(b"(")[2]
            parent, group, session = (int(field) for field in fields[1:4])
            found.append(Process(int(name), parent, group, session, command, fields[19], fields[0] == b"Z"))
    return found


def descendants(roots: Iterable[int], table: list[Process]) -> set[int]:
    """Pids of what descends from these, or is in a group or session that one of them leads; the roots left out."""
    found = set(roots)
    roots = frozenset(found)
    grown = True
    while grown:
        grown = False
        for process in table:
            if process.pid in found:
                continue
            if process.parent in found or process.group in found or process.session in found:
                found.add(process.pid)
                grown = True
    return found - roots


def kill_group(pid: int) -> None:
    """Kill a process that has not been reaped, and its group. Harmless when they are dead."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def mark(ident: int) -> None:
    """Mark this process and all that descends from it: by its name what it forks, by a variable what it executes."""
    os.environ[_MARK] = str(ident)
    name = ctypes.create_string_buffer(f"{_NAME}{ident}".encode()[:15])
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


def kill_tree(pid: int, ident: int, keep: set[int]) -> None:
    """Kill a child that has not been reaped, its session, and all that descends from it.

    Orphans have been adopted by this process; their marks tell whose they are.

    Args:
        pid: the child.
        ident: what it marked itself with.
        keep: the other children of this process.
    """
    me = os.getpid()
    adopted: dict[Process, bytes | None] = {}
    for round_ in range(_ROUNDS_MAX):
        table = processes()
        adopted = {
            process: _ident(process)
            for process in table
            if process.parent == me and process.pid not in keep and not process.dead and process not in _bare
        }
        orphans = {process.pid for process, owner in adopted.items() if owner == str(ident).encode()}
        victims = {pid, *orphans} | descendants({pid, *orphans}, table)
        victims -= keep | {me, pid} | {process.pid for process in table if process.dead}
        if round_ == 0:
            kill_group(pid)
        elif not victims:
            if None not in adopted.values():
                return
            time.sleep(_EXEC_S)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(victim, signal.SIGKILL)
    if len(_bare) > _BARE_MAX:
        _bare.clear()
    _bare.update(process for process, owner in adopted.items() if owner is None)


_bare: Final[set[Process]] = set()
"""Orphans whose environment really is empty: they are not waited for again. They die with the template."""


def _ident(process: Process) -> bytes | None:
    """What a process was marked with; empty: nothing; None: it shows nothing, as while it is just being executed."""
    if process.name.startswith(_NAME.encode()):
        return process.name[len(_NAME) :]
    try:
        with open(f"/proc/{process.pid}/environ", "rb") as file:  # noqa: PTH123 - as in processes()
            variables = file.read(_ENVIRON_MAX).split(b"\0")
    except OSError:
        return b""  # it has gone, or is another user's
    if variables == [b""]:
        return None
    mark = f"{_MARK}=".encode()
    return next((variable[len(mark) :] for variable in variables if variable.startswith(mark)), b"")


def end_all_descendants() -> None:
    """Kill all that descends from this process, adopt and reap it, until nothing is left."""
    while True:
        _kill_below(os.getpid())
        try:
            os.waitpid(-1, 0)  # all its children have been killed, so one of them ends
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                continue
        except ChildProcessError:
            return


def _kill_below(top: int) -> None:
    """By parents only: this process's own group may hold its starter. A dead parent may still have living children."""
    table = processes()
    below = {top}
    grown = True
    while grown:
        found = {process.pid for process in table if process.parent in below} - below
        below |= found
        grown = bool(found)
    for pid in below - {top}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
