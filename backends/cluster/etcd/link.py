"""Calls to etcd: each with a deadline, at whichever of the servers answers.

Of python3-etcd3 this uses the endpoints and the messages. Its client shares stubs between threads and forgets them when
one call fails, asks for a token once in its life, and its watcher ends with a NameError.
"""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import etcd3  # type: ignore[import-untyped]  # the package has no types
import grpc  # type: ignore[import-untyped]  # as above
from etcd3 import etcdrpc  # pyright: ignore[reportMissingTypeStubs]  # as above

from callboard.core.errors import ClusterUnavailable
from callboard.core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .address import Address

RETRY_S: Final = 0.5
"""How long a server that failed is passed over while there are others; the package's own default is five minutes."""
ANSWER_MAX_BYTES: Final = 32 << 20
_SHARES_MAX: Final = 3
_DETAILS_MAX: Final = 200
_ELSEWHERE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.INTERNAL)
"""Another server may do better; what the call did is not known, so every call may be sent again."""


class LeaseGone(ClusterUnavailable):
    """Raised when etcd knows no such lease, or no more."""


class AnswerTooLarge(ClusterUnavailable):
    """Raised when an answer is longer than ANSWER_MAX_BYTES."""


class Login:
    """User, password, and the token that etcd gave for them; one for all links of a cluster."""

    def __init__(self, address: Address) -> None:
        """Hold no token yet."""
        self.address = address
        self.token = ""

    @property
    def needed(self) -> bool:
        """Whether calls need a token."""
        return bool(self.address.user)

    def request(self) -> Any:
        """What asks for a token."""
        return etcdrpc.AuthenticateRequest(name=self.address.user, password=self.address.password)


class Server:
    """One of etcd's servers: a connection that is its link's own."""

    def __init__(self, host: str, port: int, credentials: Any, timeout_s: float) -> None:
        """Connect when first asked."""
        options: Any = (
            ("grpc.use_local_subchannel_pool", 1),  # else all links of the process would share one connection
            ("grpc.max_receive_message_length", ANSWER_MAX_BYTES),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", int(timeout_s * 1_000)),  # also how long connecting may take
            ("grpc.max_reconnect_backoff_ms", 500),
            ("grpc.keepalive_time_ms", 10_000),  # etcd allows one in 5 s
            ("grpc.keepalive_timeout_ms", int(timeout_s * 1_000)),
            ("grpc.enable_http_proxy", 0),
        )
        self.endpoint = etcd3.Endpoint(host, port, secure=credentials is not None, creds=credentials,
                                       time_retry=RETRY_S, opts=options)
        channel = self.endpoint.channel
        self.kv = etcdrpc.KVStub(channel)
        self.lease = etcdrpc.LeaseStub(channel)
        self.watch = etcdrpc.WatchStub(channel)
        self.auth = etcdrpc.AuthStub(channel)


class Link:
    """A connection to each server, opened when it is needed; safe between threads."""

    def __init__(self, login: Login, timeout_s: float) -> None:
        """Connect to nothing yet.

        Args:
            login: of the cluster.
            timeout_s: how long a call may take, at all servers together.

        Raises:
            InvalidArgument: Raised when a certificate's file can't be read.
        """
        address = login.address
        self.login = login
        self._timeout_s = timeout_s
        credentials = None
        if address.tls:
            credentials = grpc.ssl_channel_credentials(address.pem("ca"), address.pem("key"), address.pem("cert"))
        self._servers = [Server(host, port, credentials, timeout_s) for host, port in address.servers]
        self._share_s = timeout_s / min(len(self._servers), _SHARES_MAX)
        self._turn = secrets.randbelow(len(self._servers))
        self._closed = False

    # Calls

    def txn(self, compare: list[Any], success: list[Any], failure: list[Any]) -> Any:
        """A transaction. Raises ClusterUnavailable, as all here; then it may have been done."""
        request = etcdrpc.TxnRequest(compare=compare, success=success, failure=failure)
        return self._call(lambda server, **how: server.kv.Txn(request, **how))

    def grant(self, ttl_s: int) -> tuple[int, float]:
        """A new lease, and how long etcd keeps it without a sign of life; at least as long as its elections allow."""
        request = etcdrpc.LeaseGrantRequest(TTL=ttl_s)
        answer = self._call(lambda server, **how: server.lease.LeaseGrant(request, **how))
        if answer.TTL <= 0:
            raise self._unavailable("granted a lease that is over at once")
        return int(answer.ID), float(answer.TTL)

    def keep(self, lease: int) -> int:
        """Keep a lease for its ttl from now: by a leader of etcd's, whose term this is; 0 when the lease is over."""
        request = etcdrpc.LeaseKeepAliveRequest(ID=lease)
        answer = self._call(lambda server, **how: _first(server.lease.LeaseKeepAlive(iter((request,)), **how)))
        return int(answer.header.raft_term) if answer is not None and answer.TTL > 0 else 0

    def revoke(self, lease: int) -> None:
        """End a lease, and what hangs on it. Harmless when repeated."""
        request = etcdrpc.LeaseRevokeRequest(ID=lease)
        with suppress(LeaseGone):
            self._call(lambda server, **how: server.lease.LeaseRevoke(request, **how))

    def watch(self, requests: Iterator[Any], timeout_s: float) -> Any:
        """A stream of events that ends after that time; cancel() it to end it sooner."""
        server = self._pick()
        return server.watch.Watch(requests, timeout=timeout_s, metadata=self._metadata(server, self._share_s))

    def failed(self, error: Any) -> str:
        """What went wrong with a stream, and remember it; other servers are asked first, with a new token."""
        self._servers[self._turn].endpoint.fail()
        self.login.token = ""
        return _told(error)

    def close(self) -> None:
        """Close all connections; calls under way fail. Harmless when repeated."""
        self._closed = True
        for server in self._servers:
            server.endpoint.close()

    def _call(self, ask: Any) -> Any:
        end_s, problem = time.monotonic() + self._timeout_s, ""
        for _ in range(len(self._servers) + 1):  # once more: for a token, or a connection that had been idle for long
            left_s = min(end_s - time.monotonic(), self._share_s)
            if left_s <= 0.0:
                break
            server = self._pick()
            try:
                return ask(server, timeout=left_s, metadata=self._metadata(server, left_s))
            except grpc.RpcError as error:
                problem = self._judge(server, error)
            except ValueError as error:  # what grpc says of a closed channel
                raise self._unavailable("was closed here; open the cluster anew", error) from error
        raise self._unavailable(f"does not answer: {problem}")

    def _metadata(self, server: Server, timeout_s: float) -> tuple[tuple[str, str], ...]:
        if not self.login.needed:
            return ()
        if not self.login.token:
            self.login.token = str(server.auth.Authenticate(self.login.request(), timeout=timeout_s).token)
        return (("token", self.login.token),)

    def _pick(self) -> Server:
        """The server in use, or the next one that did not fail a moment ago, if there is one."""
        if self._closed:
            raise self._unavailable("was closed here; open the cluster anew")
        turns = [(self._turn + n) % len(self._servers) for n in range(len(self._servers))]
        well = [turn for turn in turns if not self._servers[turn].endpoint.is_failed()]
        self._turn = (well or turns[1:] or turns)[0]
        return self._servers[self._turn]

    def _judge(self, server: Server, error: Any) -> str:
        """What went wrong, where another try may help; else raises."""
        code, told = error.code(), _told(error)
        if self._closed:
            raise self._unavailable("was closed here; open the cluster anew", error) from error
        if code in _ELSEWHERE:
            server.endpoint.fail()
            return told
        if code is grpc.StatusCode.NOT_FOUND and "lease" in told:
            raise LeaseGone(f"the lease on etcd at {self.login.address.shown} is over", cause=error) from error
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in told:
            raise AnswerTooLarge(f"etcd at {self.login.address.shown} answered too much", cause=error) from error
        if "authentication failed" in told:
            raise self._unavailable("knows no such user and password", error) from error
        stale = code is grpc.StatusCode.UNAUTHENTICATED or (
            "auth" in told and code is grpc.StatusCode.INVALID_ARGUMENT)
        if stale and self.login.needed:
            self.login.token = ""
            return told
        raise self._unavailable(f"refuses: {told}", error) from error

    def _unavailable(self, what: str, cause: Exception | None = None) -> ClusterUnavailable:
        return ClusterUnavailable(f"the cluster on {self.login.address.shown} {what}", cause=cause)


def _first(stream: Any) -> Any:
    """A stream's first answer; None where there is none."""
    try:
        return next(stream, None)
    finally:
        stream.cancel()


def _told(error: Any) -> str:
    """An error of grpc's in a line; the server's own words are cut and made printable."""
    code = getattr(error.code(), "name", "unknown")
    return f"{code} {printable(error.details() or '')[:_DETAILS_MAX]}".strip()
