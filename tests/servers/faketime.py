"""A server whose wall clock the test sets: by libfaketime, loaded into the server's processes alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servers.packages import Missing, Recipe, find

if TYPE_CHECKING:
    from servers.process import Server

RECIPE = Recipe("faketime", ("faketime",), ("faketime",))
_LOOK_S = 1
"""How long a process goes on by the offset that it has read."""


class ServerClock:
    """The wall clock of one server. Make it before the server starts; its monotonic clock stays the machine's.

    Not for Redis: its allocator asks for the time before libfaketime can answer, and both wait for ever.
    """

    def __init__(self, server: Server, offset_s: int = 0) -> None:
        programs = find(RECIPE)
        root = programs.root or Path("/")
        libraries = sorted(root.glob("usr/lib/*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            raise Missing(f"faketime: no libfaketime below {root}")
        self._server = server
        self.set(offset_s)
        server.variables.update({
            "LAUNCH_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(server.folder / "clock"),
            "FAKETIME_CACHE_DURATION": str(_LOOK_S),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        })

    def set(self, offset_s: int) -> None:
        """Let the clock be so many seconds ahead of the machine's; noticed within a second or two."""
        self._server.write("clock", f"{offset_s:+d}\n")
