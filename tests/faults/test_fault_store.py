"""G1 and G8 on servers: the store itself is killed, or away for a while, under nodes and pushers that go on."""

import contextlib
import sqlite3
import time
from pathlib import Path

import faultjobs
import pytest
from faulthistory import COMPLETED, bit, hold
from faultkit import FULL, boot_s, tell, within
from faultstores import on_servers, on_stores
from kit import eventually

import callboard
from callboard.core.errors import StoreUnavailable

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900 if FULL else 180)]

PUSHES, KILLS = (2_000, 10) if FULL else (600, 3)
OUTAGES, OUTAGE_S = (10, 15.0) if FULL else (1, 4.0)
LAND_S = 10.0
RSS_MAX_BYTES = 20 << 20
SESSION_TTL_S = 2.0
WORK_S = OUTAGE_S * 0.6
SLOTS = 2


@on_servers("mariadb")
def test_an_acknowledged_push_survives_kill_9_of_the_store(fleet, kind):
    nodes = fleet(kind=kind, slots=4)
    server = nodes.store.server
    nodes.start_all("n1", "n2")
    pusher = nodes.program("pusher", "fault_pusher.py", nodes.url, str(nodes.folder), str(PUSHES), "0")

    def lines(name):
        path = nodes.folder / name
        return path.read_text().split() if path.exists() else []

    for count in sorted(nodes.chance.sample(range(PUSHES // 20, PUSHES * 19 // 20), KILLS)):
        eventually(lambda count=count: len(lines("acknowledged.txt")) >= count or not pusher.alive, 60, "pushes go on")
        server.kill()
        server.start()
    eventually(lambda: not pusher.alive, 60, "everything is pushed")
    assert pusher.popen.returncode == 0, pusher.log.read_text()[-2000:]
    acknowledged = lines("acknowledged.txt")
    rows = nodes.file.rows()
    missing = set(acknowledged) - rows.keys()
    hold(len(set(acknowledged)) == PUSHES and not missing, "G1", f"{len(missing)} acknowledged ids are missing")
    hold(nodes.settle(60), "G2", f"not everything ended: {nodes.file.states()}")
    history = nodes.history()
    hold(len(history.rows) == PUSHES, "G1", f"{len(history.rows)} jobs of {PUSHES} ids")
    hold({row.state for row in history.rows.values()} == {COMPLETED}, "G1", f"{nodes.file.states()}")
    history.check_ran("G1")
    history.check_tokens("G6")
    hold(all(node.alive for node in nodes.nodes.values()), "G8", "a node did not outlive the store's death")
    unknown, refused = len(lines("unknown.txt")), len(lines("refused.txt"))
    bit(unknown + refused > 0, "no push met the store's death")
    tell(f"G1 on {kind}: {PUSHES} pushes, the store killed -9 {KILLS} times: 0 acknowledged ids missing, {unknown} "
         f"unknown outcomes and {refused} refusals pushed again, no duplicate")


class Outage:
    """Takes the store away: a server by its death or a standstill, a SQLite file by somebody's long lock."""

    def __init__(self, nodes, number) -> None:
        self.nodes = nodes
        self.server = nodes.store.server if nodes.store else None
        self.hangs = number % 2 == 1
        self.holder = None

    def begin(self):
        if self.server is None:
            self.holder = sqlite3.connect(self.nodes.folder / "jobs.db", isolation_level=None, timeout=10)
            self.holder.execute("BEGIN IMMEDIATE")
        elif self.hangs:
            self.server.pause()
        else:
            self.server.kill()

    def end(self):
        if self.server is None:
            self.holder.execute("ROLLBACK")
            self.holder.close()
        elif self.hangs:
            self.server.resume()
        else:
            self.server.start()


def rss_bytes(pid):
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def play(nodes, number):
    """One outage under jobs that run on; seconds from its end until every ack had landed."""
    queue = nodes.queue
    ids = queue.push_many(faultjobs.work.bind(WORK_S) for _ in range(2 * SLOTS))
    ids += queue.push_many(faultjobs.work.bind(0.01) for _ in range(200))
    eventually(lambda: sum(run.end_s is None for run in nodes.history().runs) >= 2 * SLOTS, 10, "the slots are taken")
    outage = Outage(nodes, number)
    outage.begin()
    end_s = boot_s() + OUTAGE_S
    other = callboard.connect(nodes.url)
    with contextlib.suppress(StoreUnavailable):  # clear and in time, or it waits for a lock and is written after all
        ids.append(other.push(faultjobs.noop.bind(), id=f"during-{number}"))
        bit(nodes.store is None, "a push was acknowledged by a store that is away")
    while boot_s() < end_s:
        hold(all(node.alive for node in nodes.nodes.values()), "G8", "a node ended because the store was away")
        time.sleep(0.1)  # the outage's own length, not a wait for something
    outage.end()
    back_s = boot_s()
    long = ids[: 2 * SLOTS]
    landed = within(lambda: all(nodes.file.rows()[job].state == COMPLETED for job in long), LAND_S)
    hold(landed, "G8", "acks of jobs that ended during the outage did not land in time")
    took_s = boot_s() - back_s
    ids = [job for job in ids if job in nodes.file.rows()]
    hold(nodes.settle(60), "G8", f"not everything ended: {nodes.file.states()}")
    return ids, took_s


@on_stores("sqlite", "redis", "postgresql")
def test_a_store_that_is_away_for_a_while_loses_and_kills_and_rescues_nothing(fleet, kind):
    nodes = fleet(kind=kind, slots=SLOTS, lease_ttl_s=1.0, session_ttl_s=SESSION_TTL_S)
    nodes.start_all("n1", "n2")
    ids, landings = nodes.queue.push_many(faultjobs.work.bind(0.01) for _ in range(200)), []
    hold(nodes.settle(30), "G8", "not everything ended before the first outage")
    before = {node.pid: rss_bytes(node.pid) for node in nodes.nodes.values()}  # what loads late has been loaded
    for number in range(OUTAGES):
        pushed, took_s = play(nodes, number)
        ids += pushed
        landings.append(took_s)
    history = nodes.history()
    history.check_finished("G8", ids)
    history.check_ran("G8")
    history.check_once("G8")
    hold(not history.named("dispatcher.session_ended"), "G8", "a session was ended because the store was away")
    wrong = [row for row in history.rows.values() if (row.attempts, row.losses) != (1, 0)]
    hold(not wrong, "G8", f"{len(wrong)} jobs are charged for an outage: {wrong[:3]}")
    grown = max(rss_bytes(pid) - size for pid, size in before.items())
    hold(grown <= RSS_MAX_BYTES, "G8", f"a node grew by {grown:,} bytes")
    bit(len(history.named("elector.stepped_down")) > 0, "the leader never lost its store")
    mib = grown / (1 << 20)
    tell(f"G8 on {kind}: away for {OUTAGE_S:g} s, {OUTAGES} times (session ttl {SESSION_TTL_S:g} s): nothing lost, "
         f"killed or rescued; acks landed after {max(landings):.2f} s at most; a node grew by {mib:.1f} MiB")
