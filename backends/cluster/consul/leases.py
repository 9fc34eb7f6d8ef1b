"""Leases: a session that lives as long as the TTL check of a service of its own is passed.

A plain session lives 10 s at least, and up to twice its ttl. The check's clock is the agent's that was asked: it, and
the lease with it, ends at the ttl, and tells Consul's servers at once.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from callboard.core.errors import ClusterUnavailable

from .link import NOT_FOUND, OK, SERVER_ERROR

if TYPE_CHECKING:
    from .link import Link

REMOVED_AFTER: Final = "1m"
"""Consul removes a service that nobody passes any more: its shortest time, looked at every 30 s."""
AGAIN_S: Final = 0.005
_UNKNOWN_CHECK: Final = ("does not have associated TTL", "Unknown check")
"""Consul 1.8 says so with status 500; later ones with 404."""
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease.

    Attributes:
        handle: names it and its service; random.
        session: Consul's, which holds the key.
        endpoint: the number of the agent that counts its time.
    """

    handle: str
    session: str
    endpoint: int


class Leases:
    """Makes, keeps and ends leases of one installation."""

    def __init__(self, link: Link, renewals: Link) -> None:
        """Make none yet.

        Args:
            link: for what makes and ends them.
            renewals: for what keeps them.
        """
        self._link = link
        self._renewals = renewals
        self._name = f"{link.address.name}-lease"
        self._closed = threading.Event()

    def make(self, ttl_s: float) -> Lease:
        """A new lease, for ttl_s from now.

        Raises:
            ClusterUnavailable: Raised when none could be made; what there is of it ends by itself.
        """
        handle = secrets.token_hex(16)
        endpoint = register(self._link, self._service(handle), self._name, ttl_s)
        try:
            # What was passed once is remembered over a restart of the agent; else it would begin as critical.
            if not pass_check(self._link, self._service(handle), endpoint):
                raise self._link.unavailable("forgot a check that it had just registered")
            return Lease(handle, self._session(handle, ttl_s, endpoint), endpoint)
        except ClusterUnavailable:
            self._deregister(handle, endpoint)
            raise

    def _session(self, handle: str, ttl_s: float, endpoint: int) -> str:
        """A session of the check, as soon as Consul's servers have heard of that from the agent."""
        check = f"service:{self._service(handle)}"
        body = {"Name": self._name, "LockDelay": "0s", "Behavior": "delete", "NodeChecks": ["serfHealth"],
                "ServiceChecks": [{"ID": check}]}
        end_s = time.monotonic() + min(ttl_s, self._link.timeout_s)
        while True:
            answer = self._link.put("session/create", body, endpoint=endpoint)
            match answer.data:
                case {"ID": str(session)} if answer.status == OK:
                    return session
                case _ if answer.status == SERVER_ERROR and check in answer.said() and time.monotonic() < end_s:
                    self._closed.wait(AGAIN_S)  # no event tells of it
                case _:
                    raise self._link.trouble(answer)

    def keep(self, lease: Lease, ttl_s: float, *, changed: bool) -> bool:
        """Count its time anew from now; False when its agent knows it no more.

        Args:
            lease: which.
            ttl_s: from now on.
            changed: whether that is another ttl than before.
        """
        if changed:
            register(self._renewals, self._service(lease.handle), self._name, ttl_s, endpoint=lease.endpoint)
        return pass_check(self._renewals, self._service(lease.handle), lease.endpoint)

    def end(self, session: str, handle: str, endpoint: int | None = None) -> None:
        """End a lease now: what its session holds is free.

        Raises:
            ClusterUnavailable: Raised when that is not known to be done; it ends with its ttl then.
        """
        answer = self._renewals.put(f"session/destroy/{session}")
        self._deregister(handle, endpoint)
        if answer.status != OK:
            raise self._link.trouble(answer)

    def drop(self, session: str, handle: str, endpoint: int | None = None) -> None:
        """End a lease if that can be done; else it ends with its ttl."""
        try:
            self.end(session, handle, endpoint)
        except ClusterUnavailable as error:
            _LOG.info("a lease could not be ended, it ends with its ttl: %s", error)

    def _deregister(self, handle: str, endpoint: int | None) -> None:
        with suppress(ClusterUnavailable):  # then Consul removes it by itself
            deregister(self._renewals, self._service(handle), endpoint)

    def _service(self, handle: str) -> str:
        return f"{self._name}-{handle}"

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()


def register(link: Link, service: str, name: str, ttl_s: float, *, meta: dict[str, str] | None = None,
             endpoint: int | None = None) -> int:
    """Register a service with a TTL check that is passing, or change it; the number of the agent that has it.

    Raises:
        ClusterUnavailable: Raised when it refuses, or does not answer.
    """
    check = {"TTL": f"{max(1, round(ttl_s * 1000))}ms", "Status": "passing",
             "DeregisterCriticalServiceAfter": REMOVED_AFTER}
    body = {"ID": service, "Name": name, "Meta": meta or {}, "Check": check}
    answer = link.put("agent/service/register", body, endpoint=endpoint)
    if answer.status != OK:
        raise link.trouble(answer)
    return answer.endpoint


def pass_check(link: Link, service: str, endpoint: int) -> bool:
    """Pass a service's check; False when the agent knows none.

    Raises:
        ClusterUnavailable: Raised when the agent does not answer.
    """
    answer = link.put(f"agent/check/pass/service:{service}", endpoint=endpoint)
    if answer.status == OK:
        return True
    if answer.status == NOT_FOUND or any(words in answer.said() for words in _UNKNOWN_CHECK):
        return False
    raise link.trouble(answer)


def deregister(link: Link, service: str, endpoint: int | None) -> None:
    """Take a service off an agent; harmless when it has none of that id."""
    answer = link.put(f"agent/service/deregister/{service}", endpoint=endpoint)
    if answer.status not in {OK, NOT_FOUND}:
        raise link.trouble(answer)
