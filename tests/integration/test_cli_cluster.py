"""`callboard cluster adopt`: a store changes its coordination service only on an operator's order."""

from __future__ import annotations

import pytest
from clikit import Place


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_a_store_is_handed_over_by_order_only(place):
    """A second SQLite file stands for another coordination service."""
    first = place.push("send_email", "--arg", "to=x")
    other = ("--cluster", "sqlite:///other.db")
    with place.node("--node-id", "n1", "--queue", "emails:1") as node:
        node.wait_event("dispatcher.term_begun")
        place.until("the first ran", lambda s: sum(q["completed"] for q in s["queues"]) == 1)
    with place.node("--node-id", "n2", "--queue", "emails:1", *other) as node:
        refused = node.wait_event("elector.stepped_down")
        assert "callboard cluster adopt" in refused["reason"]
        second = place.push("send_email", "--arg", "to=y")
        asked = place.run("cluster", "adopt", *other, stdin="n\n")
        assert asked.code == 1
        done = place.run("cluster", "adopt", *other, "--yes", "--json")
        assert done.code == 0, done
        assert done.json["before"]["cluster_id"] != done.json["now"]["cluster_id"]
        node.wait_event("dispatcher.term_begun")
        place.until("the second ran", lambda s: sum(q["completed"] for q in s["queues"]) == 2)
    assert {first, second} == {job.id for job in place.client.store.jobs(4, None, 10)}
