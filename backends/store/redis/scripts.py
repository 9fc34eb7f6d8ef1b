"""The Lua scripts: each act is one, in a file of its own; what they share is put in front of them when loaded."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from callboard.core.errorrecord import error_at_end
from callboard.core.history import HISTORY_MAX, HISTORY_MAX_BYTES, RUN_MAX_BYTES
from callboard.core.lifecycle import (
    ISOLATE_AT_LOSSES,
    LOSSES_MAX,
    Charge,
    Due,
    ErrorFate,
    Event,
    Holding,
    Transition,
    event_of,
    release_event,
    transition,
)
from callboard.core.records import JobState, OutcomeKind, Step, UniqueUntil

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = __name__.rpartition(".")[0]
_EVENTS: Final = tuple(Event)
_CHARGES: Final = (Charge.NOTHING, Charge.ATTEMPT, Charge.LOSS, Charge.RESET, Charge.DOUBT)
_DUES: Final = (Due.KEPT, Due.NOW, Due.LATER)
_FATES: Final = (ErrorFate.KEPT, ErrorFate.SET, ErrorFate.CLEARED)
_BOTH: Final = (False, True)


class Script(NamedTuple):
    """One act."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """The act in the file `name`.lua, with what its first line says that it needs."""
    body = _read(name)
    text = body
    if name != "open":
        first = body.partition("\n")[0]
        parts = first.removeprefix("-- needs: ").split(", ") if first.startswith("-- needs: ") else []
        text = "\n".join([_read("base"), *map(_part, parts), body])
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - how Redis names its scripts


def lone_script(package: str, name: str) -> Script:
    """A script that needs nothing in front of it."""
    text = files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - as above


def _part(name: str) -> str:
    return _decisions() + _read(name) if name == "lifecycle" else _read(name)


@cache
def _read(name: str) -> str:
    return files(_PACKAGE).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")


@cache
def _decisions() -> str:
    """The lifecycle's table and rules as Lua: a script looks them up, and has none of its own."""
    lines = [f"local E_{event.name} = {number}" for number, event in enumerate(_EVENTS)]
    lines += [
        f"local EVENTS, LOSSES_MAX, ISOLATE_AT = {len(_EVENTS)}, {LOSSES_MAX}, {ISOLATE_AT_LOSSES}",
        f"local HISTORY_MAX, HISTORY_BYTES, RUN_MAX = {HISTORY_MAX}, {HISTORY_MAX_BYTES}, {RUN_MAX_BYTES}",
        f"local STARTED, DONE, PERIOD = {int(UniqueUntil.STARTED)}, {int(UniqueUntil.DONE)}, {int(UniqueUntil.PERIOD)}",
        f"local THEN = {_literal(_transitions())}",
        f"local OUTCOMES = {_literal(_outcomes())}",
        f"local RELEASES = {_literal(_releases())}",
        "local function event_name(event)",
        "  return ({" + ", ".join(f'"{event.value}"' for event in _EVENTS) + "})[event + 1]",
        "end",
        "local function error_at_end(event, kind)",
        "  return ({" + ", ".join(f"[{at}] = {_literal(error)}" for at, error in _errors()) + "})[event * 16 + kind]",
        "end",
    ]
    return "\n".join(lines) + "\n"


def _errors() -> Iterator[tuple[int, bytes]]:
    """Why a job fails whose node said nothing."""
    for (number, event), kind in product(enumerate(_EVENTS), OutcomeKind):
        error = error_at_end(event, kind, None)
        if error is not None:
            yield number * 16 + int(kind), error


def _literal(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def _transitions() -> bytes:
    cells = (transition(state, step, event) for state, step, event in product(JobState, Step, _EVENTS))
    return b"".join(map(_cell, cells))


def _cell(then: Transition | None) -> bytes:
    if then is None:
        return b"\xff\xff"
    step = 0 if then.step is None else int(then.step) + 1
    costs = _CHARGES.index(then.charge) + 8 * _DUES.index(then.due) + 32 * _FATES.index(then.error)
    return bytes((int(then.to) + 8 * step, costs))


def _outcomes() -> bytes:
    cases = product(OutcomeKind, Step, (0, LOSSES_MAX - 1), _BOTH, _BOTH, _BOTH)
    return bytes(
        _EVENTS.index(event_of(kind, step, losses, has_hook=hook, cancel_asked=cancel, once=once))
        for kind, step, losses, hook, cancel, once in cases)


def _releases() -> bytes:
    cases = product((JobState.ASSIGNED, JobState.RUNNING), Step, (0, LOSSES_MAX - 1), _BOTH, _BOTH, _BOTH, _BOTH,
                    _BOTH)
    return bytes(
        _EVENTS.index(release_event(Holding(
            state, step, losses, started=started, careful=careful, once=once, has_hook=hook,
            cancel_asked=cancel)))
        for state, step, losses, started, careful, once, hook, cancel in cases)
