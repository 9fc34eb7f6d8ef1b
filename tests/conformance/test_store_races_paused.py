"""An act that stands still between two of its statements while others go on, where writers do that side by side."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from storekit import Rig, held, ids, job
from storeplaces import PLACES, rigs

from callboard.backends.store.sql.tx import Tx
from callboard.core.records import JobState, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIDE_BY_SIDE = [name for name in PLACES if name in {"postgresql", "mariadb"}]


@pytest.fixture(params=SIDE_BY_SIDE)
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A rig whose leader has begun its term, on each store in which writers go on side by side."""
    with ExitStack() as cleanup:
        rig = rigs(PLACES[request.param], tmp_path, cleanup)
        assert rig.epoch.number == 1
        yield rig


def pause(patch: pytest.MonkeyPatch, statement: str, meanwhile: Callable[[], None]) -> list[str]:
    """Let the next act that comes to a statement wait there until something else has happened; whether it did."""
    run, paused = Tx.run, list[str]()

    def mutant(self: Tx, name: str, *values: object) -> Any:
        if name == statement and not paused:
            paused.append(name)
            meanwhile()
        return run(self, name, *values)

    patch.setattr(Tx, "run", mutant)
    return paused


def test_a_late_copy_of_a_push_holds_no_key(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    session, other = rig.node(), rig.another()

    def meanwhile() -> None:
        other.push([job("a", unique="k")])
        rig.succeed(session, rig.run_one(session))

    paused = pause(monkeypatch, "producer.take_key", meanwhile)
    receipt = rig.store.push([job("a", unique="k")])
    assert (receipt.ids, receipt.new, paused) == (("a",), 0, ["producer.take_key"])
    assert rig.push("b", unique="k").new == 1, "the job that holds the key has ended"


@pytest.mark.parametrize("again", [True, False])
def test_a_take_of_what_ended_meanwhile(rig: Rig, monkeypatch: pytest.MonkeyPatch, again: bool):  # noqa: FBT001 - as it is
    rig.push("a")
    session, other = rig.node("n1"), rig.node("n2")
    first = rig.run_one(session)

    def meanwhile() -> None:
        rig.succeed(session, first, OutcomeKind.HANDED_BACK if again else OutcomeKind.COMPLETED)
        if again:
            rig.run_one(other)

    paused = pause(monkeypatch, "node.running_job", meanwhile)
    taken = rig.take(session, holding=())
    assert paused == ["node.running_job"]
    assert [held(one) for one in taken] in ([], [held(first)]), "never with the token of another's run"
    if again:
        assert ids(rig.take(other, holding=())) == ["a"]


def test_a_mark_is_kept_or_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch):
    rig.push("a")
    session = rig.node()
    first = rig.run_one(session)
    rig.succeed(session, first, OutcomeKind.HANDED_BACK)
    rig.assign(session)
    token = rig.record("a").token
    assert token is not None
    early = held(first)._replace(token=token)

    def meanwhile() -> None:
        rig.take(session)

    paused = pause(monkeypatch, "changes.rows_by_n", meanwhile)
    refused = rig.store.mark_started(session, [early])
    assert (paused, rig.state("a")) == (["changes.rows_by_n"], JobState.RUNNING)
    assert (refused == (early,)) == (rig.record("a").started_ms is None)
