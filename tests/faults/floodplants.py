"""What is planted for G10: a flood that comes from within a node, and the bug that it must not survive."""

import json
import os
import threading
import time
from pathlib import Path

from callboard.actors import commands, dispatcher, mailbox
from callboard.core.errors import QueueFull
from callboard.core.messages import PushJobs
from callboard.core.records import NewJob
from callboard.core.registry import encode_body

TIMES = 5
"""How many pushes come for each that the Dispatcher handles."""
BURST_S = 0.01
LEAST = 50
"""Pushes in a burst, at least: else a Dispatcher that is held up would hold the flood up."""


def unbounded_mailbox():
    """G10, a mutant: every message is taken."""
    mailbox.Mailbox.__init__.__defaults__ = (10**9,)


class Flood:
    """Pushes told to one Dispatcher for as long as a file is there; the figures of it in another file."""

    def __init__(self, actor, handled):
        name = os.environ["FAULT_NODE"]
        folder = Path(os.environ["FAULT_FOLDER"])
        self.on, self.figures = folder / f"flood-{name}", folder / f"flooded-{name}.json"
        self.directory, self.ref = actor.parts.directory, actor.actor_ref
        self.handled = handled
        self.body = encode_body("noop", {}, ())
        self.number = self.refused = self.longest = 0

    def run(self):
        """Wait for the file, flood until it is removed, write the figures; the process ends this thread."""
        while not self.on.exists():
            time.sleep(0.01)
        first = seen = self.handled[0]
        while self.on.exists():
            begun_s = time.monotonic()
            now = self.handled[0]
            self.burst(max(LEAST, TIMES * (now - seen)))
            seen = now
            self.look()
            time.sleep(max(0.0, BURST_S - (time.monotonic() - begun_s)))
        figures = {"sent": self.number, "refused": self.refused, "longest": self.longest,
                   "handled": self.handled[0] - first}
        part = self.figures.with_suffix(".part")
        part.write_text(json.dumps(figures))
        part.rename(self.figures)  # whole, or not there

    def burst(self, count):
        """Tell that many."""
        for _ in range(count):
            self.number += 1
            try:
                self.ref.tell(PushJobs((NewJob(f"flood-{self.number}", "noop", "default", self.body),)))
            except QueueFull:
                self.refused += 1

    def look(self):
        """Keep the length of the longest mailbox of the node."""
        refs = [self.directory.ref(name) for name in self.directory.names()]
        self.longest = max(self.longest, *(len(ref.actor_inbox) for ref in refs if ref is not None))


def flood_from_within():
    """G10, a fault: pushes come to the node's Dispatcher, five times as many as it handles."""
    begin, carry_out = dispatcher.Dispatcher.begin, commands.Commands.carry_out
    handled = [0]

    def begun(self, message):
        threading.Thread(target=Flood(self, handled).run, daemon=True).start()
        begin(self, message)

    def counted(self, message, **options):
        handled[0] += isinstance(message, PushJobs)
        return carry_out(self, message, **options)

    dispatcher.Dispatcher.begin, commands.Commands.carry_out = begun, counted
