"""The Scheduler in a term of its node."""

from __future__ import annotations

import pytest

from callboard.actors.dispatcher import Dispatcher
from callboard.core.records import NewJob, ScheduleRow

MINUTE_MS = 60_000


@pytest.fixture
def overdue(bench):
    """A schedule whose last minute was missed."""
    now_ms = bench.store.store_now_ms()
    last_ms = now_ms - now_ms % MINUTE_MS - 2 * MINUTE_MS
    bench.store.put_schedule(ScheduleRow("tick", "* * * * *", "UTC", "once", 3_600.0,
                                         NewJob("j", "work", "default", b""), last_ms))


@pytest.mark.usefixtures("overdue")
def test_a_tick_tells_its_epoch_also_when_the_scheduler_begins_the_term_before_the_dispatcher(bench, monkeypatch):
    monkeypatch.setattr(Dispatcher, "lead", lambda *_: None)
    node = bench.node(lease_ttl_s=30.0)
    fired = node.events.wait("scheduler.fired")[0]
    assert fired["epoch"] == bench.store.fence().epoch == 1
