"""A network between clients and one broker that knows the Kafka protocol well enough to refuse requests of one kind."""
import socket
import struct
import threading

from records import _Answer

FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 1, 2, 3, 8, 9, 10
JOIN_GROUP, SYNC_GROUP, LIST_GROUPS, VERSIONS = 11, 14, 16, 18
NEWEST = {FETCH: 11, LIST_OFFSETS: 5, OFFSET_COMMIT: 5, OFFSET_FETCH: 5, JOIN_GROUP: 5, SYNC_GROUP: 3,
          LIST_GROUPS: 2}  # versions of answers that are understood here; the client hears of no newer ones


class Refuser:
    """A client that begins at `address` reaches the broker through this one only. A thread for each way of each connection."""

    def __init__(self, bootstrap):
        self.port = int(bootstrap.rsplit(":", 1)[1])
        self.errors = {}  # kind of request: the error that each answer to one gets
        self.refused = 0
        self.ends = set()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.here = self.server.getsockname()[1]
        self.address = f"127.0.0.1:{self.here}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def cut(self):
        """Ends every connection. New ones can be made."""
        for end in tuple(self.ends):
            self._end(end)

    @staticmethod
    def _end(end):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self):
        while True:
            try:
                client = self.server.accept()[0]
            except OSError:
                return
            broker = socket.create_connection(("127.0.0.1", self.port))
            asked = {}
            self.ends.update((client, broker))
            for source, target, change in ((client, broker, self._request), (broker, client, self._answer)):
                threading.Thread(target=self._carry, args=(source, target, change, asked), daemon=True).start()

    def _carry(self, source, target, change, asked):
        try:
            with source.makefile("rb") as stream:
                while len(head := stream.read(4)) == 4:
                    frame = change(stream.read(struct.unpack(">i", head)[0]), asked)
                    target.sendall(struct.pack(">i", len(frame)) + frame)
        except OSError:
            pass
        finally:
            for end in (source, target):
                self._end(end)
            self.ends.discard(source)
            source.close()

    def _request(self, frame, asked):
        kind, version, number = struct.unpack(">hhi", frame[:8])
        asked[number] = (kind, version)
        return frame

    def _answer(self, frame, asked):
        kind, version = asked.pop(struct.unpack(">i", frame[:4])[0])
        if kind in (METADATA, FIND_COORDINATOR):  # they name the broker's address, in two codings
            for before in (b"\0\x09127.0.0.1", b"\x0a127.0.0.1"):
                frame = frame.replace(before + struct.pack(">i", self.port), before + struct.pack(">i", self.here))
        elif kind == VERSIONS:
            frame = self._lower(frame, version)
        elif kind in self.errors:
            self.refused += 1
            frame = bytearray(frame)
            for at in self._places(kind, version, frame):
                frame[at:at + 2] = struct.pack(">h", self.errors[kind])
        return bytes(frame)

    def _lower(self, frame, version):
        """The versions that the broker knows, none newer than NEWEST. The flexible coding ends each with a byte for tags."""
        frame = bytearray(frame)
        count, at = (frame[6] - 1, 7) if version >= 3 else (struct.unpack_from(">i", frame, 6)[0], 10)
        assert count < 127, "the broker knows more kinds of requests than one byte tells"
        for at in range(at, at + count * (7 if version >= 3 else 6), 7 if version >= 3 else 6):
            kind, newest = struct.unpack_from(">h", frame, at)[0], struct.unpack_from(">h", frame, at + 4)[0]
            struct.pack_into(">h", frame, at + 4, min(newest, NEWEST.get(kind, newest)))
        return frame

    def _places(self, kind, version, frame):
        """Where errors stand: one for each partition, or one for all."""
        assert version <= NEWEST[kind], f"version {version} of {kind}"
        answer, places = _Answer(bytes(frame)), []
        answer.int32()
        if kind in (JOIN_GROUP, SYNC_GROUP):
            return [8]
        if kind == LIST_GROUPS:
            return [8 if version else 4]
        if kind == OFFSET_FETCH:
            return [len(frame) - 2]
        if kind == FETCH or version >= (3 if kind == OFFSET_COMMIT else 2):
            answer.int32()
        if kind == FETCH and version >= 7:
            answer.int16(), answer.int32()
        for _ in range(answer.int32()):
            answer.string()
            for _ in range(answer.int32()):
                answer.int32()
                places.append(answer.at)
                if kind == OFFSET_COMMIT:
                    answer.int16()
                    continue
                answer.int16(), answer.int64(), answer.int64()
                if kind == LIST_OFFSETS:
                    if version >= 4:
                        answer.int32()
                    continue
                answer.int64()
                for _ in range(max(answer.int32(), 0)):
                    answer.int64(), answer.int64()
                if version >= 11:
                    answer.int32()
                answer.at += max(answer.int32(), 0)
        return places
