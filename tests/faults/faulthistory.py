"""What a fault test judges by: the jobs' own evidence, the store's rows read without callboard, and the nodes' logs."""

import contextlib
import functools
import sqlite3
from dataclasses import dataclass, field
from typing import NamedTuple

READY, ASSIGNED, RUNNING, COMPLETED, FAILED, CANCELLED = 1, 2, 3, 4, 5, 6
TERMINAL = (COMPLETED, FAILED, CANCELLED)
LOSSES_MAX = 3


class Violation(AssertionError):
    """Raised when a promise was broken; the only thing that counts as having caught a mutant."""


class Inconclusive(AssertionError):
    """Raised when the fault never bit: the run shows nothing."""


def hold(condition, promise, what):
    """The promise must hold."""
    if not condition:
        raise Violation(f"{promise}: {what}")


def bit(condition, what):
    """The fault must have happened."""
    if not condition:
        raise Inconclusive(f"inconclusive, the fault never bit: {what}")


class Run(NamedTuple):
    """One start of one job, by its own evidence."""

    job: str
    token: tuple[int, int]
    node: str
    pid: int
    start_s: float
    end_s: float | None


class Row(NamedTuple):
    """One job, by the store."""

    id: str
    state: int
    attempts: int
    losses: int
    token: tuple[int, int] | None
    error: bytes


@dataclass(frozen=True)
class Death:
    """What the store said of a node when it had died: its session was still open, and nothing of it moves again.

    Attributes:
        running: what it had taken, with tokens.
        assigned: what it had not taken.
        marked: those of `running` whose start the store had heard of.
    """

    label: str
    session: int | None
    running: dict[str, tuple[int, int]] = field(default_factory=dict)
    assigned: dict[str, tuple[int, int]] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()

    @property
    def lost(self):
        """What a loss is charged for, with tokens."""
        return {job: token for job, token in self.running.items() if job in self.marked}


class StoreFile:
    """The SQLite file, read by plain SQL."""

    lands_late = False
    """Whether what a process had sent may be carried out after its death."""

    def __init__(self, path) -> None:
        self._path = path
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10)

    def rows(self):
        """Every job by its id."""
        sql = "SELECT id, state, attempts, losses, epoch, seq, error FROM callboard_jobs"
        return {row[0]: Row(*row[:4], None if row[4] is None else (row[4], row[5]), row[6] or b"")
                for row in self._db.execute(sql)}

    def unfinished(self):
        """Jobs that have not ended."""
        return self._db.execute("SELECT count(*) FROM callboard_jobs WHERE state < 4").fetchone()[0]

    def states(self):
        """How many jobs are in each state."""
        return dict(self._db.execute("SELECT state, count(*) FROM callboard_jobs GROUP BY state"))

    def counters(self):
        """(completed, failed) as the store counts them, the queues together."""
        return self._db.execute("SELECT sum(completed), sum(failed) FROM callboard_queues").fetchone()

    def leader_pid(self):
        """The process of the node whose epoch counts; None where it has no session."""
        sql = "SELECT s.pid FROM callboard_store f JOIN callboard_sessions s ON s.boot_id = f.owner"
        found = self._db.execute(f"{sql} ORDER BY s.session DESC LIMIT 1").fetchone()
        return None if found is None else found[0]

    def session_of(self, pid):
        """The open session of a process, or None."""
        sql = "SELECT session FROM callboard_sessions WHERE pid = ? AND ended_ms IS NULL"
        found = self._db.execute(sql, (pid,)).fetchone()
        return None if found is None else found[0]

    def offers(self, pid):
        """Whether the open session of a process has room for jobs."""
        sql = "SELECT sum(p.capacity) FROM callboard_sessions s JOIN callboard_pools p ON p.session = s.session"
        return bool(self._db.execute(f"{sql} WHERE s.pid = ? AND s.ended_ms IS NULL", (pid,)).fetchone()[0])

    def ended(self, session):
        """Whether a session was ended."""
        sql = "SELECT ended_ms IS NOT NULL FROM callboard_sessions WHERE session = ?"
        return bool(self._db.execute(sql, (session,)).fetchone()[0])

    def held_by(self, process):
        """What the open session of a dead or stopped process holds, in one snapshot."""
        self._db.execute("BEGIN")
        session = self.session_of(process.pid)
        sql = "SELECT state, id, epoch, seq, started_ms FROM callboard_jobs WHERE session = ? AND state IN (2, 3)"
        held = self._db.execute(sql, (session,)).fetchall()
        self._db.execute("COMMIT")
        running, assigned = ({row[1]: row[2:4] for row in held if row[0] == state} for state in (RUNNING, ASSIGNED))
        return Death(process.label, session, running, assigned, frozenset(row[1] for row in held if row[4] is not None))

    def free(self, wait_s):
        """Whether a write transaction can begin within that time: nobody stands still inside of one."""
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None, timeout=wait_s)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            db.execute("ROLLBACK")
            return True

    def close(self):
        """Close the connection."""
        self._db.close()


class History:
    """Runs by evidence, rows by the store, events by the logs; and the rules that hold whatever happened."""

    def __init__(self, fleet) -> None:
        self._file = fleet.file
        self.runs = read_evidence(fleet.folder)
        self.deaths = list(fleet.deaths)
        self.events = [{**event, "label": process.label} for process in fleet.processes for event in process.events()]
        self.by_job = {}
        for run in self.runs:
            self.by_job.setdefault(run.job, []).append(run)
        self.lost = {token for death in self.deaths for token in death.lost.values()}
        self.dropped = {token for death in self.deaths for token in death.running.values()}

    @functools.cached_property
    def rows(self):
        """Every job by its id, when it is first asked for."""
        return self._file.rows()

    @functools.cached_property
    def counters(self):
        """(completed, failed) as the store counts them, when they are first asked for."""
        return self._file.counters()

    def named(self, event):
        """Events of that name."""
        return [line for line in self.events if line.get("event") == event]

    def ended_alive(self):
        """Sessions that were ended though the test killed nobody there: the machine stood still."""
        killed = {death.session for death in self.deaths}
        return [event for event in self.named("dispatcher.session_ended") if event["session"] not in killed]

    def check_finished(self, promise, ids):
        """Every pushed job is there and has ended for good."""
        missing = [job for job in ids if job not in self.rows]
        hold(not missing, promise, f"{len(missing)} acknowledged jobs are missing, such as {missing[:5]}")
        open_jobs = [job for job in ids if self.rows[job].state not in TERMINAL]
        hold(not open_jobs, promise, f"{len(open_jobs)} jobs never ended: {[self.rows[job] for job in open_jobs[:5]]}")

    def check_ran(self, promise):
        """What the store calls completed was run to its end, by the assignment that the store names."""
        ended = {(run.job, run.token) for run in self.runs if run.end_s is not None}
        made_up = [row for row in self.rows.values() if row.state == COMPLETED and (row.id, row.token) not in ended]
        hold(not made_up, promise, f"{len(made_up)} jobs are completed that never ran to their end: {made_up[:5]}")

    def check_once(self, promise):
        """No job started twice."""
        twice = {job: runs for job, runs in self.by_job.items() if len(runs) > 1}
        hold(not twice, promise, f"{len(twice)} jobs started more than once: {list(twice.values())[:3]}")

    def check_tokens(self, promise):
        """A token names one start of one job; a later start has a higher one; a higher one has started last."""
        tokens = [run.token for run in self.runs]
        hold(len(tokens) == len(set(tokens)), promise, "a token was used for two starts")
        for job, runs in self.by_job.items():
            by_time = sorted(runs, key=lambda run: run.start_s)
            hold([run.token for run in by_time] == sorted(run.token for run in runs), promise,
                 f"an older assignment of {job} started after a newer one: {by_time}")

    def check_one_record(self, promise):
        """Each job ended once: the store's counters say the same as its rows."""
        states = [row.state for row in self.rows.values()]
        rows = states.count(COMPLETED), states.count(FAILED)
        hold(self.counters == rows, promise, f"(completed, failed) are {rows} by rows, {self.counters} by counters")

    def check_repeats(self, promise):
        """A job that ran again had ended by its own doing, or its node had died under it."""
        for job, runs in self.by_job.items():
            row = self.rows[job]
            again = [run for run in runs if run.token != row.token]
            wrong = [run for run in again if run.end_s is not None and run.token not in self.dropped]
            hold(not wrong, promise, f"{job} ran again though it had ended and its node lived: {runs}")

    def check_charges(self, promise):
        """Each start cost what its end was: a loss where its node died under it, else an attempt; nothing else did.

        Exact, for a dead node's rows are known from the store: what it held running and had marked is lost; what it was
        only assigned or had taken ahead costs nothing. A start whose mark was still under way costs nothing either, and
        only once: after that doubt the job is marked before it starts. On a server, an end or a mark that the dead node
        had sent may land after its rows were looked at: the job is completed then, by that very run, or that start is
        charged after all.
        """
        for row in self.rows.values():
            started = {run.token for run in self.by_job.get(row.id, [])}
            landed = {row.token} if self._file.lands_late and row.state == COMPLETED else set()
            dropped = {death.running[row.id] for death in self.deaths if row.id in death.running} - landed
            lost = {death.lost[row.id] for death in self.deaths if row.id in death.lost} - landed
            hold(lost <= started, promise, f"{row.id} is charged for a run that never started: {lost - started}")
            free = (started & dropped) - lost
            late = row.losses - len(lost) if self._file.lands_late else 0
            hold(0 <= late <= len(free) and row.losses == len(lost) + late, promise,
                 f"{row.id} has {row.losses} losses, but had started on {len(lost)} nodes that died: {row}")
            hold(row.attempts == len(started - dropped), promise,
                 f"{row.id} has {row.attempts} attempts, but {len(started - dropped)} starts ended otherwise: {row}")
            hold(len(free) - late <= 1, promise,
                 f"{row.id} started {len(free) - late} times on nodes that died, and paid nothing")


def read_evidence(folder):
    """The runs of all nodes, by start."""
    starts, ends = {}, {}
    for path in folder.glob("evidence-*.txt"):
        whole = path.read_text().rpartition("\n")[0]  # a line that is just being written counts at the next look
        for line in whole.splitlines():
            what, job, epoch, seq, node, pid, at_s = line.split()
            key = job, (int(epoch), int(seq)), node, int(pid)
            (starts if what == "start" else ends).setdefault(key, []).append(float(at_s))
    runs = [Run(*key, at_s, next(iter(ends.get(key, ())), None)) for key, times in starts.items() for at_s in times]
    return sorted(runs, key=lambda run: run.start_s)
