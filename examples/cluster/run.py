"""Start three nodes, push jobs, kill the leader with kill -9 when asked to, and show what happens."""

from __future__ import annotations

import os
import secrets
import select
import signal
import sys
import termios
import time
import tty
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import jobs

import callboard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
LOOK_S = 0.1
TELL_S = 1.0
LEASE_S = 2.0
BEAT_S = 1.0
WAIT_S = 120.0
"""How long the jobs may take beyond the time that they work."""


class Show:
    """The nodes of this run, what was seen of them, and what is said about it."""

    def __init__(self, nodes: list[callboard.DistributedQueue], done: Path, count: int) -> None:
        """Nothing was seen yet."""
        self.alive = {node.node_id: node for node in nodes}
        self.leaders: list[tuple[int, str]] = []
        self.killed_s: float | None = None
        self._done = done
        self._count = count
        self._pids: dict[str, int] = {}
        self._started_s = time.monotonic()
        self._told_s = 0.0

    def say(self, text: str) -> None:
        """A line, with the seconds since the start."""
        click.echo(f"{time.monotonic() - self._started_s:6.1f} s  {text}")

    def done(self) -> int:
        """Jobs that left a line."""
        return sum(1 for _ in self._done.iterdir())

    def look(self) -> str | None:
        """Ask a living node; the leader, if it is alive."""
        asked = next(iter(self.alive.values()))
        for info in asked.cluster_nodes():
            self._pids[info.node] = info.pid
        stats = asked.distributed_stats()
        leader = stats.leader if stats.leader in self.alive else None
        if leader is not None and (stats.epoch, leader) not in self.leaders:
            self.leaders.append((stats.epoch, leader))
            after = "" if self.killed_s is None else f", {time.monotonic() - self.killed_s:.1f} s after the kill"
            self.killed_s = None
            self.say(f"{leader} leads: epoch {stats.epoch}{after}")
        if time.monotonic() - self._told_s >= TELL_S:
            self._told_s = time.monotonic()
            self.say(f"{leader or 'nobody'} leads, {stats.nodes} sessions, {self.done()} of {self._count} jobs done")
        return leader

    def kill(self, leader: str | None) -> bool:
        """Kill the leader with kill -9, unless it is the last node; whether that is settled."""
        if leader is None or leader not in self._pids:
            return False
        if len(self.alive) == 1:
            self.say(f"{leader} is the last node: it is let live")
            return True
        del self.alive[leader]
        os.kill(self._pids[leader], signal.SIGKILL)
        self.killed_s = time.monotonic()
        self.say(f"{leader} (process {self._pids[leader]}) is killed")
        return True


@click.command(help=__doc__)
@click.option("--store", envvar="CALLBOARD_STORE", help="Address of the store; a SQLite file in --work unless given.")
@click.option("--cluster", envvar="CALLBOARD_CLUSTER", help="Address of the cluster backend, if it is not the store's.")
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True, help="How many nodes.")
@click.option("--jobs", "count", type=click.IntRange(1, 100_000), default=300, show_default=True, help="How many jobs.")
@click.option("--seconds", type=click.FloatRange(0, 10), default=0.2, show_default=True, help="How long each works.")
@click.option("--kill-leader-after", type=click.FloatRange(0), help="Kill the leader so many seconds after the push.")
@click.option("--work", type=click.Path(file_okay=False, path_type=Path), default=HERE / "work", show_default=False,
              help="Folder for the jobs' lines and the SQLite file; made anew.")
def main(store: str | None, cluster: str | None, nodes: int, count: int, seconds: float,
         kill_leader_after: float | None, work: Path) -> None:
    """Show it, and end with 0 if no job was lost."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    done = prepare(work.resolve())
    store = store or f"sqlite:///{work.resolve() / 'jobs.db'}"
    run = secrets.token_hex(2)  # a store that others use too stays theirs
    try:
        made = [make_node(f"node{number}-{run}", f"cluster-example-{run}", store, cluster)
                for number in range(1, nodes + 1)]
        with ExitStack() as ending:
            for node in made:
                ending.enter_context(node)
            show = Show(made, done, count)
            show.say(f"{nodes} nodes are there: {', '.join(show.alive)}")
            ids = made[0].push_many(jobs.leave_a_line.bind(number, str(done), seconds) for number in range(count))
            watch(show, ids, kill_leader_after, WAIT_S + count * seconds)
            show.say("the nodes stop")
    except KeyboardInterrupt:
        sys.exit(130)
    except callboard.QueueError as error:
        click.echo(f"error: {error.message}", err=True)
        sys.exit(error.exit_code)
    sys.exit(summary(show, done, count))


def prepare(work: Path) -> Path:
    """An empty folder for the lines, and no old store."""
    done = work / "done"
    done.mkdir(parents=True, exist_ok=True)
    for old in [*work.glob("jobs.db*"), *done.iterdir()]:
        old.unlink()
    return done


def make_node(name: str, queue: str, store: str, cluster: str | None) -> callboard.DistributedQueue:
    """A node as a process of its own: it dies with this program, or before it."""
    return callboard.DistributedQueue(callboard.DistributedConfig(
        node_id=name, store=store, cluster=cluster, queue=queue, election_timeout=LEASE_S, heartbeat_interval=BEAT_S,
        worker_count=4, worker=callboard.WorkerConfig(log_level="error", stop_grace=5)))


def watch(show: Show, ids: list[str], kill_leader_after: float | None, wait_s: float) -> None:
    """Until every job is done. Raises QueueError when that takes too long."""
    show.say(f"{len(ids)} jobs are pushed" + ("; press k to kill the leader" if sys.stdin.isatty() else ""))
    pushed_s = time.monotonic()
    kill_s = None if kill_leader_after is None else pushed_s + kill_leader_after
    with keys() as pressed:
        while show.done() < len(ids):
            leader = show.look()
            if kill_s is not None and time.monotonic() >= kill_s and show.kill(leader):
                kill_s = None
            if pressed() == "k":
                show.kill(leader)
            if time.monotonic() - pushed_s > wait_s:
                raise callboard.QueueError(f"{show.done()} of {len(ids)} jobs were done within {wait_s:g} s")
    show.look()


@contextmanager
def keys() -> Iterator[Callable[[], str | None]]:
    """A function that waits a moment for a key, where a person is there to press one."""
    if not sys.stdin.isatty():
        yield lambda: time.sleep(LOOK_S)
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield lambda: sys.stdin.read(1) if select.select([sys.stdin], [], [], LOOK_S)[0] else ""
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def summary(show: Show, done: Path, count: int) -> int:
    """Say what came of it, by the lines that the jobs left; the exit code."""
    lines = {int(path.name): path.read_text(encoding="ascii").splitlines() for path in done.iterdir()}
    lost = set(range(count)) - lines.keys()
    twice = sum(len(written) > 1 for written in lines.values())
    click.echo("\nLeaders: " + ", then ".join(f"{leader} (epoch {epoch})" for epoch, leader in show.leaders))
    click.echo(f"{count} jobs: {len(lines)} done, {len(lost)} lost, {twice} done twice")
    return 1 if lost else 0


if __name__ == "__main__":
    main()
