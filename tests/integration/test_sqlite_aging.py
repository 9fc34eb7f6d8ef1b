"""Priority against waiting: strict by default, aged where a queue says so."""

import pytest
from sqlitekit import SqlStoreOptions, job, lead, node, opened, run

from callboard.core.errors import InvalidArgument


class Clock:
    """Stands still until it is moved."""

    now = 1_700_000_000.0

    def boot_s(self) -> float:
        return self.now

    def wall_s(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    store = opened(tmp_path / "jobs.db", clock=clock)
    yield store
    store.close()


def order(store, count=3):
    return [one.id for one in run(store, lead(store), node(store), count)]


def test_priority_is_strict_by_default(store, clock):
    store.push([job("old")])
    clock.now += 10 * 365 * 86_400
    store.push([job("new", priority=1)])
    assert order(store) == ["new", "old"]


def test_a_queue_may_weigh_waiting_against_priority(store, clock):
    assert store.set_aging("q", 60) == 0
    store.push([job("old")])
    clock.now += 59
    store.push([job("young", priority=1)])
    clock.now += 2
    store.push([job("late", priority=1)])
    assert order(store) == ["young", "old", "late"]


def test_a_new_setting_ranks_what_waits_anew(store, clock, monkeypatch):
    monkeypatch.setattr("callboard.backends.store.sql.aging._BATCH_ROWS", 2)
    store.push([job("first")])
    clock.now += 1
    store.push([job(f"high-{number}", priority=5) for number in range(4)])
    store.push([job("other", queue="other")])
    store.push([job("delayed", priority=5, delay_s=1)])
    assert store.set_aging("q", 0) == 6
    clock.now += 1
    store.promote_due(lead(store), 10)
    assert order(store, 10) == ["first", "high-0", "high-1", "high-2", "high-3", "delayed"]
    assert store.set_aging("q", None) == 0


def test_the_stores_setting_holds_where_a_queue_has_none(tmp_path, clock):
    store = opened(tmp_path / "jobs.db", SqlStoreOptions(aging_s=0), clock)
    store.push([job("old"), job("new", priority=9)])
    assert order(store) == ["old", "new"]
    store.close()


@pytest.mark.parametrize("aging_s", [-1, "1", 1e12])
def test_a_bad_setting_is_refused(store, aging_s):
    with pytest.raises(InvalidArgument, match="aging_s"):
        store.set_aging("q", aging_s)
