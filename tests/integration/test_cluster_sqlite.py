"""The `store` cluster on SQLite: boots, clocks, hostile rows, bounds, locked files."""

import sqlite3
import time
from contextlib import closing

import pytest
from kit import eventually

from callboard.backends.cluster import sql
from callboard.backends.cluster.sql import SqliteCluster
from callboard.backends.socket_bells import SocketBells
from callboard.backends.store.sql import open_sqlite
from callboard.backends.store.sql.migrate import upgrade
from callboard.core.errors import ClusterUnavailable, StoreUnavailable
from callboard.core.records import NewJob, NodeInfo, TermClaim

WAIT_S = 20.0


class BootClock:
    """Only the boot clock may be read: a lease that asks for the wall's fails its test."""

    def __init__(self) -> None:
        self.boot = 5_000.0

    def boot_s(self) -> float:
        return self.boot

    def wall_s(self) -> float:
        raise AssertionError("a lease must not look at the wall clock")


@pytest.fixture
def clock():
    return BootClock()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "cluster.db")


@pytest.fixture
def opened(path, clock):
    """Opens clusters on the file; closes them at the end."""
    every = []

    def make(machine="boot-a", timeout_s=2.0, clock=clock):
        every.append(SqliteCluster(path, clock=clock, timeout_s=timeout_s, machine=machine))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()


def edit(path, *statements):
    """What somebody else does to the file."""
    with closing(sqlite3.connect(path, timeout=5.0)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def read(path, statement):
    with closing(sqlite3.connect(path, timeout=5.0)) as connection:
        return connection.execute(statement).fetchall()


def node(name="n1"):
    return NodeInfo(name, f"boot-{name}")


# Clocks and boots


def test_leases_end_exactly_with_their_ttl_by_the_boot_clock(opened, clock):
    cluster = opened()
    term = cluster.campaign("A", 10.0)
    lock = cluster.acquire_lock("k", "h", 10.0)
    cluster.register(node(), 10.0)
    clock.boot += 9.999
    assert cluster.leader() == term
    assert cluster.acquire_lock("k", "other", 10.0) is None
    assert cluster.nodes() == (node(),)
    clock.boot += 0.001
    assert cluster.leader() is None
    assert cluster.renew(term, 10.0) is False
    assert cluster.release_lock(lock) is False
    assert cluster.nodes() == ()


def test_a_lease_written_before_a_reboot_is_void_and_numbers_go_on(opened, clock):
    before = opened("boot-a")
    term = before.campaign("A", 3_000.0)
    lock = before.acquire_lock("k", "h", 80_000.0)
    before.register(node(), 3_000.0)
    clock.boot = 20.0
    after = opened("boot-b")
    assert after.leader() is None
    assert after.nodes() == ()
    assert after.renew(term, 10.0) is False
    assert after.release_lock(lock) is False
    new = after.campaign("B", 10.0)
    assert new.number == term.number + 1
    assert after.acquire_lock("k", "h", 10.0).number == lock.number + 1
    assert before.renew(term, 10.0) is False


def test_where_no_boot_id_is_known_a_clock_that_went_back_gives_the_reboot_away(opened, clock):
    cluster = opened("")
    assert cluster.campaign("A", 3_000.0) is not None
    clock.boot = 20.0
    assert cluster.leader() is None
    assert cluster.campaign("B", 10.0).number == 2


def test_a_watch_knows_when_time_alone_changes_something(opened, clock):
    cluster = opened()
    assert cluster.look()[1] is None
    cluster.register(node(), 30.0)
    assert cluster.look()[1] == 30.0
    term = cluster.campaign("A", 10.0)
    clock.boot += 4.0
    assert cluster.look()[1] == 6.0
    assert cluster.renew(term, 10.0)
    assert cluster.look()[1] == 10.0


# One file with the job store


def test_store_and_cluster_share_a_file_in_any_order_of_opening(tmp_path):
    from callboard.backends.clock import SystemClock  # noqa: PLC0415 - a real clock is the exception here

    for order in ("store first", "cluster first"):
        path = str(tmp_path / f"{order}.db")
        cluster = SqliteCluster(path) if order == "cluster first" else None
        store = open_sqlite(path, clock=SystemClock())
        cluster = cluster or SqliteCluster(path)
        term = cluster.campaign("A", 30.0)
        store.push([NewJob("j1", "job", "q", b"\x80")])
        epoch = store.begin_term(TermClaim(cluster.cluster_id, cluster.characteristics.name, term.number, term.owner))
        assert epoch == (1, "A")
        store.close()
        cluster.close()


def test_a_file_of_the_first_version_gets_the_clusters_tables_and_keeps_its_jobs(tmp_path):
    from callboard.backends.clock import SystemClock  # noqa: PLC0415 - as above

    path = str(tmp_path / "old.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        upgrade(connection, "0001")
        connection.execute("""INSERT INTO callboard_jobs (id, queue, state, has_failed_hook, priority, rank, due_ms,
            pushed_ms, name, body) VALUES ('j1', 'q', 1, 0, 0, 0, 0, 0, 'job', x'80')""")
        connection.execute("COMMIT")
    cluster = SqliteCluster(path)
    assert cluster.campaign("A", 30.0).number == 1
    cluster.close()
    store = open_sqlite(path, clock=SystemClock())
    assert store.job("j1") is not None
    store.close()


# Rows that are none of ours


def test_hostile_members_are_left_out(opened, path):
    cluster = opened()
    cluster.register(node("good"), 100.0)
    long = "x" * 300
    hostile = (
        f"'b1', '{long}', '', 0, '', '', 0",
        f"'{long}', 'n', '', 0, '', '', 0",
        "'b2', 'n' || char(10), '', 0, '', '', 0",
        "'b3', 'n', char(0), 0, '', '', 0",
        "'b4', 'n', '', -5, '', '', 0",
        "'b5', 'n', '', 0, '', '', 9223372036854775807",
        "'', 'n', '', 0, '', '', 0",
    )
    for values in hostile:
        edit(path, f"INSERT INTO callboard_cluster_nodes VALUES ({values}, 'boot-a', 5000.0, 100.0)")  # noqa: S608 - our own words
    assert [row[0] for row in read(path, "SELECT count(*) FROM callboard_cluster_nodes")] == [1 + len(hostile)]
    assert cluster.nodes() == (node("good"),)


@pytest.mark.parametrize(
    "lease", ["start_s = 9e12", "start_s = 5002.0", "ttl_s = 1e12", "ttl_s = 9e999", "ttl_s = -5", "machine = 'x'"]
)
def test_a_lease_that_cannot_be_ours_holds_nobody_up(opened, path, lease):
    cluster = opened()
    assert cluster.campaign("A", 10.0) is not None
    edit(path, f"UPDATE callboard_cluster SET {lease}")  # noqa: S608 - the test's own words
    assert cluster.leader() is None
    assert cluster.campaign("B", 10.0) is not None


def test_a_lock_that_cannot_be_ours_holds_nobody_up(opened, path):
    cluster = opened()
    first = cluster.acquire_lock("k", "h", 10.0)
    edit(path, "UPDATE callboard_cluster_locks SET ttl_s = 1e12")
    assert cluster.acquire_lock("k", "other", 10.0).number > first.number


@pytest.mark.parametrize("damage", [
    "UPDATE callboard_cluster SET number = -1",
    "UPDATE callboard_cluster SET number = 9223372036854775807",
    "UPDATE callboard_cluster SET lock_number = 9223372036854775807",
    "UPDATE callboard_cluster SET cluster_id = ''",
    "UPDATE callboard_cluster SET cluster_id = 'another'",
    "DELETE FROM callboard_cluster",
    "DROP TABLE callboard_cluster",
])
def test_a_damaged_row_is_said_to_be_and_grants_nothing(opened, path, damage):
    cluster = opened()
    term = cluster.campaign("A", 10.0)
    edit(path, damage)
    for call in (cluster.leader, lambda: cluster.campaign("B", 10.0), lambda: cluster.renew(term, 10.0),
                 lambda: cluster.acquire_lock("k", "h", 10.0), lambda: cluster.broadcast(b"x")):
        with pytest.raises(ClusterUnavailable):
            call()


def test_a_broadcast_over_the_limit_is_left_out_and_the_next_arrives(opened, path):
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    large = "('boot-a', 5000.0, zeroblob(65537))"
    edit(path, f"INSERT INTO callboard_cluster_messages (machine, sent_s, body) VALUES {large}")  # noqa: S608 - our own words
    cluster.broadcast(b"next")
    assert eventually(lambda: got, WAIT_S, "a broadcast arrives") == [b"next"]


# Bounds of the broadcasts' table


def rows(path):
    [(count, size)] = read(path, "SELECT count(*), coalesce(sum(length(body)), 0) FROM callboard_cluster_messages")
    noted = read(path, "SELECT message_bytes FROM callboard_cluster")
    assert noted == [(size,)], "the bytes that are noted are those that are there"
    return count, size


def test_broadcasts_are_capped_by_number(opened, path, monkeypatch):
    monkeypatch.setattr(sql, "MESSAGES_MAX", 20)
    cluster = opened()
    for n in range(300):
        cluster.broadcast(b"%d" % n)
    assert rows(path)[0] == 20


def test_broadcasts_are_capped_by_size(opened, path, monkeypatch):
    monkeypatch.setattr(sql, "MESSAGES_MAX_BYTES", 1_000)
    cluster = opened()
    for _ in range(50):
        cluster.broadcast(b"x" * 99)
    assert rows(path) == (10, 990)
    cluster.broadcast(b"x" * 5_000)
    assert rows(path) == (1, 5_000)


def test_broadcasts_are_capped_by_age_and_those_of_another_boot_go(opened, path, clock):
    cluster = opened()
    for _ in range(50):
        cluster.broadcast(b"old")
    clock.boot += 599.0
    cluster.broadcast(b"young")
    assert rows(path)[0] == 51
    clock.boot += 2.0
    cluster.broadcast(b"new")
    assert rows(path)[0] == 2
    opened("boot-b").broadcast(b"after a reboot")
    assert rows(path)[0] == 1


def test_who_fell_behind_the_cap_gets_what_is_left_and_goes_on(opened, monkeypatch):
    monkeypatch.setattr(sql, "MESSAGES_MAX", 5)
    cluster, sender, got = opened(), opened(), []
    held = cluster._follower._wake
    cluster.subscribe(got.append)
    with held:  # the follower can't begin a round meanwhile
        for n in range(50):
            sender.broadcast(b"%d" % n)
    last = eventually(lambda: b"49" in got and list(got), WAIT_S, "the newest broadcast arrives")
    assert len(last) == len(set(last))


# A file that can't be had


def test_a_file_that_another_has_locked_is_an_error_in_time_and_reads_go_on(opened, path):
    cluster = opened(timeout_s=0.2)
    term = cluster.campaign("A", 3_000.0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for call in (lambda: cluster.renew(term, 10.0), lambda: cluster.resign(term), lambda: cluster.broadcast(b"x"),
                     lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.register(node(), 9.0)):
            began_s = time.monotonic()
            with pytest.raises(ClusterUnavailable, match="locked"):
                call()
            assert time.monotonic() - began_s < 2.0
        assert cluster.leader() == term
        assert cluster.campaign("B", 10.0) is None
        other.execute("ROLLBACK")
    assert cluster.renew(term, 10.0) is True


def test_a_file_that_was_replaced_is_an_error(opened, path, tmp_path):
    cluster = opened()
    term = cluster.campaign("A", 3_000.0)
    (tmp_path / "cluster.db").rename(tmp_path / "moved.db")
    SqliteCluster(path).close()
    for call in (cluster.leader, lambda: cluster.renew(term, 10.0)):
        with pytest.raises(ClusterUnavailable, match="replaced"):
            call()


@pytest.mark.parametrize("bad", ["no/such/directory/x.db", "."])
def test_a_file_that_cannot_be_opened_says_why(tmp_path, bad):
    with pytest.raises(ClusterUnavailable, match="directory"):
        SqliteCluster(str(tmp_path / bad))


def test_without_bells_the_poll_delivers(opened, monkeypatch):
    def refuse(*_):
        raise StoreUnavailable("no directory for sockets is safe")

    monkeypatch.setattr(SocketBells, "listen", refuse)
    monkeypatch.setattr(SocketBells, "ring", lambda *_: None)
    cluster, other, got, hints = opened(), opened(), [], []
    cluster.subscribe(got.append)
    cluster.watch(lambda: hints.append(cluster.leader()))
    eventually(lambda: hints, WAIT_S, "a watch calls once soon")
    other.broadcast(b"hello")
    term = other.campaign("A", 10.0)
    eventually(lambda: got == [b"hello"] and term in hints, WAIT_S, "both are seen")
