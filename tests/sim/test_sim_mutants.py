"""The simulator notices when a rule of the protocol is left out: each mutant breaks one, and must be caught."""

from __future__ import annotations

import pytest

from callboard.backends.store.memory import MemoryStore, nodes, table
from callboard.backends.store.memory.rows import JobRow
from callboard.backends.store.memory.table import Table
from callboard.core import election, lifecycle
from callboard.core.records import Epoch, JobState, Released, Token
from callboard.testing.simulation import node as sim_node
from callboard.testing.simulation import worker as sim_worker
from callboard.testing.simulation.checks import Violation
from callboard.testing.simulation.run import simulate

SEEDS = tuple(seed for seed in range(200) if seed % 5)  # the others are calm
STEPS = 1_000
HOLDING = JobRow.holding


def no_epoch_check(patch):
    patch(Table, "fenced", lambda _self, _epoch: None)


def trust_from_the_reply(patch):
    patch(election._Step, "_started_s", lambda self: self.now_s)


def begin_term_for_anybody(patch):
    def begin_term(self, claim):
        number = self._table.epoch.number if self._table.epoch else 1
        self._table.claim, self._table.epoch = claim, Epoch(number, claim.owner)
        return self._table.epoch

    patch(MemoryStore, "begin_term", begin_term)


def children_ignore_the_lease(patch):
    patch(sim_node.Node, "may_start", lambda _self: True)


def lease_from_the_reply(patch):
    extend = sim_node.Node.extend
    patch(sim_node.Node, "extend", lambda self, _started_s: extend(self, self.boot_s()))


def finish_by_id_alone(patch):
    patch(nodes, "_may_end", lambda row, outcome: row.job.id == outcome.held.id and row.state is JobState.RUNNING)


def token_used_again(patch):
    patch(Table, "next_token", lambda self, epoch: Token(epoch.number, len(self.sessions)))


def token_goes_round(patch):
    issue = Table.next_token
    patch(Table, "next_token", lambda self, epoch: Token(1, issue(self, epoch).seq % 40))


def charge_at_assign(patch):
    give = Table.give

    def charging(self, row, *rest):
        row.attempts += 1
        give(self, row, *rest)

    patch(Table, "give", charging)


def losses_not_counted(patch):
    patch(lifecycle, "LOSSES_MAX", 99)


def assigned_rows_are_charged(patch):
    end = Table.end

    def charging(self, session, *rest):
        for row in session.rows(JobState.ASSIGNED):
            row.losses += 1
        return end(self, session, *rest)

    patch(Table, "end", charging)


def session_ends_without_its_rows(patch):
    def end(self, session, _now_ms, _error):
        del self.sessions[session.session], self.session_of_node[session.info.node]
        return Released(0, 0)

    patch(Table, "end", end)


def no_rescue(patch):
    patch(sim_node, "observe", lambda watch, *_, **__: (watch, ()))


def no_isolation(patch):
    patch(lifecycle, "ISOLATE_AT_LOSSES", 99)


def lost_replies_do_not_heal(patch):
    take = MemoryStore.take
    patch(MemoryStore, "take", lambda self, session, queues, _holding=None: take(self, session, queues, None))


def known_ids_are_pushed_again(patch):
    patch(Table, "is_known", lambda _self, _job_id: False)


def marks_do_not_arrive(patch):
    patch(MemoryStore, "mark_started", lambda _self, _session, _jobs: ())


def careful_jobs_do_not_wait_for_their_mark(patch):
    def start_at_once(self, _session):
        if self.cautious and len(self.running) < sim_worker.SLOTS:
            job = self.cautious.popleft()
            self.given += 1
            self.node.children.do(lambda: self._start_given(job))
        yield from ()

    patch(sim_worker.Worker, "_mark_first", start_at_once)


def all_that_was_taken_is_charged(patch):
    patch(JobRow, "holding", property(lambda self: HOLDING.fget(self)._replace(started=True)))


def nothing_is_ever_charged(patch):
    patch(JobRow, "holding", property(lambda self: HOLDING.fget(self)._replace(started=False)))


def doubts_are_not_counted(patch):
    patch(table, "doubts_after", lambda _charge, doubts: doubts)


def once_is_as_often_as_others(patch):
    patch(JobRow, "holding", property(lambda self: HOLDING.fget(self)._replace(once=False)))


MUTANTS = (
    marks_do_not_arrive, careful_jobs_do_not_wait_for_their_mark, all_that_was_taken_is_charged,
    nothing_is_ever_charged, doubts_are_not_counted, once_is_as_often_as_others,
    no_epoch_check, trust_from_the_reply, begin_term_for_anybody, children_ignore_the_lease,
    lease_from_the_reply, finish_by_id_alone, token_used_again,
    token_goes_round, charge_at_assign, losses_not_counted, assigned_rows_are_charged,
    session_ends_without_its_rows, no_rescue, no_isolation, lost_replies_do_not_heal, known_ids_are_pushed_again,
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_mutant_is_caught(mutant, monkeypatch):
    mutant(monkeypatch.setattr)
    for seed in SEEDS:
        try:
            simulate(seed, STEPS)
        except Violation:
            return
    pytest.fail(f"{mutant.__name__} survived {len(SEEDS)} seeds")
