"""The durable stores that the promises are tested on; each on a real server of the test's own, killed as it likes."""

from __future__ import annotations

import pytest
import servers
from faultkit import FULL
from faultproxy import Proxy
from servers.faketime import ServerClock

from callboard.stores import STORE_SCHEMES

SERVERS = {"redis": servers.redis, "postgresql": servers.postgresql, "mariadb": servers.mariadb}
ON_SERVERS = tuple(kind for kind in SERVERS if kind in STORE_SCHEMES)
KINDS = ("sqlite", *ON_SERVERS)
SHORT = KINDS if FULL else KINDS[:1]
"""For what no store does in its own way: all of them with the full loads, one in each run of the whole suite."""


class Home:
    """Where the jobs of one test are: a server, started with a durable write for each commit.

    Attributes:
        server: started already.
        clock: the server's, where the test may set it.
        proxy: before the server, where the test asked for one.
    """

    def __init__(self, kind: str, offset_s: int | None = None, *, proxied: bool = False) -> None:
        """Start it.

        Args:
            kind: of the store.
            offset_s: its wall clock is so far ahead, and the test may set it; None leaves it the machine's.
            proxied: its address is that of a proxy which can delay.
        """
        self.kind = kind
        self.server = SERVERS[kind](durable=True)
        self.clock = None if offset_s is None else ServerClock(self.server, offset_s)
        self.server.start()
        self.proxy = Proxy(self.server.port) if proxied else None

    @property
    def url(self) -> str:
        """The store's address, with its password."""
        if self.proxy is None:
            return self.server.url
        return self.server.url.replace(f":{self.server.port}/", f":{self.proxy.port}/")

    def close(self) -> None:
        """Stop the server, and remove what it wrote."""
        if self.proxy is not None:
            self.proxy.close()
        self.server.close()


def with_mutants(*mutants: str, kinds: tuple[str, ...] = KINDS):
    """Parametrize `kind` and `mutant`: each store as it is, and the mutants, which are bugs of the SQLite store."""
    cases = [(kind, "") for kind in kinds] + [("sqlite", mutant) for mutant in mutants]
    return pytest.mark.parametrize(("kind", "mutant"), cases, ids=[f"{kind}-{mutant}" if mutant else kind
                                                                  for kind, mutant in cases])



def on_stores(*short: str, settable: bool = False):
    """Parametrize `kind`: with the full loads every store (that a test can set the clock of), else these.

    A run of the whole suite meets each server in some of these tests; each test on each server would take too long.
    """
    every = [kind for kind in KINDS if not settable or kind not in {"sqlite", "redis"}]
    return pytest.mark.parametrize("kind", every if FULL else [kind for kind in short if kind in KINDS])


def on_servers(*short: str):
    """The same without SQLite."""
    return pytest.mark.parametrize("kind", ON_SERVERS if FULL else [kind for kind in short if kind in ON_SERVERS])


on_short_stores = pytest.mark.parametrize("kind", SHORT)
