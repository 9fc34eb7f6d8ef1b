"""An election among programs: `core/election.py` carried out over a lock of a cluster backend."""

from __future__ import annotations

import queue
import random
import secrets
import threading
import traceback
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

from callboard.actors.lane import Lane
from callboard.core import election as el
from callboard.core.errors import QueueError
from callboard.core.records import LockToken, Term

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.ports import Clock, ClusterBackend

BEATS: Final = 12
"""How often within a ttl the loop looks whether the callback has returned: a renewal may rest on it."""
IDLE_S: Final = 1.0
"""The loop looks at the clock at least this often."""
STOP_S: Final = 10.0
"""How long a resignation is waited for at the end; after that the lock ends by its ttl."""


class LockTerms:
    """Terms made of a lock: its fencing number is the term's, its holder's secret the handle.

    The nodes' own leadership is another thing: a program that led them would stop all assigning.
    """

    def __init__(self, backend: ClusterBackend, key: str) -> None:
        """Keep the backend."""
        self._backend = backend
        self._key = key

    def campaign(self, owner: str, ttl_s: float) -> Term | None:
        """Become leader, or None while another leads. Raises ClusterUnavailable."""
        token = self._backend.acquire_lock(self._key, secrets.token_hex(16), ttl_s)
        return None if token is None else Term(token.number, owner, token.ttl_s, token.holder)

    def renew(self, term: Term, ttl_s: float) -> bool:
        """Keep exactly this term; False when it is over. Raises ClusterUnavailable."""
        token = self._backend.acquire_lock(self._key, term.handle, ttl_s)
        if token is None or token.number == term.number:
            return token is not None
        self._backend.release_lock(token)  # the term had ended, and the lock was free: that would be another term
        return False

    def resign(self, term: Term) -> None:
        """End exactly this term. Raises ClusterUnavailable."""
        self._backend.release_lock(LockToken(self._key, term.handle, term.number, term.ttl_s))


class Candidacy:
    """One program's part in an election: a loop around the core, and threads for campaigns, renewals and callbacks.

    A callback that has not returned is a leader that does not move: nothing is renewed meanwhile.
    """

    def __init__(self, terms: LockTerms, owner: str, ttl_s: float, callback: Callable[[Term | None], None],
                 clock: Clock) -> None:
        """Nothing runs yet. Raises InvalidArgument when ttl_s is out of range."""
        self._terms = terms
        self._callback = callback
        self._clock = clock
        self._state = el.start(owner, ttl_s)
        self._events: queue.SimpleQueue[el.Event] = queue.SimpleQueue()
        self._calls = Lane("election-calls", self._lane_died)
        self._renewals = Lane("election-renewals", self._lane_died)
        self._callbacks = Lane("election-callbacks", self._lane_died)
        self._wake_s: float | None = None
        self._trusted_until_s = 0.0
        self._told: Term | None = None
        self._waiting = 0
        self._lock = threading.Lock()
        self._loop = threading.Thread(target=self._run, name="callboard-election", daemon=True)

    def start(self) -> None:
        """Campaign from now on."""
        self._loop.start()

    def stop(self) -> None:
        """Resign, and wait until that is done and the callback knows."""
        self._events.put(el.StopRequested())
        if threading.current_thread() is not self._loop:
            self._loop.join(STOP_S)
        for lane in (self._calls, self._renewals, self._callbacks):
            lane.close(STOP_S)

    def trust_left_s(self) -> float:
        """Seconds for which this program may still act as leader without another renewal; 0 when it does not lead."""
        with self._lock:
            return max(0.0, self._trusted_until_s - self._clock.boot_s())

    def _lane_died(self, error: BaseException) -> None:
        """A backend that raised what no backend may raise: show it, and lead no longer."""
        traceback.print_exception(error)
        self._events.put(el.StopRequested())

    def _run(self) -> None:
        counter = 0
        event: el.Event = el.Tick()
        while self._state.role is not el.Role.STOPPED:
            self._step(event)
            if not self._waiting:
                counter += 1
                self._step(el.DispatcherProgress(counter))
            try:
                event = self._events.get(timeout=self._pause_s())
            except queue.Empty:
                event = el.Tick()

    def _pause_s(self) -> float:
        beat_s, wake_s = min(IDLE_S, self._state.ttl_s / BEATS), self._wake_s
        if wake_s is None:
            return beat_s
        left_s = wake_s - self._clock.boot_s()
        if left_s <= 0.0:  # the Tick that follows is the one
            self._wake_s = None
        return min(beat_s, max(0.0, left_s))

    def _step(self, event: el.Event) -> None:
        draw = random.random()  # noqa: S311 - spreads campaigns only
        self._state, actions = el.step(self._state, event, self._clock.boot_s(), draw)
        for action in actions:
            self._perform(action)

    def _perform(self, action: el.Action) -> None:
        match action:
            case el.Campaign():
                self._calls.run(partial(self._campaign, action))
            case el.Renew():
                self._renewals.run(partial(self._renew, action))
            case el.Resign():
                self._renewals.run(partial(self._resign, action))
            case el.Lead(term, until_s):
                self._trust(until_s)
                self._call_back(term)
            case el.ExtendTrust(_, until_s):
                self._trust(until_s)
            case el.StepDown():
                self._trust(0.0)
                self._call_back(None)
            case el.WakeAt(at_s):
                self._wake_s = at_s
            case el.Stopped():
                pass  # the loop ends by the role
            case _:
                assert_never(action)

    def _trust(self, until_s: float) -> None:
        with self._lock:
            self._trusted_until_s = until_s

    # On the threads of the backend

    def _campaign(self, action: el.Campaign) -> None:
        try:
            term = self._terms.campaign(action.owner, action.ttl_s)
        except QueueError as error:
            self._events.put(el.CampaignFailed(action.attempt, str(error)))
        else:
            won = None if term is None else el.CampaignWon(action.attempt, term)
            self._events.put(won or el.CampaignLost(action.attempt))

    def _renew(self, action: el.Renew) -> None:
        try:
            kept = self._terms.renew(action.term, action.term.ttl_s)
        except QueueError as error:
            self._events.put(el.RenewFailed(action.attempt, str(error)))
        else:
            self._events.put(el.RenewOk(action.attempt) if kept else el.RenewRefused(action.attempt))

    def _resign(self, action: el.Resign) -> None:
        try:
            self._terms.resign(action.term)
        except QueueError:  # it ends by its ttl
            traceback.print_exc()
        self._events.put(el.ResignEnded(action.attempt))

    # Callbacks

    def _call_back(self, term: Term | None) -> None:
        with self._lock:
            self._waiting += 1
        self._callbacks.run(partial(self._called, term))

    def _called(self, term: Term | None) -> None:
        """On the callbacks' thread: a term that is over by now is not told, nor is its loss."""
        try:
            if term is not None and self.trust_left_s() > 0.0:
                self._told = term
                self._callback(term)
            elif term is None and self._told is not None:
                self._told = None
                self._callback(None)
        except Exception:  # noqa: BLE001 - the program's error is shown, and whoever could not begin does not lead
            traceback.print_exc()
            if term is not None:
                self._events.put(el.StoreRefusedTerm(term.number, "the callback raised an error"))
        finally:
            with self._lock:
                self._waiting -= 1
