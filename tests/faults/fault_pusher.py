"""A program that pushes, killed by its test at any moment and started again.

Usage: fault_pusher.py URL FOLDER JOBS SELF_KILLS [PLANT ...]. Each id whose push has returned becomes a line of
FOLDER/acknowledged.txt; what is not there is pushed (again) under the same id, singly and in batches by turns. While
the store is away it tries again; unknown.txt and refused.txt have a line for each try that failed.
"""

import os
import signal
import sys
import time
from pathlib import Path

import faultjobs

import callboard
from callboard.core.errors import PushOutcomeUnknown, StoreUnavailable

BATCH = 20
PAUSE_S = 0.002
"""Between pushes, so that there is time to kill and to start again."""


def name_of(number):
    """The id of a job."""
    return f"job-{number:06}"


class Pusher:
    """Pushes everything that was not acknowledged yet."""

    def __init__(self, url, folder, jobs, self_kills) -> None:
        self.queue = callboard.connect(url)
        self.folder = folder
        self.jobs = jobs
        places = [jobs * (number + 1) // (self_kills + 1) // BATCH * BATCH for number in range(self_kills)]
        self.kill_at = {name_of(place) for place in places}
        self.acknowledged = set(self.lines("acknowledged.txt"))

    def lines(self, name):
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def note(self, name, ids):
        """One write with O_APPEND: whole lines, or none."""
        file = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, "".join(f"{one}\n" for one in ids).encode())
        os.close(file)

    def run(self):
        for start in range(0, self.jobs, BATCH):
            ids = [name_of(number) for number in range(start, min(start + BATCH, self.jobs))]
            ids = [one for one in ids if one not in self.acknowledged]
            for group in [ids] if start // BATCH % 2 else [[one] for one in ids]:
                if group:
                    self.push(group)
                    time.sleep(PAUSE_S)

    def push(self, ids):
        """One push; now and then this process dies before it can note the answer: an unknown outcome."""
        receipt = self.written([self.queue.prepare(faultjobs.noop.bind(), {"id": one}) for one in ids])
        if ids[0] in self.kill_at and ids[0] not in self.lines("lost.txt"):
            self.note("lost.txt", ids[:1])
            os.kill(os.getpid(), signal.SIGKILL)
        if receipt.new < len(ids):
            self.note("repeated.txt", ids)
        self.note("acknowledged.txt", ids)


    def written(self, jobs):
        """Push until it is acknowledged: while the store is away, again and again under the same ids."""
        while True:
            try:
                return self.queue.store.push(jobs)
            except PushOutcomeUnknown:
                self.note("unknown.txt", [jobs[0].id])
            except StoreUnavailable:
                self.note("refused.txt", [jobs[0].id])
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    for name in sys.argv[5:]:
        import plants

        plants.plant(name)
    Pusher(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])).run()
