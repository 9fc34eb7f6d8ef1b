"""Health in a word, and the checker's alerts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.errors import InvalidArgument
from callboard.core.health import QueueHealth, QueueStats, Thresholds, alerts, health_of, judge, stats_of
from callboard.core.records import QueueCounts


def stats(failed=0, pending=0, processing=0):
    return QueueStats(failed + pending + processing, pending, processing, failed, 0)


@pytest.mark.parametrize(
    ("failed", "status"), [(0, "healthy"), (100, "healthy"), (101, "warning"), (1_000, "warning"), (1_001, "critical")]
)
def test_more_than_a_hundred_failed_is_a_warning_more_than_a_thousand_critical(failed, status):
    assert judge(stats(failed)) == status
    assert health_of(stats(failed)) == QueueHealth(status, stats(failed))


def test_a_backlog_does_not_change_the_word_but_brings_an_alert():
    busy = stats(pending=1_001, processing=101)
    assert judge(busy) == "healthy"
    assert [(alert.kind, alert.count, alert.threshold) for alert in alerts(busy)] == [
        ("backlog", 1_001, 1_000), ("processing", 101, 100)]
    assert alerts(stats(100, 1_000, 100)) == ()


def test_thresholds_can_be_set_and_turned_off():
    assert judge(stats(6), Thresholds(5, 10)) == "warning"
    assert judge(stats(11), Thresholds(5, 10)) == "critical"
    assert judge(stats(11), Thresholds(None, 10)) == "critical"
    assert judge(stats(11), Thresholds(5, None)) == "warning"
    assert alerts(stats(10**6, 10**6, 10**6), Thresholds(None, None, None, None)) == ()
    assert judge(stats(1), Thresholds(0, 0)) == "critical"


@pytest.mark.parametrize(
    "bad", [{"pending": -1}, {"processing": 1.5}, {"failed_warning": True}, {"failed_critical": 5}]
)
def test_thresholds_that_make_no_sense_are_refused(bad):
    with pytest.raises(InvalidArgument):
        Thresholds(**bad)


def test_stats_from_the_stores_counts():
    one = QueueCounts("a", delayed=1, ready=2, assigned=3, running=4, failed=5, completed=6, cancelled=7, paused=False)
    assert stats_of([one]) == QueueStats(21, 3, 7, 5, 6)
    assert stats_of([one, one]) == QueueStats(42, 6, 14, 10, 12)
    assert stats_of([]) == QueueStats(0, 0, 0, 0, 0)


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_more_failures_are_never_better(fewer, more):
    order = ("healthy", "warning", "critical")
    low, high = sorted((fewer, more))
    assert order.index(judge(stats(low))) <= order.index(judge(stats(high)))
