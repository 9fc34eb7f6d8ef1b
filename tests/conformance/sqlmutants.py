"""Bugs that are the same on every SQL store with many writers; each store's own file plants them beside its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from storekit import Rig

from callboard.backends.store.sql import SqlStore
from callboard.backends.store.sql.tx import Tx
from callboard.core.errors import StaleEpoch

if TYPE_CHECKING:
    from callboard.backends.store.sql.dialect import Dialect
    from callboard.core.records import Epoch

Patch = pytest.MonkeyPatch
Mutant = Callable[[Patch], None]
Check = Callable[[Rig], None]


def edit(dialect: Dialect, name: str, old: str, new: str, patch: Patch) -> None:
    """Change a statement."""
    statements: Any = dialect.statements
    assert old in statements[name], f"{name} has no {old!r}: the mutant must follow the store"
    patch.setitem(statements, name, statements[name].replace(old, new))


def look_then_act(patch: Patch) -> None:
    """The fence is read in a transaction of its own."""
    fenced = SqlStore._fenced

    def mutant(self: SqlStore, epoch: Epoch, **options: Any) -> Any:
        if self.fence()[:2] != epoch:
            raise StaleEpoch("not the store's epoch")
        return fenced(self, epoch, **options)

    patch.setattr(SqlStore, "_fenced", mutant)
    no_epoch_check(patch)


def no_epoch_check(patch: Patch) -> None:
    """Any leader may act."""
    patch.setattr(Tx, "fenced", lambda _self, _epoch: None)


def match_by_id_only(patch: Patch) -> None:
    """A finish counts for whichever run of the job is under way."""
    finish = SqlStore.finish

    def mutant(self: SqlStore, session: Any, outcomes: Any) -> Any:
        now = {outcome.held.id: self.job(outcome.held.id) for outcome in outcomes}
        return finish(self, session, [
            outcome._replace(held=outcome.held._replace(token=now[outcome.held.id].token)) for outcome in outcomes])

    patch.setattr(SqlStore, "finish", mutant)


def leader_looks_once(patch: Patch) -> None:
    """The leader does not look again once it has said that it waits."""
    patch.setattr(Tx, "look_again", lambda _self: None)


def the_ended_session_takes(patch: Patch) -> None:
    """A take does not look whether its session lives."""
    patch.setattr(Tx, "live_session", lambda _self, _session: "node")


def later_at_once(connection: type, patch: Patch) -> None:
    """What comes after the commit is done within the transaction."""
    def at_once(self: Any, statement: str, values: Any, sink: Any, /) -> None:
        sink(self.run(statement, values).fetchall())

    patch.setattr(connection, "later", at_once)


def check_jobs_are_taken_by_rank(rig: Rig) -> None:
    rig.push("low", priority=-1)
    rig.push("high", priority=1)
    rig.push("later")
    assert [one.id for one in rig.run(rig.node(), 3)] == ["high", "later", "low"]


def check_name(check: Check) -> str:
    """The test's name."""
    return (check.func if isinstance(check, partial) else check).__name__
