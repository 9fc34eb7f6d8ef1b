"""One node's elector alone on a `store` cluster, as a process: acts as leader every 5 ms while it is trusted.

Usage: python lone_elector.py ADDRESS OWNER TTL_S LOG [trustful]. ADDRESS is a file, or a server's. Each line of LOG is
an act: the term's number, and the boot clock as it was compared with the trust. A trustful one is the mutant that never
doubts its term.
"""

import queue
import random
import sys
import threading
from pathlib import Path

from callboard.backends.clock import SystemClock
from callboard.backends.cluster.sql import SqliteCluster
from callboard.core import election as el
from callboard.core.errors import ClusterUnavailable

ACT_S = 0.005


def opened(address, timeout_s):
    """The cluster at an address."""
    if address.startswith("postgresql:"):
        from callboard.backends.cluster.server.postgresql import PostgresqlCluster  # noqa: PLC0415 - where it is used

        return PostgresqlCluster(address, timeout_s=timeout_s)
    if address.startswith("mariadb:"):
        from callboard.backends.cluster.server.mariadb import MariadbCluster  # noqa: PLC0415 - where it is used

        return MariadbCluster(address, timeout_s=timeout_s)
    if address.startswith("consul:"):
        from callboard.backends.cluster.consul import open_consul_cluster  # noqa: PLC0415 - where it is used

        return open_consul_cluster(address, timeout_s=timeout_s)
    if address.startswith("etcd:"):
        from callboard.backends.cluster.etcd import open_etcd_cluster  # noqa: PLC0415 - where it is used

        return open_etcd_cluster(address, timeout_s)
    if address.startswith("zookeeper:"):
        from callboard.backends.cluster.zookeeper import open_zookeeper_cluster  # noqa: PLC0415 - where it is used

        return open_zookeeper_cluster(address, timeout_s)
    return SqliteCluster(address, timeout_s=timeout_s)


class LoneElector:
    """The core, the backend, and an act as often as possible."""

    def __init__(self, address, owner, ttl_s, log) -> None:
        self.clock = SystemClock()
        self.backend = opened(address, ttl_s / 4)
        self.log = log
        self.events = queue.SimpleQueue()
        self.calls = queue.SimpleQueue()
        self.state = el.start(owner, ttl_s)
        self.term, self.trust_s, self.wake_s, self.acts = None, 0.0, 0.0, 0
        threading.Thread(target=self.work, daemon=True).start()
        self.backend.watch(lambda: self.events.put(el.LeadershipMayHaveChanged()))

    def run(self):
        while True:
            try:
                event = self.events.get(timeout=ACT_S)
            except queue.Empty:
                event = el.Tick() if self.clock.boot_s() >= self.wake_s else el.DispatcherProgress(self.acts)
            self.acts += 1
            self.state, actions = el.step(self.state, event, self.clock.boot_s(), random.random())
            for action in actions:
                self.perform(action)
            now_s = self.clock.boot_s()
            if self.term is not None and now_s < self.trust_s:
                self.log.write(f"{self.term.number} {now_s!r}\n")

    def perform(self, action):
        match action:
            case el.Campaign() | el.Renew() | el.Resign():
                self.calls.put(action)
            case el.Lead(term, until_s) | el.ExtendTrust(term, until_s):
                self.term, self.trust_s = term, until_s
            case el.StepDown():
                self.term = None
            case el.WakeAt(at_s):
                self.wake_s = at_s

    def work(self):
        while True:
            action = self.calls.get()
            try:
                self.events.put(self.call(action))
            except ClusterUnavailable as error:
                failed = {el.Campaign: el.CampaignFailed, el.Renew: el.RenewFailed}.get(type(action))
                self.events.put(failed(action.attempt, str(error)) if failed else el.ResignEnded(action.attempt))

    def call(self, action):
        match action:
            case el.Campaign(attempt, owner, ttl_s):
                term = self.backend.campaign(owner, ttl_s)
                return el.CampaignLost(attempt) if term is None else el.CampaignWon(attempt, term)
            case el.Renew(attempt, term):
                return el.RenewOk(attempt) if self.backend.renew(term, term.ttl_s) else el.RenewRefused(attempt)
            case el.Resign(attempt, term):
                self.backend.resign(term)
                return el.ResignEnded(attempt)


if __name__ == "__main__":
    where, name, ttl, log_path, *mutant = sys.argv[1:]
    if mutant == ["trustful"]:
        el.trusted_until = lambda started_s, ttl_s: started_s + 1_000 * ttl_s
    with Path(log_path).open("w", buffering=1) as out:
        LoneElector(where, name, float(ttl), out).run()
