"""`callboard why` and `callboard job`: each cause is made for real, and said in a sentence with its remedy."""

from __future__ import annotations

import pytest
from clikit import Place
from kit import eventually


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def why(place, job_id):
    """The code and the sentence."""
    found = place.run("why", job_id, "--json").json
    assert place.ok("why", job_id).startswith(f"{found['state']}: ")
    return found["code"], found["sentence"]


def test_a_job_that_no_node_can_run_says_what_to_start(place):
    job_id = place.push("send_email", "--arg", "to=x")
    code, sentence = why(place, job_id)
    assert code == "no_node"
    assert "callboard node --app" in sentence
    with place.node("--node-id", "n1", "--queue", "default:1") as node:
        node.wait_event("dispatcher.term_begun")
        code, sentence = why(place, job_id)
        assert code == "queue_not_served"
        assert "--queue emails" in sentence


def test_what_is_in_a_jobs_way_on_a_running_node(place):
    with place.node("--node-id", "n1", "--queue", "default:1", "--queue", "emails:1") as node:
        node.wait_event("dispatcher.term_begun")
        place.ok("pause", "emails")
        paused = place.push("send_email", "--arg", "to=x")
        assert why(place, paused)[0] == "paused"
        assert "callboard resume emails" in why(place, paused)[1]
        first = place.push("wait_for", "--arg", "path=go")
        eventually((place.folder / "go.started").exists, 20.0, "the job runs")
        second = place.push("wait_for", "--arg", "path=go")
        code = eventually(lambda: why(place, second)[0] in {"no_room", "taken", "assigned"}, 10.0, "the slot is taken")
        assert code
        later = place.push("wait_for", "--arg", "path=go", "--in", "3600")
        assert why(place, later) == ("delayed", "it was pushed with a delay, and is due in 60 min")
        (place.folder / "go").touch()
        place.until("both are done", lambda s: sum(q["completed"] for q in s["queues"]) == 2)
        assert why(place, first)[0] == "completed"


def test_a_jobs_way_is_told_with_its_error_and_arguments(place):
    with place.node("--node-id", "n1") as node:
        node.wait_event("dispatcher.term_begun")
        job_id = place.push("boom", "--arg", "text=so what")
        place.until("it failed", lambda s: sum(q["failed"] for q in s["queues"]) == 1)
        text = place.ok("job", job_id)
        assert "argument  text = 'so what'" in text
        assert "state     failed" in text
        assert "ValueError: so what" in text
        assert "pushed" in text.splitlines()[text.splitlines().index("") + 1]
        assert "Traceback" not in text
        assert "raise ValueError(text)" in place.ok("job", job_id, "--traceback")
        shown = place.run("job", job_id, "--json").json
        assert shown["timeline"][0]["what"] == "pushed"
        assert [moment["what"] for moment in shown["timeline"]][-2:] == ["fail", "failed"]
        assert [moment["error"]["kind"] for moment in shown["timeline"] if moment["error"]] == ["ValueError"]
        assert shown["why"]["code"] == "failed"


def test_an_unknown_id_is_one_line(place):
    place.push("send_email", "--arg", "to=x")
    for command in ("why", "job"):
        done = place.run(command, "nosuch")
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
        assert "no job has the id 'nosuch'" in done.err
