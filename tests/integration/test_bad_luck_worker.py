"""A program whose Worker's node ends without being asked: it is told why, at once, and can start another."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import time
from pathlib import Path
import callboard
from callboard.core.errors import Unavailable

@callboard.job
def work():
    pass

if __name__ == "__main__":
    queue = callboard.connect("sqlite:///jobs.db")
    config = callboard.WorkerConfig(log_style="off", lease_ttl=0.5, session_ttl=0.5)
    worker = callboard.Worker(queue, config)
    worker.start()
    print(worker.pool.stats().status)
    for file in list(Path().glob("jobs.db*")):
        file.rename("gone-" + file.name)
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        asked_s = time.monotonic()
        try:
            worker.pool.stats()
        except Unavailable as error:
            print(error, time.monotonic() - asked_s < 2)
            break
    worker.stop()
    for file in list(Path().glob("gone-*")):
        file.rename(file.name.removeprefix("gone-"))
    queue.push(work.bind())
    with callboard.Worker(queue, config):
        while queue.stats().completed_jobs < 1 and time.monotonic() < deadline_s + 20:
            time.sleep(0.05)
    print(queue.stats().completed_jobs)
"""


def test_a_worker_whose_node_gave_up_says_why(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, timeout=100, check=False,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    running, why, completed = done.stdout.splitlines()
    assert running == "running"
    assert why.startswith("the node ended: job store ")
    assert why.endswith("the file was moved, deleted or replaced; start the node again True")
    assert completed == "1"
