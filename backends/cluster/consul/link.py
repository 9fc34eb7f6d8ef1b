"""Requests to the first of several Consul agents that can be reached, each with a timeout."""

from __future__ import annotations

import inspect
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consul.std import HTTPClient  # type: ignore[import-untyped] # neither library has types for it
from requests.exceptions import ConnectionError as NotConnected
from requests.exceptions import ConnectTimeout, RequestException, Timeout
from urllib3.exceptions import MaxRetryError, NewConnectionError

from callboard.core.errors import ClusterUnavailable

from .transport import Transport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .address import Address

OK: Final = 200
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
SERVER_ERROR: Final = 500
_SAID_MAX: Final = 200
_INDEX_MAX: Final = 1 << 63

Params = tuple[tuple[str, str | int], ...]


class Answer(NamedTuple):
    """What an agent said.

    Attributes:
        status: of HTTP.
        data: the JSON in it; None where there is none.
        cursor: what a blocking query names to wait for the next change; 0 where there is none.
        endpoint: the number of the agent that said it.
    """

    status: int
    data: Any
    cursor: int
    endpoint: int

    def said(self) -> str:
        """An error's text, in bounds."""
        text = self.data if isinstance(self.data, str) else json.dumps(self.data)
        return " ".join("".join(c if c.isprintable() else " " for c in text[:_SAID_MAX]).split())


class Link:
    """Connections to the agents of an address. Safe for threads.

    Reads are tried at the next agent when one fails; what changes something only when it was certainly not sent.
    """

    def __init__(self, address: Address, timeout_s: float, *, hold_s: float = 0.0, connections: int = 8) -> None:
        """Connect to nothing yet.

        Args:
            address: whom to ask.
            timeout_s: how long connecting, and each answer, may take.
            hold_s: how much longer an answer may take, for blocking queries of that wait.
            connections: how many to each agent are kept.
        """
        self.address = address
        self.timeout_s = timeout_s
        self._at = 0
        self._closed = False
        self._lock = threading.Lock()
        self._headers = {"X-Consul-Token": address.token} if address.token else {}
        self._transports: list[Transport] = []
        self._clients = [self._client(host, port, timeout_s + hold_s * 17 / 16, connections)
                         for host, port in address.endpoints]

    def _client(self, host: str, port: int, timeout_s: float, connections: int) -> Any:
        """A client of either library's; this part of it reads no variables of the environment."""
        known = inspect.signature(HTTPClient.__init__).parameters
        timeout = "connections_timeout" if "connections_timeout" in known else "timeout"
        cert, key = self.address.cert, self.address.key
        client: Any = HTTPClient(
            host, port, self.address.scheme, self.address.ca or True, ((cert, key) if key else cert) if cert else None,
            **{timeout: timeout_s},
        )
        transport = Transport(connections)
        transport.mount(client.session)
        self._transports.append(transport)
        return client

    def get(self, path: str, *params: tuple[str, str | int], endpoint: int | None = None) -> Answer:
        """Read; any agent will do unless one is named.

        Raises:
            ClusterUnavailable: Raised when none answers in time, or it refuses.
        """
        return self._ask("get", path, params, "", endpoint)

    def put(self, path: str, body: object = None, *, endpoint: int | None = None) -> Answer:
        """Change something. Raises as `get`: whether it was done is unknown then."""
        return self._ask("put", path, (), "" if body is None else json.dumps(body), endpoint)

    def _ask(self, verb: str, path: str, params: Params, body: str, endpoint: int | None) -> Answer:
        begun_s = time.monotonic()
        first = self._at if endpoint is None else endpoint
        tries = len(self._clients) if endpoint is None else 1
        for turn in range(tries):
            at = (first + turn) % len(self._clients)
            try:
                return self._once(verb, path, params, body, at)
            except (RequestException, ValueError, RecursionError) as error:
                self._leave(at, endpoint)
                last = turn == tries - 1 or time.monotonic() - begun_s > self.timeout_s
                if self._closed or last or not (verb == "get" or _never_sent(error)):
                    raise self._error(error) from None  # its request would show the token to a debugger's log
        raise self.unavailable("names no agent")  # not reached: an address names at least one

    def _once(self, verb: str, path: str, params: Params, body: str, at: int) -> Answer:
        if self._closed:
            raise ClusterUnavailable("this cluster backend was closed; open another")
        if self.address.dc:
            params = (*params, ("dc", self.address.dc))
        more = {"data": body} if verb == "put" else {}
        raw = getattr(self._clients[at], verb)(lambda response: response, f"/v1/{path}", params=list(params),
                                                    headers=dict(self._headers), **more)
        text = str(raw.body)
        if raw.code == FORBIDDEN:
            raise self.unavailable(f"the token may not do this: {verb.upper()} {path.partition('/')[0]}: "
                                   f"{Answer(raw.code, text, 0, at).said()}")
        index = str(raw.headers.get("X-Consul-Index") or "0")
        number = int(index) if index.isascii() and index.isdecimal() else 0
        data: Any = text
        if raw.code in {OK, CONFLICT}:
            data = json.loads(text or "null")
        elif raw.code not in {NOT_FOUND, SERVER_ERROR}:
            raise self.unavailable(f"answers with HTTP status {raw.code}")
        return Answer(raw.code, data, number if number < _INDEX_MAX else 0, at)

    def _leave(self, at: int, endpoint: int | None) -> None:
        """Begin with the next agent from now on."""
        with self._lock:
            if endpoint is None and self._at == at:
                self._at = (at + 1) % len(self._clients)

    def trouble(self, answer: Answer) -> ClusterUnavailable:
        """What an answer means that is none."""
        self._leave(answer.endpoint, None)
        return self.unavailable(f"answers with HTTP status {answer.status}: {answer.said()}")

    def unavailable(self, what: str) -> ClusterUnavailable:
        """An error that says where."""
        return ClusterUnavailable(f"cluster on {self.address.shown}: {what}")

    def _error(self, error: Exception) -> ClusterUnavailable:
        if self._closed:
            return ClusterUnavailable("this cluster backend was closed; open another")
        if isinstance(error, Timeout):
            return self.unavailable(f"no answer within {self.timeout_s} s")
        reason: BaseException | None = error
        for _ in range(8):
            inner = reason and (getattr(reason, "reason", None) or reason.__cause__ or reason.__context__)
            if not isinstance(inner, BaseException):
                break
            reason = inner
        return self.unavailable(f"can't be reached: {str(reason)[:_SAID_MAX]}")

    def close(self) -> None:
        """Cut every connection, also those that someone waits on. Harmless when repeated."""
        self._closed = True
        for transport, client in zip(self._transports, self._clients, strict=True):
            transport.cut()
            client.session.close()


def _never_sent(error: Exception) -> bool:
    """Whether the agent can't have seen the request."""
    if isinstance(error, ConnectTimeout):
        return True
    inner = error.args[0] if isinstance(error, NotConnected) and error.args else None
    return isinstance(inner, MaxRetryError) and isinstance(inner.reason, NewConnectionError)


def rows(answer: Answer, link: Link, most: int) -> Sequence[dict[str, Any]]:
    """The objects of a list; nothing for what is not there.

    Raises:
        ClusterUnavailable: Raised when the answer is something else.
    """
    if answer.status == NOT_FOUND:
        return ()
    if answer.status != OK or not isinstance(answer.data, list):
        raise link.trouble(answer)
    return [row for row in answer.data[:most] if isinstance(row, dict)]
