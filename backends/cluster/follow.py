"""One thread that follows a cluster backend for subscribers and watchers: woken by bells, backed up by a slow poll."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Protocol

from callboard.core.errors import ClusterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOG: Final = logging.getLogger(__name__)
POLL_S: Final = 0.5
"""How late a change is seen whose bell was lost; of each backend that does not say otherwise."""
_MOMENT_S: Final = 0.001
_BATCH: Final = 200
_JOIN_S: Final = 5.0
_NOTHING: Final = object()  # equals no look


class Source(Protocol):
    """What there is to follow. Each may raise ClusterUnavailable."""

    def messages_after(self, number: int, limit: int) -> Sequence[tuple[int, bytes | None]]:
        """Up to `limit` broadcasts numbered above `number`, in order; None: one that is to be left out."""
        ...

    def look(self) -> tuple[object, float | None]:
        """What leadership and membership are now, comparable; and seconds until time alone changes them."""
        ...


class Following:
    """A subscription or watch; `callboard.core.ports.Bell`."""

    def __init__(self, follower: Follower, call: Callable[..., None], after: int | None) -> None:
        """Note what to call.

        Args:
            follower: whose it is.
            call: with each broadcast, or without an argument.
            after: the number of the last broadcast that it shall not get; None: it watches.
        """
        self.after = after
        self.closed = False
        self.call = call
        self._follower = follower

    def close(self) -> None:
        """Stop calling back. Harmless when repeated."""
        self.closed = True
        self._follower.forget(self)


class Follower:
    """Calls back, from its own thread, who subscribed or watches.

    The thread starts with the first of them, and is a daemon: a program that forgets to close still ends.
    """

    def __init__(self, source: Source, name: str, poll_s: float = POLL_S) -> None:
        """Follow nothing yet.

        Args:
            source: what there is to follow.
            name: the thread's.
            poll_s: how late a change is seen whose bell was lost.
        """
        self._source = source
        self._name = name
        self._poll_s = poll_s
        self._wake = threading.Condition()
        self._rung = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._subscribers: tuple[Following, ...] = ()
        self._watchers: tuple[Following, ...] = ()
        self._seen: object = _NOTHING
        self._failing = False

    def subscribe(self, callback: Callable[[bytes], None], after: int) -> Following:
        """Call back with each broadcast numbered above `after`."""
        return self._add(Following(self, callback, after))

    def watch(self, callback: Callable[[], None]) -> Following:
        """Call back once soon, and whenever leadership or membership have changed."""
        return self._add(Following(self, callback, None))

    def ring(self) -> None:
        """Look now."""
        with self._wake:
            self._rung = True
            self._wake.notify()

    def forget(self, following: Following) -> None:
        """Call it back no more."""
        with self._wake:
            self._subscribers = tuple(one for one in self._subscribers if one is not following)
            self._watchers = tuple(one for one in self._watchers if one is not following)

    def close(self) -> None:
        """End the thread, and wait for it up to 5 s; called from a callback, it does not wait."""
        with self._wake:
            self._closed = True
            self._subscribers = self._watchers = ()
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=_JOIN_S)

    def _add(self, following: Following) -> Following:
        with self._wake:
            if self._closed:
                raise ClusterUnavailable("this cluster backend was closed; open another")
            if following.after is None:
                self._watchers += (following,)
                self._seen = _NOTHING  # whatever the next look finds is news for the new one
            else:
                self._subscribers += (following,)
            self._rung = True
            self._wake.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        return following

    def _run(self) -> None:
        while True:
            with self._wake:
                self._rung = False
                if self._closed:
                    return
            wait_s = self._round()
            with self._wake:
                if not self._rung and not self._closed:
                    self._wake.wait(wait_s)

    def _round(self) -> float:
        """Deliver what is new; seconds until the next round is due."""
        try:
            self._deliver()
            wait_s = self._watch()
        except ClusterUnavailable as error:
            if not self._failing:
                _LOG.warning("the cluster backend can't be followed, trying again: %s", error)
            self._failing = True
            return max(self._poll_s, POLL_S)
        if self._failing:
            _LOG.info("the cluster backend can be followed again")
        self._failing = False
        return wait_s

    def _deliver(self) -> None:
        while subscribers := self._subscribers:
            messages = self._source.messages_after(min(one.after or 0 for one in subscribers), _BATCH)
            for number, message in messages:
                for one in subscribers:
                    if one.after is not None and number > one.after and not one.closed:
                        one.after = number
                        if message is not None:
                            _call(one, message)
            if len(messages) < _BATCH:
                return

    def _watch(self) -> float:
        if not self._watchers:
            return self._poll_s
        with self._wake:
            before = self._seen
        seen, until_s = self._source.look()
        with self._wake:
            # A watcher that came meanwhile has cleared `_seen`, and is called in the next round.
            changed = seen != before
            if self._seen is before:
                self._seen = seen
            watchers = self._watchers
        if changed:
            for one in watchers:
                if not one.closed:
                    _call(one)
        return self._poll_s if until_s is None else min(max(until_s, 0.0) + _MOMENT_S, self._poll_s)


def _call(following: Following, *arguments: bytes) -> None:
    try:
        following.call(*arguments)
    except Exception:  # noqa: BLE001 - one listener's bug must not silence the others; it is logged
        _LOG.exception("a callback of the cluster backend failed; the others are still called")
