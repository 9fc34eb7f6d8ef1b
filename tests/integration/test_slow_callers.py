"""A caller's own transaction with a push in it may take its time, on both servers: it is in nobody's way until it ends.

Names are a test's own: what an earlier one deleted may stand in the indexes still, and MariaDB would lock around it.
"""

from __future__ import annotations

import secrets
from contextlib import closing

import psycopg
import pytest
from mariadbkit import connect
from mariadbkit import prepare as prepare_mariadb
from servers import shared
from storesteps import claim, finish_all, node_of, plan

from callboard.backends.store.sql import open_mariadb, open_postgresql
from callboard.core.errors import StoreUnavailable
from callboard.core.records import CancelResult, JobState, NewJob, UniqueUntil


class Caller:
    """A program with a store, and with a connection of its own in a transaction.

    Attributes:
        tag: begins all names of this test.
    """

    def __init__(self, url: str, level: str) -> None:
        postgresql = url.startswith("postgresql")
        self.tag = secrets.token_hex(4)
        self.store = open_postgresql(url) if postgresql else open_mariadb(url)
        self.raw = psycopg.connect(url, autocommit=True) if postgresql else connect(url)
        self.run(f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}" if postgresql
                 else f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")

    def run(self, text: str) -> None:
        cursor = self.raw.cursor()
        cursor.execute(text)
        cursor.close()

    def begin(self) -> None:
        """With a snapshot, where the level keeps one."""
        if self.store.characteristics.name == "postgresql":
            self.run("BEGIN")
            self.run("SELECT 1")
        else:
            self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def job(self, name: str, queue: str = "q", *, key: str | None = None, **options) -> NewJob:
        unique = None if key is None else f"{self.tag}-{key}"
        return NewJob(f"{self.tag}-{name}", "app.work", f"{self.tag}-{queue}", b"\x80", unique=unique, **options)

    def push(self, *jobs: NewJob) -> tuple[str, ...]:
        """Within the transaction: what the ids are, without the tag."""
        receipt = self.store.push(jobs, connection=self.raw)
        return tuple(found.removeprefix(f"{self.tag}-") for found in receipt.ids)

    def commit(self) -> None:
        self.run("COMMIT")

    def close(self) -> None:
        self.raw.close()
        self.store.close()


def prepare_postgresql(url: str) -> None:
    """Make the tables."""
    open_postgresql(url).close()


PREPARE = {"postgresql": prepare_postgresql, "mariadb": prepare_mariadb}


@pytest.fixture(params=["READ COMMITTED", "REPEATABLE READ"])
def level(request):
    return request.param


@pytest.fixture(params=sorted(PREPARE))
def caller(request, level):
    with shared.database(request.param, PREPARE[request.param]) as url, closing(Caller(url, level)) as caller:
        yield caller


def others_go_on(caller: Caller, *, queue: str = "q", mark: str = "") -> None:
    """Pushes of others around the caller's names, then all that becomes of these jobs; by the store of one of them."""
    store = caller.store
    names = [f"{name}{mark}" for name in ("a", "l", "n", "z")]
    for name in names:
        assert store.push([caller.job(name, queue, key=name), caller.job(f"plain-{name}", "other")]).new == 2
    epoch = store.begin_term(claim(store.fence().term_number + 1, f"owner-{queue}"))
    session = node_of(store, f"node-{queue}", queue=f"{caller.tag}-{queue}")
    store.assign(epoch, plan(session, 10, f"{caller.tag}-{queue}"))
    taken = store.take(session, [f"{caller.tag}-{queue}"])
    assert {f"{caller.tag}-{name}" for name in names} <= {one.id for one in taken}
    assert finish_all(store, session, taken).applied == len(taken)
    store.sweep(epoch, 100)
    assert store.push([caller.job(f"again{mark}", "other", key=names[0])]).new == 1, "its key is free again"


def test_new_jobs_of_the_callers(caller):
    caller.begin()
    assert caller.push(caller.job("m"), caller.job("slow", "q")) == ("m", "slow")
    others_go_on(caller)
    caller.commit()
    assert caller.store.job(f"{caller.tag}-m").state is JobState.READY


def test_a_key_that_nobody_holds(caller):
    caller.begin()
    assert caller.push(caller.job("m", key="m"), caller.job("second", key="m")) == ("m", "m")
    assert caller.push(caller.job("third", key="m")) == ("m",), "the caller's own, in a later push"
    others_go_on(caller)
    caller.commit()
    assert caller.store.push([caller.job("late", key="m")]).ids == (f"{caller.tag}-m",)


def test_a_key_that_another_job_holds_which_ends_meanwhile(caller):
    caller.store.push([caller.job("holder", key="m")])
    caller.begin()
    assert caller.push(caller.job("m", key="m"), caller.job("more")) == ("holder", "more")
    others_go_on(caller)
    assert caller.store.job(f"{caller.tag}-holder").state is JobState.COMPLETED
    caller.commit()
    assert caller.store.push([caller.job("late", key="m")]).new == 1


def test_a_key_that_was_held_for_a_period_which_is_over(caller):
    period = {"unique_until": UniqueUntil.PERIOD, "unique_period_s": 0.001}
    caller.store.push([caller.job("before", key="m", **period)])
    caller.begin()
    assert caller.push(caller.job("m", key="m")) == ("m",)
    others_go_on(caller)
    caller.commit()
    assert caller.store.push([caller.job("late", key="m")]).ids == (f"{caller.tag}-m",)


def test_ids_that_are_there_already(caller):
    caller.begin()
    caller.store.push([caller.job("m", "idle")])
    assert caller.push(caller.job("m", "idle"), caller.job("mine")) == ("m", "mine")
    assert caller.push(caller.job("mine"), caller.job("mine")) == ("mine", "mine"), "its own, which nobody else sees"
    others_go_on(caller)
    assert caller.store.cancel(f"{caller.tag}-m") is CancelResult.CANCELLED
    caller.commit()
    assert caller.store.counts([f"{caller.tag}-q"])[0].ready == 1


def test_a_queue_that_is_newer_than_the_callers_snapshot(caller):
    caller.begin()
    caller.push(caller.job("m", "new"))
    others_go_on(caller, queue="new")
    caller.commit()
    assert caller.store.counts([f"{caller.tag}-new"])[0].ready == 1


def test_one_connection_again_and_again(caller):
    for number in range(3):
        caller.begin()
        caller.push(caller.job(f"m{number}", f"q{number}"))
        caller.push(caller.job(f"m{number}-2", "all"))
        others_go_on(caller, queue=f"q{number}", mark=f"-{number}")
        caller.commit()
    assert caller.store.counts([f"{caller.tag}-all"])[0].ready == 3



def test_names_that_others_take_between_the_callers_look_and_its_push(caller, level, monkeypatch):
    look = caller.store._look_around

    def then_others_push(jobs):
        seen = look(jobs)
        caller.store.push([caller.job("m", key="m"), caller.job("holder", key="k"), caller.job("plain")])
        return seen

    monkeypatch.setattr(caller.store, "_look_around", then_others_push)
    jobs = [caller.job("m", key="m"), caller.job("late", key="k"), caller.job("plain", key="p"), caller.job("mine")]
    caller.begin()
    if level == "REPEATABLE READ" and caller.store.characteristics.name == "postgresql":
        with pytest.raises(StoreUnavailable, match="could not serialize"):  # as for any statement of the caller's own
            caller.push(*jobs)
        caller.commit()
        assert caller.store.job(f"{caller.tag}-mine") is None
        return
    assert caller.push(*jobs) == ("m", "holder", "plain", "mine")
    caller.commit()
    monkeypatch.undo()
    assert caller.store.counts([f"{caller.tag}-q"])[0].ready == 4
    assert caller.store.push([caller.job("n", key="p")]).new == 1, "no job that is in the store has this key"


@pytest.mark.parametrize("level", ["READ UNCOMMITTED", "SERIALIZABLE"], indirect=True)
def test_the_other_levels_do_as_well(caller):
    caller.store.push([caller.job("there", key="k")])
    caller.begin()
    assert caller.push(caller.job("m", "new", key="m"), caller.job("there"), caller.job("late", key="k")) == (
        "m", "there", "there")
    caller.commit()
    assert caller.store.push([caller.job("late", key="m")]).ids == (f"{caller.tag}-m",)
