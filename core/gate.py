"""Who and what is let in of the broadcasts that come: this cluster's, authenticated, from a known sender, and once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.core.envelope import ClusterKeys, Sealed

SENDERS_MAX: Final = 1_024
"""Senders whose numbers are remembered."""
WINDOW: Final = 32
"""Numbers of one sender that are remembered: what comes in another order is taken within them."""
AHEAD_MAX_S: Final = 86_400.0
"""How far a sender's clock may be ahead. One that is years ahead would make all others look old, once forgotten."""


class Replays:
    """Remembers which numbers came, in bounded memory; what it can't tell from a replay, it takes for one.

    Of each sender the last 32 numbers, and the highest that was forgotten. Of senders the last 1,024, and the highest
    number of those that were forgotten: a sender that is new here has to be beyond that.
    """

    def __init__(self, senders_max: int = SENDERS_MAX, window: int = WINDOW) -> None:
        """Nothing came yet."""
        self._senders_max = senders_max
        self._window = window
        self._seen: OrderedDict[str, tuple[int, set[int]]] = OrderedDict()
        self._floor = 0

    def __len__(self) -> int:
        """Senders that are remembered."""
        return len(self._seen)

    def accept(self, sender: str, sequence: int) -> bool:
        """Whether this number has not come; it has from now on."""
        floor, numbers = self._seen.get(sender, (self._floor, None))
        if sequence <= floor or (numbers is not None and sequence in numbers):
            return False
        numbers = set() if numbers is None else numbers
        numbers.add(sequence)
        if len(numbers) > self._window:
            floor = min(numbers)
            numbers.discard(floor)
        self._seen[sender] = (floor, numbers)
        self._seen.move_to_end(sender)
        if len(self._seen) > self._senders_max:
            _, (_, forgotten) = self._seen.popitem(last=False)
            self._floor = max(self._floor, *forgotten)
        return True


class Gate:
    """One receiver's judgement. Not safe between threads."""

    def __init__(self, cluster_id: str, keys: ClusterKeys, replays: Replays | None = None) -> None:
        """Let nothing in that is not this cluster's."""
        self._cluster_id = cluster_id
        self._keys = keys
        self._replays = Replays() if replays is None else replays

    def refusal(self, sealed: Sealed, known: Callable[[str], bool], wall_s: float) -> str:
        """Why a broadcast is refused; empty: it is let in, this once.

        Args:
            sealed: what came, for this receiver.
            known: whether a sender is a member or a client; asked only about what is authentic.
            wall_s: the receiver's wall clock.
        """
        envelope = sealed.envelope
        if envelope.cluster_id != self._cluster_id:
            return "another cluster"
        if not self._keys.verify(sealed):
            return "not authentic" if sealed.mac else "not signed"
        if envelope.sequence > (wall_s + AHEAD_MAX_S) * 1e6:
            return "a day ahead"
        if not known(envelope.sender):
            return "unknown sender"
        return "" if self._replays.accept(envelope.sender, envelope.sequence) else "replay"
