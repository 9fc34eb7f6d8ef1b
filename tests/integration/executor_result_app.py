"""Jobs that return what can be kept, and what can't."""

from __future__ import annotations

import asyncio
import time

from callboard import Job, job


class Odd(dict):  # type: ignore[type-arg]  # of anything
    """A dict whose own code raises."""

    def items(self):
        """Asked by the encoder."""
        raise RuntimeError("no items")


class Slow(dict):  # type: ignore[type-arg]  # of anything
    """A dict that takes longer than its job may."""

    def items(self):
        """Asked by the encoder."""
        for _ in range(10_000):
            time.sleep(0.002)
        return ()


RETURNS = {
    "plain": {"a": [1, "two"]}, "object": object(), "keys": {1: 2}, "large": b"x" * 100_000, "odd": Odd(a=1),
    "slow": Slow(a=1), "none": None,
}


@job
def returns(what):
    return RETURNS[what]


@job
async def returns_async(what):
    await asyncio.sleep(0)
    return RETURNS[what]


class Returns(Job):
    what: str

    def handle(self):
        return RETURNS[self.what]

    def failed(self, error):
        del error
        return "hook"
