"""One run: some nodes, a producer, an operator and a spoiler under one seed; then all is mended and must settle."""

# pyright: reportPrivateUsage=false
# Its checks look into the rows of the memory store.
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from callboard.backends.store.memory import MemoryStore
from callboard.core.cron import parse, ticks_between
from callboard.core.errors import InvalidArgument, QueueError
from callboard.core.records import JobState, NewJob, ScheduleRow
from callboard.core.schedule import tick_job_id

from .checks import LEASE_TTL_S, Checks, Violation
from .lease import Lease
from .node import Node
from .world import CALM, WALL_AT_START_S, Call, Network, Process, Server, Sleep, World, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .world import Activity

NODES = ("n1", "n2", "n3", "n4", "n5")
"""Names, the first three to five of them."""
JOBS_MAX = 60
STEPS = 2_000
SETTLE_S = 240.0
"""Virtual seconds within which everything has ended once all faults are mended."""
EVERY_MINUTE = ScheduleRow(
    "minutely", "* * * * *", "UTC", "all", 3_600.0, NewJob("", "ok", "a", b""), round(WALL_AT_START_S * 1000)
)
KINDS = (  # of jobs, one mix a seed
    ("ok",) * 20 + ("flaky",) * 10 + ("long",) * 6 + ("once",) * 3 + ("bad", "dies", "poison"),
    ("ok", "long", "long", "long"),
    ("ok", "flaky"),
)


class SimulatedBells:
    """In place of the store's bells: hints that may be lost or late."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.nodes: list[Node] = []

    def ring(self, topic: str) -> None:
        for node in self.nodes:
            if not node.main.alive or self.world.chance(self.world.network.lost):
                continue
            if topic == "leader":
                self.world.timer(node.main, 0.001, node.bell.ring)
            elif topic == f"session-{node.session}":
                self.world.timer(node.main, 0.001, node.session_rings)

    def close(self) -> None:
        """Nothing to end."""


def simulate(seed: int, steps: int = STEPS, nodes: int | None = None) -> Simulation:
    """Run three to five nodes under one seed, with the faults that it draws, until all has been mended and is done.

    The nodes are made of callboard's own decisions and its memory store; messages and replies are lost, doubled, late,
    nodes are paused, frozen, cut off and killed, store and lease fail. After each act of the store the promises are
    checked. One seed is one story, on every machine. Every fifth seed is calm: no fault, and each job runs once.

    Args:
        seed: 0 or more.
        steps: acts of store and lease until everything is mended; a thousand take about 0.1 s.
        nodes: 3 to 5; by default the seed says how many.

    Returns:
        The run: `.world.story` has (second, who, what, detail) of everything that happened.

    Raises:
        InvalidArgument: Raised when an argument is out of bounds.
        Violation: Raised when a promise was broken; its text tells the seed and the story's end.
    """
    if seed < 0 or steps < 1 or nodes not in {None, 3, 4, 5}:
        raise InvalidArgument(f"simulate takes a seed from 0, steps from 1 and 3 to 5 nodes: {seed}, {steps}, {nodes}")
    simulation = Simulation(seed, steps, nodes)
    try:
        simulation.run()
    except Violation as violation:
        raise Violation(readable(simulation.world, str(violation))) from None
    return simulation


class Simulation:
    """Everything, under one seed. Every fifth seed is calm: no fault, and each job runs exactly once an attempt."""

    def __init__(self, seed: int, steps: int, nodes: int | None = None) -> None:
        self.calm = seed % 5 == 0
        self.world = World(seed, CALM)
        rng = self.world.random
        if not self.calm:
            self.world.network = Network(
                lost=rng.choice((0.0, 0.01, 0.05)), doubled=rng.choice((0.0, 0.05, 0.2)), slow=rng.choice((0.0, 0.2)),
                late=rng.choice((0.0, 0.02)),
            )
        self.steps = steps
        self.bells = SimulatedBells(self.world)
        self.store = MemoryStore(max_jobs=10_000, clock=self.world)
        self.store._bells = self.bells  # type: ignore[assignment]  # all that the store uses of them
        self.checks = Checks(self.world, self.store)
        self.world.execute = self.checks.execute
        self.server, self.lease = Server("store"), Lease(self.world)
        names = NODES[:nodes or 3 + seed % 3]
        self.nodes = [Node(self.world, name, self.store, self.server, self.lease, self.checks) for name in names]
        self.bells.nodes = self.nodes
        self.outside = Process("user")
        self.store.put_schedule(EVERY_MINUTE)
        self.pushed = 0
        self.stopping: set[str] = set()
        self.spoiling = True

    def run(self) -> Checks:
        """The spoiled part, then the mended one.

        Raises:
            Violation: Raised when a promise was broken; the world's story tells how.
        """
        for node in self.nodes:
            node.start()
        self.world.spawn(self.outside, self.produce())
        self.world.spawn(self.outside, self.operate())
        self.world.spawn(self.outside, self.keep_up())
        if not self.calm:
            self.world.spawn(self.outside, self.spoil())
        if not self.world.run_until(lambda: self.world.steps >= self.steps, 3_600.0):
            self.checks.fail("nothing happens any more")
        self.spoiling = False
        self.mend()
        if not self.world.run_until(self.settled, SETTLE_S):
            waiting = {job: row.state.name for job, row in self.checks.rows.items() if row.state < JobState.COMPLETED}
            self.checks.fail(f"not settled within {SETTLE_S} s: {waiting}, in doubt: {self.pushed < JOBS_MAX}")
        self.checks.final()
        self.each_tick_once()
        if self.calm:
            self.exactly_once()
        return self.checks

    def settled(self) -> bool:
        return (
            self.pushed == JOBS_MAX
            and self.checks.all_done()
            and all(node.main.alive and not node.worker.held for node in self.nodes)
        )

    def each_tick_once(self) -> None:
        """The schedule's policy is "all": each tick pushed its job, at most one (the checks of pushes see to that)."""
        now_ms = self.store.store_now_ms() - 5_000  # a leader may take a moment
        for tick in ticks_between(parse(EVERY_MINUTE.cron, "UTC"), EVERY_MINUTE.last_tick_ms, now_ms, 1_000):
            job_id = tick_job_id(EVERY_MINUTE.name, tick)
            self.checks.need(job_id in self.checks.rows, f"{job_id} never came")

    def exactly_once(self) -> None:
        """Where nothing was spoiled, no job was lost, none ran for nothing."""
        for row in self.store._table.rows.values():
            if row.job.name in {"ok", "long"} and row.state is JobState.COMPLETED and row.losses == 0:
                runs = self.checks.runs[row.job.id]
                self.checks.need(runs == 1, f"{row.job.id} ran {runs} times")

    # Those outside

    def produce(self) -> Activity:
        """Push jobs; what is in doubt is pushed again under its id."""
        rng = self.world.random
        kinds = rng.choice(KINDS)
        while self.pushed < JOBS_MAX:
            kind = rng.choice(kinds)
            if kind == "poison" and self.calm:
                kind = "ok"
            job = NewJob(
                f"j{self.pushed}", kind, rng.choice("aab"), b"", priority=rng.choice((0, 0, 5)),
                delay_s=rng.choice((0.0, 0.0, 0.0, 1.5)), max_attempts=rng.choice((None, 2)),
                at_most_once=kind == "once",
            )
            while job.id not in self.checks.acknowledged:
                try:
                    receipt = yield Call(self.server, "push", partial(self.store.push, [job]))
                    self.checks.acknowledged.update(receipt.ids)
                except QueueError:
                    yield Sleep(0.2)
            self.pushed += 1
            yield Sleep(rng.choice((0.0, 0.0, 0.0, 0.01, 0.2, 4.0)))  # bursts

    def operate(self) -> Activity:
        """Cancel, pause, drain, retry: what operators do."""
        rng, store = self.world.random, self.store
        while self.spoiling:
            yield Sleep(rng.uniform(1.0, 5.0))
            if not self.checks.rows:
                continue
            job_id, queue, node = rng.choice(sorted(self.checks.rows)), rng.choice("ab"), rng.choice(self.nodes).name
            on = rng.random() < 0.5
            failed = [name for name, row in self.checks.rows.items() if row.state is JobState.FAILED]
            name, what, act = rng.choice((
                ("cancel", job_id, partial(store.cancel, job_id)),
                ("pause", f"{queue} {on}", partial(store.set_paused, queue, paused=on)),
                ("drain", f"{node} {on}", partial(store.set_draining, node, draining=on)),
                ("retry", failed[:1], partial(store.retry_failed, failed[0], None) if failed else list),
            ))
            yield from self.order(name, what, act)

    def order(self, name: str, what: object, act: Callable[[], Any]) -> Activity:
        self.world.tell("user", f"orders {name}", what)
        try:
            yield Call(self.server, name, act)
        except QueueError as error:
            self.world.tell("user", f"{name} failed", error)

    def keep_up(self) -> Activity:
        """What a service manager does: start what is dead."""
        while True:
            yield Sleep(self.world.random.uniform(0.2, 2.0))
            for node in self.nodes:
                if not node.main.alive:
                    self.stopping.discard(node.name)
                    node.start()

    # Faults

    def spoil(self) -> Activity:
        rng = self.world.random
        every = (self.pause, self.ambush, self.freeze, self.crash, self.stop, self.outage, self.cut, self.forget)
        faults = rng.sample(every, rng.randint(2, 5))  # all at once would hide what a few bring about
        while True:
            yield Sleep(rng.expovariate(1 / rng.choice((0.5, 2.0, 3.0))))
            if not self.spoiling:
                return
            node = rng.choice(self.nodes)
            if node.main.alive and node.name not in self.stopping:
                rng.choice(faults)(node, rng.choice((0.2, 1.0, 1.5, 2.5)) * LEASE_TTL_S * rng.uniform(0.5, 1.0))

    def pause(self, node: Node, seconds: float) -> None:
        """SIGSTOP of the node's own process; its children go on."""
        self._pause([node.main], "is paused", seconds)

    def freeze(self, node: Node, seconds: float) -> None:
        """The whole machine stands still."""
        self._pause([node.main, node.children], "is frozen", seconds)

    def ambush(self, node: Node, seconds: float) -> None:
        """SIGSTOP or a frozen machine at the worst moment: a request has just gone out; and then the line goes, too."""
        rng = self.world.random
        name = rng.choice(("campaign", "renew", "renew", "beat", "beat", "open_session", "take", "assign", "survey",
                           "finish", "mark_started"))
        how, cut = rng.choice((self.pause, self.freeze)), rng.random() < 0.5
        seconds *= rng.choice((0.3, 1.0))

        def spring() -> None:
            how(node, seconds)
            if cut:
                self.world.after(0.1, lambda: self.cut(node, seconds + 2 * LEASE_TTL_S))

        self.world.ambush[node.main] = (name, spring)

    def _pause(self, processes: list[Process], how: str, seconds: float) -> None:
        self.world.tell(processes[0].name, how, f"for {seconds:.2f} s")
        for process in processes:
            process.paused = True
            self.world.after(seconds, process.resume)

    def crash(self, node: Node, _seconds: float) -> None:
        node.crash("kill -9")

    def stop(self, node: Node, _seconds: float) -> None:
        self.stopping.add(node.name)
        self.world.spawn(node.main, node.stop())

    def outage(self, _node: Node, seconds: float) -> None:
        server = self.world.random.choice((self.server, self.lease))
        self.world.tell(server.name, "is down", f"for {seconds:.2f} s")
        server.down = True

        def back() -> None:
            server.down = False

        self.world.after(seconds, back)

    def cut(self, node: Node, seconds: float) -> None:
        rng = self.world.random
        server = rng.choice((self.server, self.lease))
        ways = rng.choice(((server.cut,), (server.deaf,), (server.deaf,), (server.cut, server.deaf)))
        how = "hears nothing of" if ways == (server.deaf,) else "is cut off from"
        self.world.tell(node.name, f"{how} {server.name}", f"for {seconds:.2f} s")
        for way in ways:
            way.add(node.name)
            self.world.after(seconds, partial(way.discard, node.name))

    def forget(self, _node: Node, _seconds: float) -> None:
        self.world.tell("lease", "is forgotten")
        self.lease.forget()

    def mend(self) -> None:
        """Everything works from now on."""
        self.world.tell("user", "everything is mended")
        self.world.network = CALM
        for server in (self.server, self.lease):
            server.down = False
            server.cut.clear()
            server.deaf.clear()
        for node in self.nodes:
            node.main.resume()
            node.children.resume()

        self.world.spawn(self.outside, self.reopen())

    def reopen(self) -> Activity:
        """Resume and undrain everything; again, for a late copy of an older order may still arrive."""
        while True:
            for queue in "ab":
                yield from self.order("pause", queue, partial(self.store.set_paused, queue, paused=False))
            for node in self.nodes:
                undrain = partial(self.store.set_draining, node.name, draining=False)
                yield from self.order("drain", node.name, undrain)
            yield Sleep(10.0)
