"""The suite sees the bugs that it is there for, in the rest of a job's life: each is planted in the memory store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import test_store_model as model
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from mutantkit import Patch, Plant, expect_caught, pairs

from callboard.backends.store.memory import MemoryStore, nodes, table
from callboard.backends.store.memory.rows import JobRow, QueueRow
from callboard.backends.store.memory.table import Table
from callboard.backends.store.memory.unique import UniqueKeys
from callboard.core.lifecycle import HELD, Event
from callboard.core.records import JobState, TermClaim, UniqueUntil

if TYPE_CHECKING:
    from pathlib import Path

HOLDING = JobRow.holding
assert HOLDING.fget is not None


def holding(**wrong: bool) -> Plant:
    """Decide about a session's rows with something left out."""
    def plant(patch: Patch) -> None:
        patch.setattr(JobRow, "holding", property(lambda self: HOLDING.fget(self)._replace(**wrong)))

    plant.__name__ = "_".join(("release", *wrong, *map(str, wrong.values()))).lower()
    return plant


def doubts_not_counted(patch: Patch) -> None:
    """A careful job counts as one that has begun, or as one that was never in doubt."""
    patch.setattr(table, "doubts_after", lambda _charge, doubts: doubts)


def marks_by_id_alone(patch: Patch) -> None:
    """A mark counts for whichever run is under way."""
    patch.setattr(nodes, "_runs", lambda row, _session, held: row.job.id == held.id)


def the_last_mark_counts(patch: Patch) -> None:
    """A mark that is sent again moves the instant."""
    mark = MemoryStore.mark_started

    def mutant(self: MemoryStore, session: Any, jobs: Any) -> Any:
        for one in jobs:
            self._table.rows[one.ref].started_ms = None
        return mark(self, session, jobs)

    patch.setattr(MemoryStore, "mark_started", mutant)


def marks_stay_over_runs(patch: Patch) -> None:
    """A new assignment keeps the mark of the one before."""
    begin = JobRow.begin_run

    def mutant(self: JobRow, *more: Any) -> None:
        started_ms = self.started_ms
        begin(self, *more)
        self.started_ms = started_ms

    patch.setattr(JobRow, "begin_run", mutant)


def once_not_looked_at(patch: Patch) -> None:
    """A finish treats all jobs alike."""
    event_of = nodes.event_of
    patch.setattr(nodes, "event_of", lambda *what, once, **more: event_of(*what, once=once and False, **more))


def results_before_tokens(patch: Patch) -> None:
    """A finish writes its result, then looks whether it is stale."""
    finish = MemoryStore.finish

    def mutant(self: MemoryStore, session: Any, outcomes: Any) -> Any:
        receipt = finish(self, session, outcomes)
        for outcome in outcomes:
            row = self._table.rows.get(outcome.held.ref)
            if row is not None:
                row.result = outcome.result
        return receipt

    patch.setattr(MemoryStore, "finish", mutant)


def results_never_end(patch: Patch) -> None:
    """A result stays as long as its row."""
    record = JobRow.record
    patch.setattr(JobRow, "record", lambda self, _now_ms: record(self, 0))
    patch.setattr(Table, "drop_results", lambda _self, _now_ms: None)


def nobody_is_awaited(patch: Patch) -> None:
    """No end rings."""
    patch.setattr(MemoryStore, "await_end", MemoryStore.job)


def expiry_rings_nobody(patch: Patch) -> None:
    """An expired job ends in silence."""
    move = Table.move

    def mutant(self: Table, row: JobRow, event: Event, *more: Any, **options: Any) -> None:
        row.awaited = row.awaited and event is not Event.EXPIRE
        move(self, row, event, *more, **options)

    patch.setattr(Table, "move", mutant)


def started_as_done(patch: Patch) -> None:
    """A key that is free once its job was taken is held until it is done."""
    take = Table.take

    def mutant(self: Table, row: JobRow, now_ms: int) -> None:
        job, row.job = row.job, replace(row.job, unique_until=UniqueUntil.DONE)
        take(self, row, now_ms)
        row.job = job

    patch.setattr(Table, "take", mutant)


def periods_are_not_looked_at(patch: Patch) -> None:
    """A key that was held once is held."""
    patch.setattr(UniqueKeys, "holder", lambda self, key, _now_ms: self._held.get(key, (None,))[0])


def periods_end_with_their_job(patch: Patch) -> None:
    """The end of a job frees its key, whatever its form."""
    patch.setattr(UniqueKeys, "free", lambda self, job: self._held.pop(job.unique, None))


def expiry_not_checked(patch: Patch) -> None:
    """An assign gives what is first."""
    patch.setattr(JobRow, "expired", lambda _self, _now_ms: False)


def failed_steps_expire(patch: Patch) -> None:
    """Expiry does not look at the step."""
    patch.setattr(JobRow, "expired", lambda self, now_ms: (self.expires_ms or now_ms + 1) <= now_ms)


def depth_ignored(patch: Patch) -> None:
    """Queues have no bound."""
    patch.setattr(QueueRow, "refuses", lambda _self, _more: False)


def depth_without_delayed(patch: Patch) -> None:
    """Only what is ready counts."""
    def refuses(self: QueueRow, more: int) -> bool:
        most = self.limits.max_depth
        return most is not None and self.ready.alive + more > most

    patch.setattr(QueueRow, "refuses", refuses)


def aging_ignored(patch: Patch) -> None:
    """All queues age alike."""
    patch.setattr(Table, "_aging_s", lambda self, _row: self.aging_s)


def runs_not_told(patch: Patch) -> None:
    """Nothing is kept of runs."""
    patch.setattr(JobRow, "_tell", lambda _self, _run: None)


def old_cluster_still_welcome(patch: Patch) -> None:
    """An adoption only lets go of the old cluster."""
    def adopt(self: MemoryStore, cluster_id: str, backend: str) -> None:
        self._table.claim = TermClaim(cluster_id, backend, -1, "") if self._table.epoch is None else None

    patch.setattr(MemoryStore, "adopt", adopt)


def the_last_run_is_forgotten(patch: Patch) -> None:
    """A job that no session holds has no node."""
    enter = Table._enter

    def mutant(self: Table, row: JobRow, state: JobState) -> None:
        enter(self, row, state)
        row.node = row.node if state in HELD else None

    patch.setattr(Table, "_enter", mutant)


PLANTED: dict[str, list[Plant]] = {
    "what never began is not charged": [holding(started=True), holding(started=False)],
    "what never began is not charged when a node closes": [holding(started=True)],
    "a doubt makes careful": [doubts_not_counted],
    "a careful job without a mark has not begun": [doubts_not_counted, holding(careful=False), holding(started=True)],
    "a mark needs the token": [marks_by_id_alone],
    "the first mark stays": [the_last_mark_counts],
    "a new run is not marked": [marks_stay_over_runs],
    "once is not started again after a loss": [holding(once=False)],
    "once is not tried again": [once_not_looked_at],
    "once does not snooze": [once_not_looked_at],
    "a stale finish leaves no result": [results_before_tokens],
    "the first result stays": [results_before_tokens],
    "a result ends": [results_never_end],
    "stale progress is dropped": [marks_by_id_alone],
    "who waits for an end is rung": [nobody_is_awaited],
    "who waits for an end is rung when the job expires": [expiry_rings_nobody],
    "until started is free once taken": [started_as_done, periods_end_with_their_job],
    "a period ends": [periods_are_not_looked_at],
    "a period outlives its job": [periods_end_with_their_job],
    "an expired job is not assigned": [expiry_not_checked],
    "an expired job is not taken by the leader's node": [expiry_not_checked],
    "what waits expires": [expiry_not_checked],
    "failed() never expires": [failed_steps_expire],
    "a queue's depth holds": [depth_ignored, depth_without_delayed],
    "a queue's aging counts": [aging_ignored],
    "a run is told": [runs_not_told],
    "an operator's retry is told": [runs_not_told],
    "the last run stays on the row": [the_last_run_is_forgotten],
    "the old cluster is out": [old_cluster_still_welcome],
}


@pairs(PLANTED)
def test_a_planted_bug_fails_its_test(rule: str, plant: Plant, tmp_path: Path, monkeypatch: Patch):
    expect_caught("memory", rule, plant, tmp_path, monkeypatch)


SEEN_BY_THE_MODEL = [holding(careful=False), doubts_not_counted, marks_stay_over_runs, once_not_looked_at,
                     results_never_end, started_as_done, expiry_not_checked, depth_ignored, aging_ignored]
"""Those that take it a few examples."""


@pytest.mark.parametrize("plant", SEEN_BY_THE_MODEL, ids=lambda plant: plant.__name__)
def test_the_model_sees_it(plant: Plant, monkeypatch: Patch):
    plant(monkeypatch)
    machine = type("ActsOnMutant", (model.Acts,), {"place": "memory"})
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(machine, settings=settings(
            max_examples=500, stateful_step_count=60, deadline=None, database=None, phases=[Phase.generate],
            report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow]))
