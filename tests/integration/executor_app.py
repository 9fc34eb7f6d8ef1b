"""The app of the executors' tests: jobs that behave, and jobs that do not."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import callboard
from callboard import current_job, job

_leak = contextvars.ContextVar("leak", default="clean")


def note(path, text):
    """Append a line in one write."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def wait_for(path):
    """Until the file is there; in steps, so that an exception from another thread can come in."""
    while not Path(path).exists():
        time.sleep(0.002)


@job
def nothing():
    pass


@job
async def nothing_async():
    pass


@job
def record(path, text):
    note(path, text)


def _gate(path, started):
    if started:
        note(started, os.getpid())
    wait_for(path)


@job
def gate(path, started=None):
    _gate(path, started)


@job
async def gate_async(path, started=None):
    if started:
        note(started, os.getpid())
    while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - another process makes it, and it is quick
        await asyncio.sleep(0.002)


@job
def usually_fast(path=None, started=None):
    if path:
        _gate(path, started)


@job
def two_arguments(a, b=1, *, c=2):
    return lambda: (a, b, c)  # nothing could carry this: what a job returns is ignored


@job
def context(path):
    current = current_job()
    note(path, f"{current.job_id} {current.token.epoch} {current.token.seq} {current.attempt} {current.losses} "
               f"{current.timeout_s:g} {current.queue} {current.headers.get('h')} {os.getpid()}")


@job
def leaves_context(path):
    note(path, _leak.get())
    _leak.set("dirty")


class Rude(Exception):
    def __str__(self):
        raise ValueError("no words")


ERRORS = {
    "value": lambda: ValueError("a bad value"),
    "surrogate": lambda: ValueError("half \udc80 a character"),
    "long": lambda: ValueError("x" * 100_000),
    "rude": Rude,
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "base": lambda: BaseException("the root"),
    "memory": lambda: MemoryError("claimed"),
    "permanent": lambda: callboard.PermanentError("never again"),
    "later": lambda: callboard.RetryLater(after=7),
    "later-bad": lambda: callboard.RetryLater(after="soon"),
    "later-plain": callboard.RetryLater,
    "snooze": lambda: callboard.Snooze(after=9),
    "snooze-bad": lambda: callboard.Snooze(after=-1),
    "limit": lambda: callboard.TimeLimitExceeded("its own"),
}


@job
def raises(what):
    error = ERRORS[what]()
    raise error


@job
async def raises_async(what):
    await asyncio.sleep(0)
    error = ERRORS[what]()
    raise error


@job
def deep():
    deep_inside(0)


def deep_inside(depth):
    deep_inside(depth + 1)


@job(permanent=(KeyError,))
def permanent_key():
    raise KeyError("gone")


class Exponential(callboard.Job):
    text: str = ""

    def retry_after(self, attempt):
        if self.text == "fail":
            raise ValueError("can't say")
        if self.text == "odd":
            return "soon"
        if self.text == "slow":
            time.sleep(60)
        return 2 ** (attempt - 1)

    def handle(self):
        raise ValueError(self.text)


class Failing(callboard.Job):
    path: str

    def handle(self):
        raise ValueError("no")

    def failed(self, error):
        note(self.path, f"{type(error).__name__} {error.kind} {error} {error.traceback} {self.context.attempt}")
        if self.path.endswith("bad"):
            raise RuntimeError("failed() failed")


class FailingAsync(callboard.Job):
    path: str

    async def handle(self):
        raise ValueError("no")

    async def failed(self, error):
        await asyncio.sleep(0)
        note(self.path, error.kind)


class Strict(callboard.Job):
    n: int

    def __post_init__(self):
        if self.n < 0:
            raise TypeError("negative")

    def handle(self):
        pass


@job
def exits_hard(status):
    os._exit(status)


@job
def kills_itself(number=int(signal.SIGKILL)):
    os.kill(os.getpid(), number)
    time.sleep(60)  # another thread may be the one that dies of it, a moment later


@job
def kills_template():
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


@job
def closes_everything(path):
    note(path, "ran")
    os.closerange(3, 1_000)


@job
def forks(path, how):
    if os.fork():
        os.wait()
        return
    if how == "raise":
        raise ValueError("in the fork")
    if how == "exit":
        sys.exit(7)
    if how == "print":
        print("from the fork")  # noqa: T201 - the point
        current_job().progress(1)
    note(path, "fork")


@job
def hog():
    held = []
    while True:
        held.append(bytearray(16 << 20))


@job
def memory_limit(path):
    note(path, resource.getrlimit(resource.RLIMIT_DATA)[0])


@job
def grandchildren(path, gate_path, how):
    """Start a process of a sort and write its pid, then wait."""
    program = [sys.executable, "-c", "import time; time.sleep(1000)"]
    if how == "session":
        note(path, subprocess.Popen(program, start_new_session=True).pid)
    elif how == "group":
        note(path, subprocess.Popen(program, process_group=0).pid)
    elif how == "daemon":
        _daemon(path, program)
    elif how == "bare-daemon":
        _daemon(path, program, {})
    elif how == "forked-daemon":
        _daemon(path, None)
    else:
        note(path, subprocess.Popen(program).pid)
    wait_for(gate_path)


def _daemon(path, program, environment=None):
    """Fork twice with a session of its own: its parent is gone at once."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    note(path, os.getpid())
    if program:
        environment = os.environ if environment is None else environment
        os.execve(program[0], program, environment)  # noqa: S606 - a shell would be one process more
    time.sleep(1_000)
    os._exit(0)


@job
def hangs(path, how):
    """Run for ever; write what comes in."""
    try:
        if how == "sleep":
            time.sleep(1_000)
        while True:
            time.sleep(0.005)
    except callboard.TimeLimitExceeded:
        note(path, "limit")
        if how == "finishes":
            return
        if how == "stubborn":
            time.sleep(1_000)
        raise


@job
async def hangs_async(path, how):
    try:
        if how == "blocks":
            time.sleep(1_000)  # noqa: ASYNC251 - that is the misdeed
        await asyncio.sleep(1_000)
    except BaseException as error:
        note(path, type(error).__name__)
        if how == "stubborn":
            await asyncio.sleep(1_000)
        if how == "finishes":
            return
        raise


@job
def prints(text, stream="stdout", end="\n"):
    print(text, file=getattr(sys, stream), end=end)


@job
def prints_lines(count):
    for number in range(count):
        print("line", number)  # noqa: T201 - the point


@job
def prints_binary():
    sys.stdout.buffer.write(b"\xff\x00ok\n")


@job
def prints_raw(text):
    os.write(1, text.encode() + b"\n")
    subprocess.run(["sh", "-c", f"echo {text} from a program >&2"], check=True)


@job
def closes_stdout():
    sys.stdout.close()
    print("after")  # noqa: T201 - the point


@job
def progresses():
    current_job().progress(0.3, "third")


@job
def descriptors(path):
    note(path, "|".join(sorted(f"{fd}={target}" for fd, target in _links().items())))


@job
def who(path):
    note(path, f"{os.getpid()} {os.getsid(0)} {Path('/proc/self/fd/0').readlink()} {__name__}")


@job
def grows(mebibytes):
    grown.append(bytearray(mebibytes << 20))


grown: list[bytearray] = []


@job
def alone(path):
    """Write where it began and where it ended; two at once would show."""
    note(path, f"begin {os.getpid()}")
    time.sleep(0.003)
    note(path, f"end {os.getpid()}")


def _links():
    found = {}
    for fd in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the listing's own
            found[int(fd.name)] = str(fd.readlink())
    return found


def _own(kind):
    return [fd for fd, target in _links().items() if target.startswith(kind)]


@job
def talks_rubbish():
    for fd in _own("socket:"):
        os.write(fd, b"\xff" * 100)
    time.sleep(60)


@job
def vandalises():
    (fd,) = _own("/memfd:")
    os.pwrite(fd, b"\x7f" * os.fstat(fd).st_size, 0)


@job
def floods(seconds):
    subprocess.run(["timeout", str(seconds), "yes"], check=False)
