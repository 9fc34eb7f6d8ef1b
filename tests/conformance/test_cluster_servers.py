"""The `store` cluster on database servers: what others do to its rows, its bounds, clocks, locks that others hold."""

import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from cluster_servers import KINDS, OPEN, connect, edit, prepare
from kit import eventually
from servers import shared

from callboard.backends.cluster.server import statements
from callboard.core.codec import BROADCAST_MAX_BYTES
from callboard.core.errors import ClusterUnavailable, UsageError
from callboard.core.records import NodeInfo

WAIT_S = 20.0


@pytest.fixture(params=KINDS)
def url(request):
    """A database with the tables."""
    with shared.database(request.param, prepare) as address:
        yield address


@pytest.fixture
def opened(url):
    """Opens clusters in the database; closes them at the end."""
    every = []

    def make(**options):
        every.append(OPEN[url.partition(":")[0]](url, **options))
        return every[-1]

    yield make
    for cluster in every:
        cluster.close()


@pytest.fixture
def bounds(monkeypatch):
    """Sets bounds that are written into the statements."""

    def bind(**values):
        for name, value in values.items():
            monkeypatch.setattr(statements, name, value)
        statements.load.cache_clear()

    yield bind
    monkeypatch.undo()
    statements.load.cache_clear()


def node(name="n1", **more):
    return NodeInfo(name, f"boot-{name}", **more)


# Rows that are none of ours


def test_nodes_that_cannot_be_ours_are_left_out(opened, url):
    cluster = opened()
    cluster.register(node("good"), 100.0)
    tab = "chr(9)" if url.startswith("postgresql") else "char(9)"
    hostile = ("'b1', ''", "'', 'n'", f"'b2', concat('n', {tab})", "'b3', concat(' ', ' ', 'n'), 'h', -5",
               "'b4', 'n', 'h', 5, 'v', 's', 9223372036854775807")
    for values in hostile:
        given = values.count(",") + 1 if "concat" not in values else {True: 4, False: 2}["-5" in values]
        rest = ["'h'", "1", "'v'", "'s'", "1"][max(0, given - 2) :]
        now = "extract(epoch FROM now())" if url.startswith("postgresql") else "unix_timestamp()"
        columns = ", ".join([values, *rest, now, "100.0"])
        edit(url, f"INSERT INTO callboard_cluster_nodes VALUES ({columns})")  # noqa: S608 - our own words
    assert edit(url, "SELECT count(*) FROM callboard_cluster_nodes") == ((1 + len(hostile),),)
    assert cluster.nodes() == (node("good"),)


@pytest.mark.parametrize(
    "lease", ["start_s = start_s + 60", "start_s = 9e12", "ttl_s = 1e12", "ttl_s = -5", "start_s = start_s - 60"]
)
def test_a_lease_that_cannot_be_ours_or_a_clock_that_was_set_holds_nobody_up(opened, url, lease):
    cluster = opened()
    term = cluster.campaign("A", 30.0)
    edit(url, f"UPDATE callboard_cluster SET {lease}")  # noqa: S608 - our own words
    assert cluster.leader() is None
    assert cluster.renew(term, 30.0) is False
    assert cluster.campaign("B", 30.0).number == term.number + 1


def test_a_lock_that_cannot_be_ours_holds_nobody_up(opened, url):
    cluster = opened()
    first = cluster.acquire_lock("k", "h", 10.0)
    edit(url, "UPDATE callboard_cluster_locks SET ttl_s = 1e12")
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
def test_a_damaged_row_is_said_to_be_and_nothing_is_granted(opened, url, damage):
    cluster = opened()
    term = cluster.campaign("A", 10.0)
    lock = cluster.acquire_lock("k", "h", 10.0)
    edit(url, damage)
    before = [edit(url, f"SELECT * FROM callboard_cluster_{table}") for table in ("nodes", "locks", "messages", "sent")]  # noqa: S608 - our own words
    for call in (
        cluster.leader, cluster.nodes, lambda: cluster.campaign("B", 10.0), lambda: cluster.renew(term, 10.0),
        lambda: cluster.resign(term), lambda: cluster.acquire_lock("k2", "h", 10.0), lambda: cluster.release_lock(lock),
        lambda: cluster.register(node(), 10.0), lambda: cluster.unregister("boot-n1"), lambda: cluster.broadcast(b"x"),
    ):
        with pytest.raises(ClusterUnavailable):
            call()
    after = [edit(url, f"SELECT * FROM callboard_cluster_{table}") for table in ("nodes", "locks", "messages", "sent")]  # noqa: S608 - our own words
    assert after == before


def test_the_broadcasts_row_of_numbers_is_missed(opened, url):
    cluster = opened()
    edit(url, "DELETE FROM callboard_cluster_sent")
    with pytest.raises(ClusterUnavailable, match="numbers were deleted"):
        cluster.broadcast(b"x")


def test_a_broadcast_over_the_limit_is_left_out_and_the_next_arrives(opened, url):
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    large = "decode(repeat('00', 65537), 'hex')" if url.startswith("postgresql") else "repeat(x'00', 65537)"
    edit(url, "UPDATE callboard_cluster_sent SET number = number + 1",
         f"INSERT INTO callboard_cluster_messages VALUES (1, 1, 0, {large})")  # noqa: S608 - our own words
    cluster.broadcast(b"next")
    assert eventually(lambda: got, WAIT_S, "a broadcast arrives") == [b"next"]


NAMES = ("k ", " k", "k", "K", "\u1e31", "\u00f1", "n\u0303")


@pytest.mark.parametrize("name", NAMES)
def test_no_two_names_are_equal_but_the_same(opened, name):
    cluster = opened()
    for n, other in enumerate(set(NAMES) - {name}):
        assert cluster.acquire_lock(other, f"h{n}", 30.0) is not None
        cluster.register(replace(node(), boot_id=other), 30.0)
    assert cluster.acquire_lock(name, "own", 30.0) is not None
    cluster.unregister(name)
    assert len(cluster.nodes()) == 6


# Bounds


def sizes(url):
    [(count, size)] = edit(url, "SELECT count(*), coalesce(sum(octet_length(body)), 0) FROM callboard_cluster_messages")
    return int(count), int(size)


def test_broadcasts_are_capped_by_number(opened, url, bounds):
    bounds(MESSAGES_MAX=20)
    cluster = opened()
    for n in range(60):
        cluster.broadcast(b"%d" % n)
    assert sizes(url)[0] == 20


def test_broadcasts_are_capped_by_size(opened, url, bounds):
    bounds(MESSAGES_MAX_BYTES=1_000)
    cluster = opened()
    for _ in range(50):
        cluster.broadcast(b"x" * 99)
    assert sizes(url) == (10, 990)
    cluster.broadcast(b"x" * 5_000)
    assert sizes(url) == (1, 5_000)


def test_broadcasts_are_capped_by_age(opened, url):
    cluster = opened()
    for _ in range(5):
        cluster.broadcast(b"old")
    edit(url, "UPDATE callboard_cluster_messages SET sent_s = sent_s - 590")
    cluster.broadcast(b"young")
    assert sizes(url)[0] == 6
    edit(url, "UPDATE callboard_cluster_messages SET sent_s = sent_s - 20")
    cluster.broadcast(b"new")
    assert sizes(url)[0] == 2


def test_one_lock_more_than_the_limit_is_refused_and_expired_ones_make_room(opened, bounds):
    bounds(LOCKS_MAX=3)
    cluster = opened()
    tokens = [cluster.acquire_lock(f"k{n}", "h", 30.0) for n in range(2)]
    cluster.acquire_lock("short", "h", 0.3)
    with pytest.raises(ClusterUnavailable, match="limit"):
        cluster.acquire_lock("one more", "h", 30.0)
    assert cluster.acquire_lock("k0", "h", 30.0).number == tokens[0].number
    assert cluster.acquire_lock("k0", "other", 30.0) is None

    def take():
        try:
            return cluster.acquire_lock("one more", "h", 30.0)
        except ClusterUnavailable:
            return None

    assert eventually(take, WAIT_S, "there is room").number > max(token.number for token in tokens)


def test_one_node_more_than_the_limit_is_refused_and_those_that_are_in_stay(opened, bounds):
    bounds(NODES_MAX=2)
    cluster = opened()
    cluster.register(node("a"), 30.0)
    cluster.register(node("b"), 30.0)
    with pytest.raises(ClusterUnavailable, match="limit"):
        cluster.register(node("c"), 30.0)
    cluster.register(node("a"), 30.0)
    assert cluster.nodes() == (node("a"), node("b"))


def test_a_broadcast_of_the_largest_size_passes_whatever_its_bytes(opened):
    cluster, got = opened(), []
    cluster.subscribe(got.append)
    for message in (b"\x00" * BROADCAST_MAX_BYTES, b"\\'\"%s%(x)s;--" * 100):
        cluster.broadcast(message)
    eventually(lambda: len(got) == 2, WAIT_S, "both arrive")
    assert got == [b"\x00" * BROADCAST_MAX_BYTES, b"\\'\"%s%(x)s;--" * 100]


# Others at work


def held(url, statement):
    """A transaction of somebody else's that holds what the statement locks."""
    connection = connect(url)
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    cursor.execute(statement)
    return connection


def test_a_row_that_another_holds_is_an_error_in_time_and_reads_go_on(opened, url):
    cluster = opened(timeout_s=0.8)
    term = cluster.campaign("A", 3_000.0)
    with closing(held(url, "SELECT * FROM callboard_cluster FOR UPDATE")):
        for call in (lambda: cluster.renew(term, 10.0), lambda: cluster.resign(term),
                     lambda: cluster.acquire_lock("k", "h", 9.0), lambda: cluster.register(node(), 9.0)):
            began_s = time.monotonic()
            with pytest.raises(ClusterUnavailable):
                call()
            assert time.monotonic() - began_s < 2.5
        assert cluster.leader() == term
        assert cluster.campaign("B", 10.0) is None
        assert cluster.nodes() == ()
    assert eventually(lambda: kept(cluster, term), WAIT_S, "the row is free") is True


def kept(cluster, term):
    try:
        return cluster.renew(term, 10.0)
    except ClusterUnavailable:
        return None


def test_who_waited_for_the_row_sees_it_as_it_is_then(opened, url):
    """It was over when the campaign began, and is in force when its turn comes."""
    cluster, now = opened(), {"p": "extract(epoch FROM clock_timestamp())", "m": "unix_timestamp(sysdate(6))"}[url[0]]
    term = cluster.campaign("A", 30.0)
    edit(url, "UPDATE callboard_cluster SET start_s = start_s - 100")
    other, results = held(url, f"UPDATE callboard_cluster SET start_s = {now}"), []  # noqa: S608 - our own words
    campaign = threading.Thread(target=lambda: results.append(cluster.campaign("B", 30.0)))
    campaign.start()
    waiting = {
        "p": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        "m": "SELECT count(*) FROM information_schema.innodb_lock_waits",
    }[url[0]]
    eventually(lambda: edit(url, waiting)[0][0] or results, WAIT_S, "the campaign waits for the row")
    other.commit()
    other.close()
    campaign.join(WAIT_S)
    assert results == [None]
    assert cluster.leader() == term


def test_a_flood_of_broadcasts_keeps_no_renewal_waiting(opened):
    cluster, others = opened(), [opened() for _ in range(3)]
    term, stop = cluster.campaign("A", 5.0), threading.Event()

    def flood(sender):
        while not stop.is_set():
            sender.broadcast(b"x" * 10_000)

    threads = [threading.Thread(target=flood, args=(sender,)) for sender in others]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            assert cluster.renew(term, 5.0)  # after its timeout it would be an error
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_S)


def test_an_address_that_cannot_be_read_is_refused_without_its_password(url):
    for bad in (url.replace("://", "://["), f"{url}?no_such_option=1"):
        with pytest.raises((UsageError, ClusterUnavailable)) as refused:
            OPEN[url.partition(":")[0]](bad).close()
        assert url.partition("@")[0].rpartition(":")[2] not in str(refused.value)


def test_a_database_whose_tables_are_gone_says_so(url):
    edit(url, "DROP TABLE callboard_cluster")
    with pytest.raises(ClusterUnavailable, match="tables are gone"):
        OPEN[url.partition(":")[0]](url)


def test_tables_of_another_prefix_are_another_cluster(opened):
    one, other, got = opened(), opened(prefix="jobs_"), []
    assert one.cluster_id != other.cluster_id
    assert one.campaign("A", 30.0).number == other.campaign("B", 30.0).number == 1
    one.register(node(), 30.0)
    assert other.nodes() == ()
    other.subscribe(got.append)
    one.broadcast(b"one's")
    other.broadcast(b"other's")
    assert eventually(lambda: got, WAIT_S, "a broadcast arrives") == [b"other's"]
