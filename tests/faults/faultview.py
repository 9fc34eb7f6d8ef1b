"""A store on a server, looked at through the operators' reads: what `StoreFile` is for a SQLite file."""

from __future__ import annotations

from faulthistory import ASSIGNED, RUNNING, Death, Row

import callboard
from callboard.core.records import JobState

PAGE = 1_000
KEPT = [state for state in JobState if state is not JobState.FORGOTTEN]


class StoreView:
    """The same answers as StoreFile gives, by a client of its own; not of one instant, so look when nothing moves."""

    lands_late = True

    def __init__(self, url) -> None:
        self._queue = callboard.connect(url)
        self._store = self._queue.store

    def rows(self):
        """Every job by its id."""
        return {job.id: Row(job.id, int(job.state), job.attempts, job.losses, job.token, job.error or b"")
                for state in KEPT for job in self._jobs(state)}

    def unfinished(self):
        """Jobs that have not ended."""
        return sum(count.delayed + count.ready + count.assigned + count.running for count in self._store.counts())

    def states(self):
        """How many jobs are in each state."""
        return {state.name: sum(1 for _ in self._jobs(state)) for state in KEPT}

    def counters(self):
        """(completed, failed) as the store counts them, the queues together."""
        counts = self._store.counts()
        return sum(count.completed for count in counts), sum(count.failed for count in counts)

    def leader_pid(self):
        """The process of the node whose epoch counts; None where it has no session."""
        owner = self._store.fence().owner
        return next((view.info.pid for view in self._store.sessions() if view.info.boot_id == owner), None)

    def session_of(self, pid):
        """The open session of a process, or None."""
        view = self._view(pid)
        return None if view is None else view.session

    def offers(self, pid):
        """Whether the open session of a process has room for jobs."""
        view = self._view(pid)
        return view is not None and any(pool.report.capacity for pool in view.pools)

    def ended(self, session):
        """Whether a session was ended."""
        return all(view.session != session for view in self._store.sessions())

    def held_by(self, process):
        """What the open session of a dead or stopped process holds."""
        view = self._view(process.pid)
        if view is None:
            return Death(process.label, None)
        running, assigned = ([job for job in self._jobs(JobState(state)) if job.node == view.info.node]
                             for state in (RUNNING, ASSIGNED))
        after = self._view(process.pid)
        if after is None or after.session != view.session:  # it ended while its jobs were read
            return Death(process.label, None)
        return Death(process.label, view.session, {job.id: tuple(job.token) for job in running},
                     {job.id: tuple(job.token) for job in assigned},
                     frozenset(job.id for job in running if job.started_ms is not None))

    def free(self, wait_s):
        """Nobody who stands still keeps others from writing: the server ends idle transactions."""
        del wait_s
        return True

    def close(self):
        """The fleet's own queue is the same client, and is closed by it."""

    def _view(self, pid):
        return next((view for view in self._store.sessions() if view.info.pid == pid), None)

    def _jobs(self, state):
        before = None
        while page := self._store.jobs(state, None, PAGE, before):
            yield from page
            before = page[-1].id

