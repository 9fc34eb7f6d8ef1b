"""The commands of operators on a running node: each does what it says, and says what it did."""

from __future__ import annotations

import json
import signal

import pytest
from clikit import Place, queue_of
from kit import eventually

from callboard.client import Client
from callboard.core.errors import StoreUnavailable
from callboard.core.records import NewJob, ScheduleRow
from callboard.core.registry import read_body


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def node(place):
    """A node n1 that serves emails (2 slots) and default (3)."""
    with place.node("--node-id", "n1", "--queue", "emails:2", "--queue", "default:3") as running:
        running.wait_event("dispatcher.term_begun")
        yield running


def test_status_shows_nodes_queues_and_what_runs(place, node):
    job_id = place.push("wait_for", "--arg", "path=go")
    eventually((place.folder / "go.started").exists, 20.0, "the job runs")
    text = place.ok("status")
    first, _, *rest = text.splitlines()
    assert first.startswith("sqlite:///callboard.db  healthy  leader n1, epoch 1  1 node, 5 slots")
    assert any(line.startswith("n1 ") and "leads" in line and "emails:2" in line for line in rest)
    assert any(line.startswith(job_id) and "wait_for" in line and "n1" in line for line in rest)
    shown = json.loads(place.ok("status", "--json"))
    (running,) = shown["running"]
    assert (running["id"], running["queue"], running["node"]) == (job_id, "default", "n1")
    assert running["pid"] != node.process.pid
    assert 0 <= running["seconds"] < 60
    assert shown["nodes"][0]["restarts"]["worker:emails"] == 0
    assert queue_of(shown, "default")["running"] == 1
    (place.folder / "go").touch()


def test_scale_changes_a_running_pool_and_late_nodes_follow(place, node):
    assert place.ok("scale", "emails", "7") == "emails: 7 slots on every node\n"
    assert node.wait_event("worker.scaled", pool="emails")["slots"] == 7
    assert place.run("scale", "emails", "4", "--node", "n1", "--json").json == {"queue": "emails", "slots": {"n1": 4}}
    node.wait_event("worker.scaled", pool="emails", slots=4)
    with place.node("--node-id", "n2", "--queue", "emails:1") as late:
        assert late.wait_event("worker.scaled", pool="emails")["slots"] == 7
        place.until("n2 told its slots", lambda s: queue_of(s, "emails")["slots"] == 11)
        assert place.run("scale", "emails", "5", "--total", "--json").json["slots"] == {"n1": 3, "n2": 2}
        place.until("each has its share", lambda s: [n["pools"][-1]["slots"] for n in s["nodes"]] == [3, 2])
        place.ok("scale", "emails", "6")  # for all: replaces what was said of single ones
        place.until("both follow", lambda s: queue_of(s, "emails")["slots"] == 12)


def test_orders_that_nobody_follows_are_taken_and_said_so(place, node):
    del node
    done = place.run("scale", "emials", "3")
    assert done.code == 0
    assert "no live node serves queue 'emials' (did you mean 'emails'?); the order waits" in done.err
    assert "no live node is named 'n9'" in place.run("scale", "emails", "3", "--node", "n9").err
    assert "no live node is named 'n2'; the order waits" in place.run("drain", "n2").err
    done = place.run("scale", "nowhere", "3", "--total")
    assert (done.code, done.out) == (1, "")
    assert "nobody to divide 3 slots among" in done.err


def test_pause_and_resume(place, node):
    del node
    assert place.ok("pause", "emails") == "emails: paused\n"
    place.ok("push", "send_email", "--arg", "to=x")
    assert "paused" in place.ok("status")
    assert place.status()["paused"] == ["emails"]
    assert queue_of(place.status(), "emails")["ready"] == 1
    assert place.run("resume", "emails", "--json").json == {"queue": "emails", "paused": False}
    place.until("it ran", lambda s: queue_of(s, "emails")["completed"] == 1)


def test_cancel_a_job_that_waits_one_that_runs_and_one_that_ended(place, node):
    waiting = place.push("send_email", "--arg", "to=x", "--in", "3600")
    running = place.push("wait_for", "--arg", "path=never")
    eventually((place.folder / "never.started").exists, 20.0, "the job runs")
    done = place.run("cancel", waiting, running, "--json")
    assert (done.code, done.json) == (0, {waiting: "cancelled", running: "requested"})
    node.wait_event("worker.cancelling", job=running)
    place.until("both are cancelled", lambda s: sum(q["cancelled"] for q in s["queues"]) == 2)
    late = place.run("cancel", waiting)
    assert (late.code, late.out) == (1, f"{waiting}: too late, it had ended\n")
    unknown = place.run("cancel", "nosuch")
    assert unknown.code == 1
    assert len(unknown.err.splitlines()) == 1


def test_purge_forgets_what_waits_and_its_ids_make_no_new_job(place, node):
    del node
    for number in range(3):
        place.push("send_email", "--arg", "to=x", "--in", "3600", "--id", f"job{number}")
    assert place.ok("purge", "emails") == "emails: 3 jobs forgotten\n"
    assert place.push("send_email", "--arg", "to=x", "--id", "job0") == "job0"
    assert place.run("purge", "emails", "--json").json == {"queue": "emails", "purged": 0}


def test_drain_gives_a_node_nothing_new_until_it_is_off(place, node):
    del node
    assert place.ok("drain", "n1") == "n1: draining\n"
    place.until("it is seen", lambda s: s["nodes"][0]["draining"])
    place.ok("push", "send_email", "--arg", "to=x")
    assert "draining" in place.ok("status")
    assert queue_of(place.status(), "emails")["ready"] == 1
    assert place.ok("drain", "n1", "--off") == "n1: gets jobs again\n"
    place.until("it ran", lambda s: queue_of(s, "emails")["completed"] == 1)


def test_push_options_reach_the_job_and_a_unique_key_gives_its_holder(place, node):
    del node
    first = place.ok("push", "send_email", "--arg", "to=x", "--in", "3600", "--unique", "once", "--priority", "-7",
                     "--max-attempts", "9", "--timeout", "12.5", "--queue", "slow", "--header", "trace=abc").strip()
    assert place.run("push", "send_email", "--arg", "to=x", "--unique", "once", "--json").json == {"id": first}
    row = place.client.store.job(first)
    assert (row.queue, row.priority, row.max_attempts, row.name) == ("slow", -7, 9, "send_email")
    assert 3500_000 < row.due_ms - row.pushed_ms < 3700_000
    second = place.ok("push", "send_email", "--arg", "to=x", "--in", "9").strip()
    by_node = place.client.store.job(second)
    third = place.push("send_email", "--arg", "to=x", "--in", "9")
    by_app = place.client.store.job(third)
    assert by_node.body == by_app.body
    for row in (by_node, by_app):  # the class's own settings, whoever checked the name
        assert (row.queue, row.priority, row.max_attempts) == ("emails", 5, 1)


def test_what_may_become_of_a_job_is_said_with_its_push(place, node):
    del node
    far = ("--in", "3600", "--arg", "to=x")
    row = place.client.store.job(place.push("send_email", *far, "--at-most-once", "--expires", "7200", "--tag", "a",
                                            "--tag", "b", "--unique", "u", "--unique-for", "60"))
    assert (row.at_most_once, row.max_attempts, row.expires_ms - row.pushed_ms) == (True, 1, 7200_000)
    assert (row.unique, read_body(row.body).tags) == ("u", ("a", "b"))
    row = place.client.store.job(place.push("send_email", *far, "--unique", "v", "--unique-until-started"))
    assert (row.at_most_once, row.expires_ms, row.unique) == (False, None, "v")


def test_a_push_without_an_app_is_checked_by_the_nodes(place, node):
    del node
    for args, said in ((("send_emial", "--arg", "to=x"), "(did you mean 'send_email'?) on the 1 node(s)"),
                       (("send_email", "--arg", "too=x"), "no argument 'too' (did you mean 'to'?)"),
                       (("send_email",), "needs to; it takes to, n")):
        done = place.run("push", *args)
        assert (done.code, len(done.err.splitlines())) == (2, 1)
        assert said in done.err


def test_the_failed_list_is_paged_shown_retried_and_forgotten(place, node):
    del node
    ids = [place.push("boom", "--arg", f"text=no {n}") for n in range(3)]
    place.until("all failed", lambda s: queue_of(s, "default")["failed"] == 3)
    rows = place.run("failed", "list", "--json").json
    assert [row["id"] for row in rows] == ids[::-1]
    assert {(row["error_kind"], row["attempts"], row["queue"]) for row in rows} == {("ValueError", 1, "default")}
    page = place.run("failed", "list", "--limit", "2")
    assert f"more: callboard failed list --before {ids[1]}" in page.err
    assert ids[0] in place.ok("failed", "list", "--limit", "2", "--before", ids[1])
    assert place.run("failed", "list", "--queue", "emails").out == ""
    text = place.ok("failed", "show", ids[0])
    for part in ("error     ValueError: no 0", "argument  text = 'no 0'", "Traceback (most recent call last)",
                 "raise ValueError(text)"):
        assert part in text
    shown = place.run("failed", "show", ids[0], "--json").json
    assert shown["arguments"] == {"text": "no 0"}
    assert place.ok("failed", "retry", ids[0]) == f"{ids[0]}: ready again\n"
    place.until("it failed again", lambda s: queue_of(s, "default")["failed"] == 3)
    assert place.ok("failed", "forget", ids[1]) == "1 job forgotten\n"
    for command in ("show", "retry", "forget"):
        done = place.run("failed", command, ids[1])
        assert (done.code, len(done.err.splitlines())) == (1, 1)
        assert "it is forgotten" in done.err or "no job has the id" in done.err
    assert place.ok("failed", "flush", "--queue", "default") == "2 jobs forgotten\n"
    assert queue_of(place.status(), "default")["failed"] == 0


def test_schedules_are_listed_with_their_next_tick(place, node):
    del node
    job = NewJob("template", "nightly", "reports", b"\x81\xa1a\x80")
    place.client.store.put_schedule(ScheduleRow("night", "0 3 * * *", "Europe/Berlin", "skip", 60.0, job, 0))
    (row,) = place.run("schedule", "list", "--json").json
    assert (row["name"], row["cron"], row["timezone"], row["job"]) == ("night", "0 3 * * *", "Europe/Berlin", "nightly")
    assert row["next"].endswith(("01:00:00Z", "02:00:00Z"))
    assert "night " in place.ok("schedule", "list")


def test_without_a_node_orders_go_to_the_store_and_the_next_node_finds_them(place):
    place.push("send_email", "--arg", "to=x")
    place.ok("pause", "emails")
    place.ok("scale", "emails", "9")
    with place.node("--queue", "emails:1") as node:
        assert node.wait_event("worker.scaled", pool="emails")["slots"] == 9
        assert queue_of(place.status(), "emails")["ready"] == 1
        place.ok("resume", "emails")
        place.until("it ran", lambda s: queue_of(s, "emails")["completed"] == 1)
    done = place.run("events")
    assert done.code == 3
    assert "no node of sqlite:///callboard.db runs;" in done.err


def stop_outside_of_a_transaction(node, store):
    """SIGSTOP. A process that stands still in a write transaction stops the file: known, and not what is tested."""
    for _ in range(5):
        node.signal(signal.SIGSTOP)
        try:
            store.set_draining("nobody", draining=False)
        except StoreUnavailable:
            node.signal(signal.SIGCONT)
            store.set_draining("nobody", draining=False)  # once this passes, its transaction has ended
        else:
            return
    pytest.fail("the node always stood in a transaction")


def test_a_node_that_stands_still_holds_up_no_order(place, node):
    stop_outside_of_a_transaction(node, place.client.store)
    try:
        assert not place.client.status().nodes[0].reachable
        place.client.pause("emails")
        assert place.client.status().paused == ("emails",)
    finally:
        node.signal(signal.SIGCONT)


def test_doctor_checks_everything_and_says_what_holds(place, node):
    del node
    done = place.run("doctor", "--app", "shop", "--json", CALLBOARD_STOER="x")
    assert done.code == 0, done
    found = {(check["subject"], check["result"]) for check in done.json}
    assert {("versions", "ok"), ("sockets", "ok"), ("store", "ok"), ("cluster", "ok"), ("nodes", "ok"), ("app", "ok"),
            ("settings", "note")} <= found
    text = place.ok("doctor")
    assert "a round trip takes" in text
    assert "n1 answers at" in text
    assert "durable: " in text
    assert "CALLBOARD_STOER (did you mean 'CALLBOARD_STORE'?)" in place.ok("doctor", CALLBOARD_STOER="x")


def test_doctor_without_a_store_makes_none_and_with_a_broken_one_fails(place):
    assert "is not there yet" in place.ok("doctor")
    assert not (place.folder / "callboard.db").exists()
    (place.folder / "callboard.db").write_text("not a database, surely" * 100)
    done = place.run("doctor")
    assert done.code == 1
    assert "failed store" in done.out
    assert place.run("doctor", "--app", "nosuch").code == 2


def test_the_client_answers_for_the_package(place, node):
    del node
    client = Client(f"sqlite:///{place.folder}/callboard.db")
    assert client.status().leader == "n1"
    assert client.reachable()[0].info.node == "n1"
    assert repr(client).startswith("<Client of sqlite:///")
