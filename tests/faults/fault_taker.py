"""A node's share of the work on the store, as fast as it goes and nothing else: take, finish, note what was taken.

Usage: fault_taker.py URL NAME FOLDER CAPACITY. It ends when FOLDER/stop is there and nothing was to be taken; what it
took is in FOLDER/taken-NAME.txt, a line `id epoch seq` each.
"""

import sys
import threading
from pathlib import Path

from callboard.backends.clock import SystemClock
from callboard.core.records import Held, NodeInfo, Outcome, OutcomeKind, PoolReport, QueueShare
from callboard.stores import open_store

TTL_S = 60.0
BELL_S = 0.05


def main():
    """Take and finish until told to stop."""
    url, name, folder, capacity = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    store = open_store(url, SystemClock())
    pool = PoolReport("q", (QueueShare("q"),), capacity, capacity)
    session = store.open_session(NodeInfo(name, f"boot-{name}"), TTL_S, [pool])
    bell = threading.Event()
    listening = store.listen(f"session-{session}", bell.set)
    with (folder / f"taken-{name}.txt").open("w") as file:
        while True:
            jobs = store.take(session, ["q"])
            if not jobs:
                if (folder / "stop").exists():
                    break
                bell.wait(BELL_S)
                bell.clear()
                continue
            file.writelines(f"{job.id} {job.token.epoch} {job.token.seq}\n" for job in jobs)
            receipt = store.finish(session, [
                Outcome(Held(job.ref, job.id, job.token), OutcomeKind.COMPLETED) for job in jobs])
            assert receipt.applied == len(jobs), receipt
    listening.close()
    store.close_session(session)
    store.close()


if __name__ == "__main__":
    main()
