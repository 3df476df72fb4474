"""A network between a program and some TCP servers on loopback, which can be made slow, be held up and be cut."""
import asyncio
import threading


class Network:
    """One listening port for each target, in the targets' order. A thread of its own carries the bytes; all methods are for the
    test's thread."""

    def __init__(self, targets):
        self.delay = 0  # seconds each way, for what is sent from now on
        self.cuts = 0  # connections that were cut
        self.links = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.flowing, self.servers = self._do(self._start(targets))
        self.ports = [s.sockets[0].getsockname()[1] for s in self.servers]

    async def _start(self, targets):
        flowing = asyncio.Event()
        flowing.set()

        def server(port):
            return asyncio.start_server(lambda r, w: self._carry(r, w, port), "127.0.0.1", 0)
        return flowing, [await server(port) for port in targets]

    def hold(self):
        """No byte arrives any more, on no connection, and none breaks."""
        self.loop.call_soon_threadsafe(self.flowing.clear)

    def release(self):
        self.loop.call_soon_threadsafe(self.flowing.set)

    def cut(self):
        """Resets every connection; what was under way is lost. New ones can be made."""
        async def abort():
            for writer in list(self.links):
                writer.transport.abort()
                self.cuts += 1
            self.links.clear()
        self._do(abort())

    def close(self):
        async def end():
            for server in self.servers:
                server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _carry(self, reader, writer, port):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # the target is down: so is its port
            writer.transport.abort()
            return
        self.links.add(writer)
        tasks = [asyncio.ensure_future(t) for t in (self._one_way(reader, back), self._one_way(there, writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.links.discard(writer)
            for end in (writer, back):
                end.transport.abort()

    async def _one_way(self, reader, writer):
        """Bytes arrive in order, each after the delay that was set when it was sent. Ends with the connection."""
        pieces = asyncio.Queue(64)
        receiving = asyncio.ensure_future(self._receive(reader, pieces))
        try:
            data = True
            while data:
                due, data = await pieces.get()
                await asyncio.sleep(due - self.loop.time())
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            receiving.cancel()

    async def _receive(self, reader, pieces):
        data = True
        while data:
            try:
                data = await reader.read(65536)
            except OSError:
                data = b""
            await pieces.put((self.loop.time() + self.delay, data))
