"""What the executors' tests share: who is told, a rig of host and pool, and looking at processes."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from pathlib import Path

from callboard.backends.clock import SystemClock
from callboard.backends.executors.host import TemplateHost
from callboard.backends.executors.options import ExecutorOptions
from callboard.core.records import Step, TakenJob, Token
from callboard.core.registry import encode_body
from callboard.core.runs import EndKind, RunEnd

APP = str(Path(__file__).with_name("executor_app.py"))
CLOCK = SystemClock()
DEADLINE_S = 30.0
FAR_S = 1e8


class Told:
    """Keeps what it is told; an end that comes twice is an error."""

    def __init__(self):
        self.ends: dict[Token, RunEnd] = {}
        self.doubled: list[Token] = []
        self.notes = []
        self.poised = []
        self.changed = threading.Condition()

    def on_ends(self, completed, others):
        with self.changed:
            for end in (*(RunEnd(token, EndKind.COMPLETED) for token in completed), *others):
                if end.token in self.ends:
                    self.doubled.append(end.token)
                self.ends[end.token] = end
            self.changed.notify_all()

    def on_poised(self, tokens):
        with self.changed:
            self.poised += tokens
            self.changed.notify_all()

    def on_notes(self, notes):
        with self.changed:
            self.notes += notes
            self.changed.notify_all()

    def wait(self, predicate, what, deadline_s=DEADLINE_S):
        with self.changed:
            assert self.changed.wait_for(lambda: predicate(self), deadline_s), f"not told of: {what}"

    def of(self, event):
        return [note for note in self.notes if note.event == event]


class Rig:
    """A host and a pool of it, and jobs for them."""

    def __init__(self, host, pool, told):
        self.host, self.pool, self.told = host, pool, told
        self.submitted: list[Token] = []
        self._seq = itertools.count(1)

    def job(self, name, *, timeout_s=None, losses=0, attempt=1, step=Step.HANDLE, error=None, body=None, headers=(),
            **arguments):
        seq = next(self._seq)
        return TakenJob(
            ref=seq, id=f"job-{seq}", token=Token(7, seq), name=name, queue="q",
            body=encode_body(name, arguments, headers) if body is None else body, attempt=attempt, losses=losses,
            step=step, max_attempts=None, timeout_s=timeout_s, backoff=None, error=error, has_failed_hook=False,
            pushed_ms=0,
        )

    def submit(self, *jobs):
        self.submitted += [job.token for job in jobs]
        self.pool.submit(jobs)
        return [job.token for job in jobs]

    def start(self, name, **options):
        (token,) = self.submit(self.job(name, **options))
        return token

    def end(self, token, deadline_s=DEADLINE_S):
        self.told.wait(lambda told: token in told.ends, f"the end of {token}", deadline_s)
        return self.told.ends[token]

    def run(self, name, **options):
        return self.end(self.start(name, **options))

    def kinds(self, tokens):
        return [self.end(token).kind for token in tokens]

    def output(self, token=None):
        return [note.fields["line"] for note in self.told.of("job.output") if token is None or note.token == token]


@contextmanager
def running(kind, slots=2, *, app=(APP,), lease_s=FAR_S, **options):
    """A rig whose pool has started; afterwards every job must have had exactly one end, and nothing be left."""
    host = TemplateHost(app, kind, ExecutorOptions(**options), CLOCK)
    told = Told()
    try:
        host.start()
        pool = host.executor("q", slots)
        pool.set_lease(lease_s)
        pool.start(told)
        rig = Rig(host, pool, told)
        yield rig
        pool.stop(CLOCK.boot_s())
    finally:
        host.stop()
    assert not told.doubled
    assert not pool.nursery.links
    assert set(told.ends) <= set(rig.submitted)


def pids(path):
    """The numbers in a file, one a line; none while it is not there."""
    try:
        return [int(word) for word in Path(path).read_text().split()]
    except FileNotFoundError:
        return []


def alive(pid):
    """Whether a process runs: not if it is a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def lines(path):
    """The lines of a file."""
    try:
        return Path(path).read_text().splitlines()
    except FileNotFoundError:
        return []
