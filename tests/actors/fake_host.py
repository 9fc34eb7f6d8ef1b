"""An executor on a page: runs jobs on threads of the test's process, so that actors are tested without children."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from callboard.core.runs import EndKind, JobSpec, RunEnd, RunningJob

JOBS_THREAD = "fake-job"
"""How the names of the threads begin that stand for children; more of them start as they are needed."""


class FakeExecutor:
    """Runs `handler(job)` for each job; an exception of it ends the run as RAISED."""

    def __init__(self, host, pool, slots):
        self.host, self.pool, self.slots = host, pool, slots
        self.lock = threading.Lock()
        self.backlog = deque()
        self.current = {}
        self.started = {}
        self.kept = {}
        self.held = False
        self.lease_s = 0.0
        self.generation = 0
        self.threads = ThreadPoolExecutor(64, thread_name_prefix=JOBS_THREAD)
        self.idle = threading.Condition(self.lock)

    def start(self, events):
        self.events = events

    def submit(self, jobs):
        with self.lock:
            self.backlog.extend(jobs)
        self._pump()

    def _pump(self):
        with self.lock:
            back, ready, poised = [], [], []
            if self.held:
                back, self.backlog = [*self.backlog, *self.kept.values()], deque()
                self.kept.clear()
            while self.backlog and len(self.current) + len(self.kept) < self.slots:
                job = self.backlog.popleft()
                if job.careful:
                    self.kept[job.token] = job
                    poised.append(job.token)
                else:
                    ready.append(self._begin(job))
            generation = self.generation
        if back:
            self.events.on_ends((), [RunEnd(job.token, EndKind.NOT_STARTED) for job in back])
        if poised:
            self.events.on_poised(poised)
        self._go(ready, generation)

    def _begin(self, job):
        self.current[job.token] = job
        self.started[job.token] = self.host.clock.boot_s()
        return job

    def admit(self, tokens, refused=()):
        with self.lock:
            ready = [self._begin(self.kept.pop(token)) for token in tokens if token in self.kept]
            back = [token for token in refused if self.kept.pop(token, None) is not None]
            generation = self.generation
        self._go(ready, generation)
        if back:
            self.events.on_ends((), [RunEnd(token, EndKind.NOT_STARTED) for token in back])
            self._pump()

    def _go(self, ready, generation):
        for job in ready:
            self.threads.submit(self._run, job, generation)

    def _run(self, job, generation):
        completed, others = (job.token,), ()
        try:
            result = self.host.handler(job)
            if isinstance(result, bytes):
                completed, others = (), (RunEnd(job.token, EndKind.COMPLETED, result=result),)
        except Exception as error:  # noqa: BLE001 - whatever a job raises ends its run
            completed = ()
            others = (error.args[0] if error.args and isinstance(error.args[0], RunEnd)
                      else RunEnd(job.token, EndKind.RAISED),)
        with self.lock:
            if generation != self.generation:
                return
            if self.current.pop(job.token, None) is not None:  # else it was cancelled, and that end was reported
                self.events.on_ends(completed, others)  # with the lock, so that no stop comes between
            self.idle.notify_all()
        self._pump()

    def capacity(self):
        return self.slots * self.host.per_slot

    def resize(self, slots):
        self.slots = slots
        self._pump()

    def set_timeout(self, timeout_s):
        self.timeout_s = timeout_s

    def set_lease(self, deadline_boot_s):
        self.lease_s = deadline_boot_s

    def cancel(self, token):
        with self.lock:
            known = self.current.pop(token, None) or self.kept.pop(token, None)
        if known is not None:
            self.events.on_ends((), (RunEnd(token, EndKind.CANCELLED),))

    def running(self):
        with self.lock:
            return tuple(RunningJob(job.token, job.id, job.name, 0, self.started[job.token])
                         for job in self.current.values())

    def abandon(self):
        with self.lock:
            dropped = len(self.current) + len(self.backlog) + len(self.kept)
            self.generation += 1
            self.current.clear()
            self.backlog.clear()
            self.kept.clear()
        return dropped

    def hold(self):
        with self.lock:
            self.held = True
        self._pump()

    def stop(self, deadline_boot_s):
        self.hold()
        with self.lock:
            while self.current and self.idle.wait(max(0.0, deadline_boot_s - self.host.clock.boot_s())):
                pass
            self.generation += 1
            left, self.current = list(self.current), {}
            self.idle.notify_all()
        if left:
            self.events.on_ends((), [RunEnd(token, EndKind.INTERRUPTED) for token in left])
        self.threads.shutdown(wait=False)


class FakeHost:
    """Makes FakeExecutors; `handler` is what a job does."""

    def __init__(self, clock, handler, per_slot=2):
        self.clock, self.handler, self.per_slot = clock, handler, per_slot
        self.executors = {}

    def start(self):
        return (JobSpec("work", "default", (), (), None, None, None, has_failed_hook=False),)

    def executor(self, pool, slots):
        self.executors[pool] = FakeExecutor(self, pool, slots)
        return self.executors[pool]

    def stop(self):
        pass
