"""What is planted into a process under test: each promise's mutants, and faults that no signal makes.

A mutant is a bug that its promise's test must catch; a fault is bad luck under which the promise must hold.
"""

import functools
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from floodplants import flood_from_within, unbounded_mailbox

from callboard.actors import dispatcher, marks, worker
from callboard.backends import clock
from callboard.backends.executors import host, pool
from callboard.backends.store.sql import assign, changes, node, producer, schedules
from callboard.backends.store.sql.sqlite import store as sqlite_store
from callboard.backends.store.sql.sqlite.dialect import sqlite_dialect
from callboard.core import suspicion
from callboard.core.errors import QueueError
from callboard.core.lifecycle import Charge
from callboard.core.records import Held, Outcome, OutcomeKind, PushReceipt, Token
from callboard.core.runs import EndKind, RunEnd

LATE_S = 1.0
"""How late a late copy of a message comes, at most."""


def plant(name: str) -> None:
    """Plant one by its name, and say so on standard error: a test must know that its mutant was there."""
    PLANTS[name]()
    sys.stderr.write(f'{{"planted": "{name}"}}\n')
    sys.stderr.flush()


def _replace_in(name, *changed):
    statements = sqlite_dialect().statements
    for old, new in changed:
        assert old in statements[name], f"{name} has no {old!r}: the mutant must follow the store"
        statements[name] = statements[name].replace(old, new)


# Mutants --------------------------------------------------------------------------------------------------------------


def push_acknowledged_before_commit():
    """G1: push returns while a thread is still to write."""
    push = producer.ProducerPart.push

    def early(self, jobs):
        threading.Timer(0.05, push, (self, jobs)).start()
        return PushReceipt(tuple(job.id for job in jobs), len(jobs), rang=False)

    producer.ProducerPart.push = early


def no_rescue():
    """G2: the leader ends no session."""
    dispatcher.Dispatcher._end = lambda *_: None


def nobody_suspected():
    """G7: jobs go to dead nodes until their sessions are over."""
    suspicion.suspects = lambda *_: frozenset()


def acknowledged_before_run():
    """G3: a job is reported as completed when it is given to a child."""
    run_jobs = worker.Worker._run_jobs

    def early(self, session, jobs, *, healed=False):
        known = set(self._held)
        run_jobs(self, session, jobs, healed=healed)
        self._outbox.add(Outcome(Held(job.ref, job.id, token), OutcomeKind.COMPLETED)
                         for token, job in self._held.items() if token not in known)
        self._outbox.flush(self._session, self._lane)

    worker.Worker._run_jobs = early


def marked_at_take():
    """G3: everything that is taken is told to have started."""
    run_jobs = worker.Worker._run_jobs

    def early(self, session, jobs, *, healed=False):
        known = set(self._held)
        run_jobs(self, session, jobs, healed=healed)
        taken = [Held(job.ref, job.id, token) for token, job in self._held.items() if token not in known]
        if taken:
            self._life_lane.run(lambda: self.parts.store.mark_started(session, taken))

    worker.Worker._run_jobs = early


def careful_marked_late():
    """At most once: a careful job starts, and its mark comes later."""
    call = marks.Marks._call

    def late(self, session, careful, due):
        self._executor.admit([held.token for held in careful])
        time.sleep(0.018)  # as long as the jobs take, so that a slot is always in that state
        call(self, session, careful, due)

    marks.Marks._call = late


def charged_at_assign():
    """G3: the attempt is counted when the job is assigned, not when it ended."""
    _replace_in("leader.give", ("outcome = NULL", "outcome = NULL, attempts = attempts + 1"))
    _replace_in("changes.complete", ("attempts = attempts + 1", "attempts = attempts"))
    charged = changes.charged
    changes.charged = lambda charge, attempts, losses: (
        (attempts, losses) if charge is Charge.ATTEMPT else charged(charge, attempts, losses))


def matched_by_id():
    """G6: an outcome is applied to the job of that id, whatever its token."""
    finish = node.NodePart.finish
    sql = "SELECT epoch, seq FROM callboard_jobs WHERE n = ?"

    def trusting(self, session, outcomes):
        with self._look() as tx:
            now = [tx._connection.execute(sql, (outcome.held.ref,)).fetchone() for outcome in outcomes]
        swapped = [outcome._replace(held=outcome.held._replace(token=Token(*found)))
                   for outcome, found in zip(outcomes, now, strict=True)]
        return finish(self, session, swapped)

    node.NodePart.finish = trusting


def token_reused():
    """G6: a job that was handed back or lost gets its old token again."""
    _replace_in("leader.give", ("epoch = ?, seq = ?", "epoch = coalesce(epoch, ?), seq = coalesce(seq, ?)"))
    taken = assign.taken
    sql = "SELECT epoch, seq FROM callboard_jobs WHERE n = ?"
    move = assign._Handout._move

    def keep(self, *order):
        assign.taken = lambda row, _: taken(row, Token(*self._tx._connection.execute(sql, (row[0],)).fetchone()))
        return move(self, *order)

    assign._Handout._move = keep


def losses_not_counted():
    """G11: a loss costs nothing."""
    charged = changes.charged
    changes.charged = lambda charge, attempts, losses: (
        (attempts, losses) if charge is Charge.LOSS else charged(charge, attempts, losses))


def no_isolation():
    """G11: a job that lost nodes is assigned like any other."""
    found = (" INDEXED BY callboard_jobs_ready", ""), (" AND losses < 2", "")
    for name in ("ready", "next_n", "next_jobs"):
        _replace_in(f"leader.{name}", *found)
    _replace_in("leader.idle_queues", (" INDEXED BY callboard_jobs_ready", ""), (" AND j.losses < 2", ""))
    _replace_in("leader.isolated", ("state = 1 AND losses >= 2", "state = 1 AND losses > 1000000"),
                (" INDEXED BY callboard_jobs_isolated", ""))
    alone = "j.state IN (2, 3) AND j.losses >= 2", "j.state IN (2, 3) AND j.losses > 1000000"
    for name in ("sessions", "session_for"):
        _replace_in(f"leader.{name}", alone, (" INDEXED BY callboard_jobs_alone", ""))


def released_before_the_child_is_dead():
    """G13: at the deadline of a stop, what runs is given back while its child goes on."""
    stop, end = pool.ChildPool.stop, host.TemplateHost.stop

    def slow(self):
        time.sleep(1.5)
        end(self)

    def early(self, deadline_boot_s):
        threading.Timer(1.5, stop, (self, deadline_boot_s)).start()
        running = [run.token for run in self.running()]
        self._events.on_ends((), [RunEnd(token, EndKind.INTERRUPTED) for token in running])

    pool.ChildPool.stop, host.TemplateHost.stop = early, slow


def last_tick_not_compared():
    """G14: whoever looks fires what it saw due, whatever was decided meanwhile."""
    fire = schedules.SchedulePart.fire_tick

    def blind(self, epoch, schedule, last_tick_ms, tick_ms, jobs):
        now = next((row.last_tick_ms for row in self.schedules() if row.name == schedule), last_tick_ms)
        again = [replace(one, id=f"{one.id}-{time.time_ns()}") for one in jobs]
        return fire(self, epoch, schedule, now, max(now + 1, tick_ms), again)

    schedules.SchedulePart.fire_tick = blind


def leases_by_wall_clock():
    """G15: leases and sessions are counted by time.time()."""
    clock.SystemClock.boot_s = lambda _: time.time()


def wall_jumps():
    """A minute after midnight comes an hour early: time.time() jumps by an hour, and back, every two seconds."""
    real, begun = time.time, time.monotonic()
    time.time = lambda: real() + (3600.0 if int((time.monotonic() - begun) / 2) % 2 else 0.0)


# Faults ---------------------------------------------------------------------------------------------------------------


def late_copies():
    """Every take and finish reaches the store a second time, up to a second later; the copy's answer is lost."""
    draw = random.Random()

    def twice(method):
        @functools.wraps(method)
        def call(self, *args):
            answer = method(self, *args)
            threading.Thread(target=_again, args=(method, self, args, draw.uniform(0.0, LATE_S)), daemon=True).start()
            return answer

        return call

    for store in _stores():
        store.finish = twice(store.finish)
        store.take = twice(store.take)


def held_finishes():
    """A finish is on its way to the store for as long as there is a file hold-NODE."""
    path = Path(os.environ["FAULT_FOLDER"]) / f"hold-{os.environ['FAULT_NODE']}"

    def held(finish):
        @functools.wraps(finish)
        def call(self, *args):
            while path.exists():
                time.sleep(0.002)
            return finish(self, *args)

        return call

    for store in _stores():
        store.finish = held(store.finish)


def _stores():
    """A node's acts on each durable store."""
    from callboard.backends.store.redis.node import NodePart as RedisNode  # noqa: PLC0415 - only where it is planted

    return node.NodePart, RedisNode


def late_ticks():
    """Every tick reaches the store a second time; the copy's answer is lost."""
    fire = schedules.SchedulePart.fire_tick

    def twice(self, *args):
        answer = fire(self, *args)
        _again(fire, self, args, 0.0)
        return answer

    schedules.SchedulePart.fire_tick = twice


def minute_a_second():
    """The store's clock runs sixty times faster, so that cron can be watched."""
    now_s = sqlite_store.now_s
    sqlite_store.now_s = lambda anchor, boot_id, boot_s, wall_s: anchor.wall_s + 60 * (
        now_s(anchor, boot_id, boot_s, wall_s) - anchor.wall_s)
    sqlite_store.follow = lambda anchor, *_: anchor


def _again(method, store, args, delay_s):
    time.sleep(delay_s)
    outcome = "answered"
    try:
        method(store, *args)
    except QueueError as error:
        outcome = type(error).__name__
    path = Path(os.environ["FAULT_FOLDER"]) / f"late-{os.environ['FAULT_NODE']}.txt"
    with path.open("a") as file:
        file.write(f"{method.__name__} {outcome}\n")


PLANTS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (released_before_the_child_is_dead, last_tick_not_compared, leases_by_wall_clock, wall_jumps,
                     push_acknowledged_before_commit, no_rescue, acknowledged_before_run, charged_at_assign,
                     marked_at_take, careful_marked_late, matched_by_id, token_reused, losses_not_counted,
                     no_isolation, late_copies, held_finishes, late_ticks, minute_a_second, flood_from_within,
                     unbounded_mailbox, nobody_suspected)
}
