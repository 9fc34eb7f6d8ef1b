"""A TCP proxy before a server, which delays what goes through it."""

import asyncio
import threading


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes everything on; `delay_s` holds each way, from now on."""

    def __init__(self, port: int) -> None:
        self.delay_s = 0.0
        self.port = 0
        self._target = port
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the proxy does not listen"

    def close(self) -> None:
        """Cut every connection and listen no more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.wait(tasks) if tasks else asyncio.sleep(0))
        self._loop.close()

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()

    async def _serve(self, reader, writer) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        ways = [asyncio.ensure_future(way) for way in (self._pass_on(reader, back), self._pass_on(there, writer))]
        await asyncio.wait(ways)

    async def _pass_on(self, reader, writer) -> None:
        """One way of one connection: each piece as late as it came, so that the rate is what it was."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sender = asyncio.create_task(self._send(pieces, writer))
        try:
            while data := await reader.read(65_536):
                pieces.put_nowait((self._loop.time() + self.delay_s, data))
        except OSError:  # cut by one end; the other learns of it
            pass
        pieces.put_nowait((self._loop.time() + self.delay_s, b""))
        await sender

    async def _send(self, pieces, writer) -> None:
        while True:
            due_s, data = await pieces.get()
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            try:
                await writer.drain()
            except OSError:
                return
