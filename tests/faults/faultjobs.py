"""The jobs of the fault tests: each run leaves evidence of its own, whatever the store says of it.

One line for each start and end, `start|end job epoch seq node pid boot_s`, by one write to a file opened with O_APPEND:
a process that is killed leaves whole lines. The folder is $FAULT_FOLDER, the node's name $FAULT_NODE.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from callboard import Backoff, PermanentError, current_job, job

_files = {}


def boot_s():
    """Seconds of CLOCK_BOOTTIME, which all processes of the machine share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _note(what):
    pid = os.getpid()
    if pid not in _files:  # a forked child must not share its parent's
        path = Path(os.environ["FAULT_FOLDER"]) / f"evidence-{os.environ['FAULT_NODE']}.txt"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    run = current_job()
    line = f"{what} {run.job_id} {run.token.epoch} {run.token.seq} {os.environ['FAULT_NODE']} {pid} {boot_s():.6f}\n"
    os.write(_files[pid], line.encode())


@contextlib.contextmanager
def evidence():
    """Note the start, and the end where the run got there."""
    _note("start")
    yield
    _note("end")


def _folder():
    return Path(os.environ["FAULT_FOLDER"])


def _wait_for_file(name):
    """Until the test lets the run go on; the job's timeout bounds it."""
    while not (_folder() / name).exists():
        time.sleep(0.002)


def _node_pid():
    """The node's process: the parent of the template, which is this child's parent."""
    stat = Path(f"/proc/{os.getppid()}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[1])


@job(max_attempts=20, retry_after=0.05)
def work(seconds: float) -> None:
    """Take that long."""
    with evidence():
        time.sleep(seconds)


@job(max_attempts=20, retry_after=0.05)
def noop() -> None:
    """Do nothing else."""
    with evidence():
        pass


@job(max_attempts=20, retry_after=0.05)
def decided(go: str, first_succeeds: bool) -> None:  # noqa: FBT001 - an argument of a job goes by its name
    """The first run ends at the file go-first, the next one at go-next; just one of the two succeeds."""
    first = current_job().losses == 0
    with evidence():
        _wait_for_file(f"{go}-{'first' if first else 'next'}")
    if first is not first_succeeds:
        raise PermanentError("the older result" if first else "the newer result")


@job(max_attempts=3, retry_after=Backoff(0.05))
def kills_its_process(after: float) -> None:
    """End as after a fault in C code."""
    with evidence():
        time.sleep(after)
        os.kill(os.getpid(), signal.SIGKILL)


@job(max_attempts=3, retry_after=Backoff(0.05))
def kills_its_node(after: float) -> None:
    """End the node's own process."""
    with evidence():
        time.sleep(after)
        os.kill(_node_pid(), signal.SIGKILL)
        time.sleep(60.0)  # the template kills this process
