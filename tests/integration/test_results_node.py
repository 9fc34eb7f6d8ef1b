"""`queue.result` on a real node: what a job returned, how far it is, why it failed."""

from __future__ import annotations

import asyncio

import pytest
from clikit import Place

import callboard

JOBS = """
import time
import callboard

@callboard.job
def add(a: int, b: int):
    return int(a) + int(b)  # the command line sends texts

@callboard.job
async def shout(text: str):
    return {"text": text.upper()}

@callboard.job
def odd():
    return object()

@callboard.job(max_attempts=1)
def boom():
    raise LookupError("no such order")

@callboard.job
def stages(path: str):
    callboard.current_job().progress(0.25, "cutting")
    while not __import__("os").path.exists(path):
        time.sleep(0.01)
    return "done"
"""


@pytest.fixture
def shop(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "counter.py").write_text(JOBS)
    with place.node("--executor", "thread", app="counter") as node:
        node.wait_event("dispatcher.term_begun")
        yield place


def push(place, name, **arguments):
    args = [part for key, value in arguments.items() for part in ("--arg", f"{key}={value}")]
    return place.ok("push", name, *args, "--app", "counter").strip()


def test_what_jobs_return_comes_back_and_why_they_failed(shop):
    queue = callboard.connect(f"sqlite:///{shop.folder}/callboard.db")
    assert queue.result(push(shop, "add", a=2, b=3), timeout=20) == 5
    assert asyncio.run(queue.aresult(push(shop, "shout", text="hey"), timeout=20)) == {"text": "HEY"}
    with pytest.raises(callboard.ResultLost, match="object"):
        queue.result(push(shop, "odd"), timeout=20)
    with pytest.raises(callboard.JobFailed, match="LookupError: no such order") as found:
        queue.result(push(shop, "boom"), timeout=20)
    assert "raise LookupError" in found.value.traceback
    with pytest.raises(callboard.NotFound):
        queue.result("nosuch", timeout=20)


def test_progress_is_seen_in_status_and_why_while_it_runs(shop):
    job_id = push(shop, "stages", path="go")
    found = shop.until("it says how far it is", lambda s: any(job["message"] for job in s["running"]))
    (running,) = found["running"]
    assert (running["fraction"], running["message"]) == (0.25, "cutting")
    assert "25% cutting" in shop.ok("status")
    assert "it says cutting (25%)" in shop.ok("why", job_id)
    queue = callboard.connect(f"sqlite:///{shop.folder}/callboard.db")
    with pytest.raises(callboard.ResultTimeout):
        queue.result(job_id, timeout=0.1)
    (shop.folder / "go").touch()
    assert queue.result(job_id, timeout=20) == "done"


def test_a_queues_depth_is_bounded_by_an_order(shop):
    assert shop.ok("limit", "slow") == "slow: no bound of its own\n"
    assert shop.ok("limit", "slow", "--max-depth", "2", "--aging", "30") == (
        "slow: at most 2 jobs wait, a priority higher after each 30 s\n")
    for number in range(2):
        shop.ok("push", "add", "--arg", "a=1", "--arg", f"b={number}", "--queue", "slow", "--app", "counter")
    done = shop.run("push", "add", "--arg", "a=1", "--arg", "b=2", "--queue", "slow", "--app", "counter")
    assert done.code == 1
    assert "its limit is 2" in done.err
    assert "at most 2 wait" in shop.ok("status")
    shop.ok("limit", "slow", "--off")
    shop.ok("push", "add", "--arg", "a=1", "--arg", "b=2", "--queue", "slow", "--app", "counter")
    done = shop.run("limit", "slow", "--off", "--max-depth", "3")
    assert (done.code, len(done.err.splitlines())) == (2, 1)
