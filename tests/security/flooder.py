"""A process that holds many connections to a socket and sends each a byte now and then; connects anew when refused."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading

path, count, every_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
never = threading.Event()


def connect() -> socket.socket:
    """One more; a full backlog is waited for."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)
    return client


clients = [connect() for _ in range(count)]
print("connected", flush=True)  # noqa: T201 - tells the test
while not never.wait(every_s):
    for number, client in enumerate(clients):
        try:
            client.sendall(b"\0")
        except OSError:
            client.close()
            with contextlib.suppress(OSError):
                clients[number] = connect()
