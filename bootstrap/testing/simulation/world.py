"""A world in one thread: virtual time, calls that may be lost, late or doubled, processes that pause and die.

An activity is a generator that yields what it waits for: `Sleep`, `Wait` (for a signal) or `Call`. One seed, one story.
"""

from __future__ import annotations

import heapq
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard.core.errors import QueueError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Activity = Generator["Sleep | Wait | Call", Any, None]


WALL_AT_START_S = 1_750_000_000.0


class Sleep(NamedTuple):
    """Wait for this long."""

    seconds: float


class Wait(NamedTuple):
    """Wait for a signal, or at most so long."""

    signal: Signal
    seconds: float


class Call(NamedTuple):
    """Ask a server, and wait for the reply or StoreUnavailable.

    Attributes:
        name: of the act, for the checks and the story.
        act: what the server does when the request arrives; once a copy.
        about: what the checks need to know of the request.
        late: told what came after the caller had given up.
    """

    server: Server
    name: str
    act: Callable[[], Any]
    about: Any = None
    timeout_s: float = 1.0
    late: Callable[[Any], None] | None = None


class Signal:
    """Wakes who waits; remembers one ring."""

    def __init__(self) -> None:
        self.rung = False
        self.waiting: Callable[[], None] | None = None

    def ring(self) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            self.rung = True
        else:
            waiting()


class Process:
    """What is paused and dies together."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.paused = False
        self.deferred: list[Callable[[], None]] = []
        self.activities: list[Activity] = []

    def do(self, action: Callable[[], None]) -> None:
        """Now; after the pause; or never."""
        if self.paused and self.alive:
            self.deferred.append(action)
        elif self.alive:
            action()

    def resume(self) -> None:
        self.paused = False
        deferred, self.deferred = self.deferred, []
        for action in deferred:
            self.do(action)

    def kill(self) -> None:
        self.alive = False
        self.deferred.clear()


@dataclass
class Server:
    """Something that is called: the store, or the cluster backend."""

    name: str
    down: bool = False
    cut: set[str] = field(default_factory=set)  # nodes whose requests don't reach it
    deaf: set[str] = field(default_factory=set)  # nodes that its replies don't reach


class Network(NamedTuple):
    """How bad the links are; probabilities for each message."""

    lost: float = 0.0
    doubled: float = 0.0
    slow: float = 0.0  # tens to hundreds of milliseconds
    late: float = 0.0  # up to four seconds


CALM = Network()


class World:
    """Time, links, chance, and the story so far."""

    def __init__(self, seed: int, network: Network) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.network = network
        self.now = 0.0
        self.steps = 0
        self.story: list[tuple[float, str, str, Any]] = []
        self.ambush: dict[Process, tuple[str, Callable[[], None]]] = {}  # what befalls it right after such a call
        self.execute: Callable[[str, Call], Any] = lambda _caller, call: call.act()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    # Clock, as `callboard.core.ports.Clock`

    def boot_s(self) -> float:
        return 1000.0 + self.now

    def wall_s(self) -> float:
        return WALL_AT_START_S + self.now

    # The agenda

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._agenda, (self.now + seconds, self._count, action))

    def timer(self, process: Process, seconds: float, action: Callable[[], None]) -> None:
        """After so long, unless the process has died; when it goes on, if it is paused."""
        self.after(seconds, lambda: process.do(action))

    def run_until(self, done: Callable[[], bool], limit_s: float) -> bool:
        """Go on until done or for so long; whether it was done."""
        end = self.now + limit_s
        while not done():
            if not self._agenda or self._agenda[0][0] > end:
                return False
            self.now, _, action = heapq.heappop(self._agenda)
            action()
        return True

    def tell(self, who: str, what: str, detail: Any = "") -> None:
        """A line of the story."""
        self.story.append((self.now, who, what, detail))

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    # Activities

    def spawn(self, process: Process, activity: Activity) -> None:
        process.activities.append(activity)
        self._go_on(process, activity, None)

    def _go_on(self, process: Process, activity: Activity, value: Any) -> None:
        if not process.alive:
            return
        try:
            awaited = activity.throw(value) if isinstance(value, Exception) else activity.send(value)
        except StopIteration:
            process.activities.remove(activity)
            return

        def wake(result: Any = None) -> None:
            process.do(lambda: self._go_on(process, activity, result))

        match awaited:
            case Sleep(seconds):
                self.after(seconds, wake)
            case Wait(signal, seconds):
                self._wait(signal, seconds, wake)
            case Call():
                self._call(process.name, awaited, wake)
                if process in self.ambush and self.ambush[process][0] == awaited.name:
                    self.ambush.pop(process)[1]()

    def _wait(self, signal: Signal, seconds: float, wake: Callable[[], None]) -> None:
        if signal.rung:
            signal.rung = False
            self.after(0.0, wake)
            return
        fresh = [True]

        def once() -> None:
            if fresh:
                fresh.clear()
                signal.waiting = None
                self.after(0.0, wake)

        signal.waiting = once
        self.after(seconds, once)

    # Calls

    def _latency(self) -> float:
        if self.chance(self.network.late):
            return self.random.uniform(0.5, 4.0)
        if self.chance(self.network.slow):
            return self.random.uniform(0.02, 0.4)
        return self.random.uniform(0.0005, 0.005)

    def _call(self, caller: str, call: Call, wake: Callable[[Any], None]) -> None:
        open_ = [True]

        def answer(result: Any) -> None:
            if open_:
                open_.clear()
                wake(result)
            elif call.late is not None:
                call.late(result)

        def give_up() -> None:
            if open_:
                answer(StoreUnavailable(f"{call.server.name} did not answer"))

        self.after(call.timeout_s, give_up)
        self.after(self._latency(), lambda: self._arrive(caller, call, answer))
        if self.chance(self.network.doubled):
            self.after(self._latency() + self.random.uniform(0.0, 6.0), lambda: self._arrive(caller, call, answer))

    def _arrive(self, caller: str, call: Call, answer: Callable[[Any], None]) -> None:
        server = call.server
        if self.chance(self.network.lost) or caller in server.cut:
            return
        if server.down:
            if self.random.random() < 0.5:
                self.after(self._latency(), lambda: answer(StoreUnavailable(f"{server.name} is down")))
            return
        self.steps += 1
        try:
            result = self.execute(caller, call)
        except QueueError as error:
            result = error
            self.tell(caller, f"{call.name}: {type(error).__name__}", error)
        if not self.chance(self.network.lost) and caller not in server.deaf:
            self.after(self._latency(), lambda: answer(result))


def readable(world: World, about: str = "", last: int = 120) -> str:
    """The story's end, a line an event; before it all that is said of the jobs that `about` names."""
    lines = [f"{at:9.3f}  {who:<6} {what} {detail}".rstrip() for at, who, what, detail in world.story]
    parts = [f"seed {world.seed}, {world.steps} steps, {world.now:.1f} s: {about}"]
    for job_id in dict.fromkeys(re.findall(r"\bj\d+\b|cron:\S+Z", about)):
        history = [_only(line, job_id) for line in lines if re.search(rf"{re.escape(job_id)}\b", line)]
        parts += [f"the story of {job_id}:", *history[-40:]]
    return "\n".join([*parts, f"the last of {len(lines)} events:", *(line[:240] for line in lines[-last:])])


def _only(line: str, job_id: str) -> str:
    """Of an act on many jobs, the part on this one."""
    head, *others = line.split("; ")
    mine = [part for part in others if part.startswith(f"{job_id} ")]
    return f"{head.rsplit(' ', 2)[0]} {mine[0]}" if mine else head[:240]
