"""Topics, requests and results: what a test writes to Kafka and reads back."""
import datetime
import functools
import itertools
import json
import random
import socket
import struct
import time
import zlib
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic
from schemas import check_request, check_result, kind_of

QUIET = {"log_level": 0}  # the clients of the tests: what they cannot do, a test says

# For clients that are to find new leaders, or brokers that come back, at once, so that the times that are told are the worker's.
QUICK = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "topic.metadata.refresh.interval.ms": 500,
         "topic.metadata.refresh.fast.interval.ms": 50}


def create_topics(bootstrap, topics, config=None, leaders=None):
    """{name: partitions}; returns when they can be written to. leaders: {name: brokers of three that lead its partitions in turn}."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    replicas = min(3, len(bootstrap.split(",")))

    def where(name, count):
        if not leaders:
            return {"replication_factor": replicas}
        firsts = [leaders[name][p % len(leaders[name])] for p in range(count)]
        return {"replica_assignment": [[first] + [n for n in (1, 2, 3) if n != first] for first in firsts]}
    news = [NewTopic(name, count, config=config or {}, **where(name, count)) for name, count in topics.items()]
    for future in admin.create_topics(news, operation_timeout=30).values():
        future.result(60)
    deadline = time.monotonic() + 30
    while not all(_has_leaders(admin, name, count) for name, count in topics.items()):
        assert time.monotonic() < deadline, "the new topics have no leaders"


def set_topic(bootstrap, name, **config):
    """Sets the topic's configuration (a name's dots as underscores) to just this; returns when a broker tells it."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    config = {key.replace("_", "."): str(value) for key, value in config.items()}
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, set_config=config)
    for future in admin.alter_configs([resource]).values():
        future.result(60)
    deadline = time.monotonic() + 30
    while any(admin.describe_configs([resource])[resource].result(30)[key].value != value for key, value in config.items()):
        assert time.monotonic() < deadline, "the topic does not have its new configuration"


TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5  # kinds of resources that rights are about
READ, WRITE = 3, 4  # operations


def forbid_reading(bootstrap, topic):
    forbid(bootstrap, TOPIC, topic, READ)


def allow_reading(bootstrap, topic):
    allow(bootstrap, TOPIC, topic)


def forbid(bootstrap, kind, name, operation):
    """Nobody may do that with it any more (where an authorizer works); all else may be done with it."""
    acls = [(operation, 2), (2, 3)]  # denied; all: allowed
    body = struct.pack(">i", len(acls))
    for operation, permission in acls:
        body += struct.pack(">b", kind) + _string(name) + struct.pack(">b", 3) + _string("User:*") + _string("*")
        body += struct.pack(">bb", operation, permission)
    answer = _Answer(_ask(bootstrap, 30, 1, body))
    answer.int32(), answer.int32()
    for _ in acls:
        error, why = answer.int16(), answer.string()
        assert not error, f"error {error}: {why}"


def allow(bootstrap, kind, name):
    """Takes `forbid` back."""
    body = struct.pack(">ib", 1, kind) + _string(name) + struct.pack(">bhhbb", 3, -1, -1, 1, 1)
    answer = _Answer(_ask(bootstrap, 31, 1, body))
    answer.int32(), answer.int32()
    error = answer.int16()
    assert not error, f"error {error}"


def knows_transactions(bootstrap, group):
    """Whether the coordinators know a transactional id that begins with the group's name."""
    return any(group.encode() in _ask(broker, 66, 0, b"\0\1\1\0") for broker in bootstrap.split(","))


def prefer_leaders(bootstrap):
    """Gives each partition back to the broker that is to lead it, where that one is in sync. Returns Kafka's codes: that of the whole, and
    how often each other one stands in the answer (84: it leads already)."""
    answer = _Answer(_ask(bootstrap, 43, 1, struct.pack(">bii", 0, -1, 10000)))
    answer.int32()
    whole, codes = answer.int16(), Counter()
    for _ in range(answer.int32()):
        answer.string()
        for _ in range(answer.int32()):
            answer.int32()
            codes[answer.int16()] += 1
            answer.string()
    return whole, dict(codes)


def delete_topic(bootstrap, name):
    """Returns when it is gone and can be created anew."""
    admin = AdminClient({"bootstrap.servers": bootstrap, **QUIET})
    admin.delete_topics([name], operation_timeout=30)[name].result(60)
    deadline = time.monotonic() + 30
    while name in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < deadline, "the topic is not gone"


def delete_records(bootstrap, topic, partition, before):
    """Deletes the records below that offset; Debian's confluent-kafka cannot: one request of the protocol, to the leader."""
    metadata = AdminClient({"bootstrap.servers": bootstrap, **QUIET}).list_topics(topic, timeout=20)
    leader = metadata.brokers[metadata.topics[topic].partitions[partition].leader]
    body = struct.pack(">i", 1) + _string(topic) + struct.pack(">iiqi", 1, partition, before, 20000)
    with socket.create_connection((leader.host, leader.port), 10) as connection:
        answer = _Answer(_request(connection, 21, 1, body))
    answer.int32(), answer.int32(), answer.string(), answer.int32(), answer.int32()
    first, error = answer.int64(), answer.int16()
    assert not error and first == before, f"error {error}, the first record is {first}"


def _has_leaders(admin, name, count):
    partitions = admin.list_topics(name, timeout=10).topics[name].partitions
    return len(partitions) == count and all(p.leader >= 0 for p in partitions.values())


def call(number, key="", **more):
    """A call request with a Caller of its own, by which its POST is found again, and a Callee for each key."""
    return dict({"Caller": caller(number), "Callee": f"139{zlib.crc32(key.encode()) % 10**8:08d}"}, **more)


def caller(number):
    return f"18{number:09d}"


SENT = {}  # values of the requests that tests have sent, by topic, partition and offset: results are checked against them


class Requests:
    """Writes requests. Values are dicts (sent as JSON), bytes or None."""

    def __init__(self, bootstrap, topic, **config):
        self.topic, self.sent, self.failed = topic, [], None
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2, "partitioner": "murmur2_random",
                                  "enable.idempotence": True, "message.max.bytes": 2000000, **QUIET, **config})

    def send(self, value, key=None, partition=-1, headers=None, timestamp=0, topic=None):
        if isinstance(value, dict):
            value = json.dumps(value).encode()
        self.producer.produce(topic or self.topic, value=value, key=key, partition=partition, headers=headers or [],
                              timestamp=timestamp, on_delivery=functools.partial(self._delivered, bool(headers)))
        self.producer.poll(0)

    def send_calls(self, numbers, partition=-1, partitions=None):
        """A call for each number, with an order id of its own. partitions: they go to so many in turn. Returns what flush returns."""
        for number in numbers:
            key = f"k{number}"
            self.send(call(number, key), key, partition=number % partitions if partitions else partition)
        return self.flush()

    def flush(self):
        """Returns when all are in Kafka: the messages in the order sent, with partition() and offset()."""
        assert self.producer.flush(60) == 0, "Kafka does not take the requests"
        if self.failed:
            raise KafkaException(self.failed)
        return self.sent

    def _delivered(self, has_headers, error, message):
        if error:
            self.failed = error
        elif message.offset() is None or message.offset() < 0:  # docs/clients.md: it proves nothing
            self.failed = f"{message.topic()}/{message.partition()}: a request was delivered without an offset"
        else:
            self.sent.append(message)
            if message.value() and not has_headers:  # a CloudEvent's value may be an envelope
                SENT[message.topic(), message.partition(), message.offset()] = message.value()


class Topic:
    """Reads a topic from its beginning, read_committed, as far as a test wants."""

    def __init__(self, bootstrap, name, isolation="read_committed", **config):
        self.bootstrap, self.name, self.messages = bootstrap, name, []
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False,
                                  "isolation.level": isolation, "enable.partition.eof": False, "fetch.wait.max.ms": 50,
                                  "message.max.bytes": 4000000, "auto.offset.reset": "earliest", **QUIET, **config})
        deadline = time.monotonic() + 30
        while not (found := self.consumer.list_topics(name, timeout=20).topics[name].partitions):
            assert time.monotonic() < deadline, f"the broker that was asked does not know {name}"  # another one may
        self.partitions = sorted(found)
        self.consumer.assign([TopicPartition(name, p, OFFSET_BEGINNING) for p in self.partitions])

    def read(self, count, seconds=60, settle=0.5):
        """Waits for so many messages in all, then a moment for more of them, which is too many: all messages so far. Fails when none has
        come for so many seconds: how fast they come depends on what else the machine does."""
        deadline = time.monotonic() + seconds
        quiet = None
        while True:
            before = len(self.messages)
            self._poll()
            now = time.monotonic()
            if len(self.messages) > before:
                deadline = now + seconds
            if len(self.messages) >= count:
                quiet = quiet or now + settle
                if now >= quiet:
                    return self.messages
            elif now > deadline:
                raise AssertionError(f"{len(self.messages)} of {count} messages in {self.name}, and none came for {seconds} s")

    def _poll(self):
        for message in self.consumer.consume(500, 0.1):
            if message.error():
                raise KafkaException(message.error())
            self.messages.append(message)

    def results(self, count, seconds=60, settle=0.5):
        """read() as results: dicts of the JSON value, with _key, _headers, _partition, _offset, _timestamp."""
        return [result(message) for message in self.read(count, seconds, settle)]

    def close(self):
        self.consumer.close()


def result(message):
    """A result or dead letter as a dict; it breaks no schema, nor do the requests that were taken."""
    value = json.loads(message.value())
    headers = {k: v.decode() if v is not None else None for k, v in message.headers() or []}
    check_result(value, headers)
    sent = SENT.get((value["source"]["topic"], value["source"]["partition"], value["source"]["offset"]))
    if sent is not None:
        check_request(sent, value, kind_of(headers))
    return dict(value, _key=message.key(), _headers=headers, _partition=message.partition(), _offset=message.offset(),
                _timestamp=message.timestamp()[1])


def instant(text):
    """Seconds since 1970 of a time in a result."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def ends(bootstrap, topic):
    """{partition: end offset}, control markers included."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_uncommitted", **QUIET})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1] for p in partitions}
    finally:
        consumer.close()


def zipf_keys(count, keys=200, seed=1, exponent=1.1):
    """So many order ids, drawn so that few are frequent and many are rare."""
    names = [f"order-{i}" for i in range(keys)]
    return random.Random(seed).choices(names, [1 / (i + 1) ** exponent for i in range(keys)], k=count)


def coordinator(bootstrap, name, transactions=False):
    """(host, port) of the broker that coordinates the group, or the transactions of the transactional id, of that name."""
    deadline = time.monotonic() + 30
    for broker in itertools.cycle(bootstrap.split(",")):
        try:
            host, port = broker.rsplit(":", 1)
            with socket.create_connection((host, int(port)), 10) as connection:
                answer = _Answer(_request(connection, 10, 2, _string(name) + (b"\1" if transactions else b"\0")))
            answer.int32()
            error, _, _ = answer.int16(), answer.string(), answer.int32()
        except OSError as problem:
            error = problem
        if not error:
            return answer.string(), answer.int32()
        assert time.monotonic() < deadline, f"no coordinator for {name}: error {error}"
        time.sleep(0.02)


class Offsets:
    """Committed offsets with their metadata, which Debian's confluent-kafka does not give: three requests of the Kafka
    protocol, spoken by hand."""

    RETRIABLE = (14, 15, 16)  # the coordinator is loading, or is another one now

    def __init__(self, bootstrap, group):
        self.bootstrap, self.group = bootstrap, group
        self._connect()

    def _connect(self):
        self.connection = socket.create_connection(coordinator(self.bootstrap, self.group), 10)

    def close(self):
        self.connection.close()

    def read(self, topic, partitions, seconds=30):
        """{partition: (offset, metadata)}; offset -1: none."""
        body = _string(self.group) + struct.pack(">i", 1) + _string(topic)
        body += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        deadline = time.monotonic() + seconds
        while True:
            try:
                error, found = self._read(body)
            except OSError as problem:
                error, found = problem, None
            if not error:
                return found
            assert isinstance(error, OSError) or error in self.RETRIABLE, f"error {error} when reading the offsets of {self.group}"
            assert time.monotonic() < deadline, f"{error}, for long, when reading the offsets of {self.group}"
            time.sleep(0.05)
            self.close()
            self._connect()

    def _read(self, body):
        answer = _Answer(_request(self.connection, 9, 5, body))
        found = {}
        answer.int32()
        for _ in range(answer.int32()):
            answer.string()
            for _ in range(answer.int32()):
                partition, offset, _, metadata, error = (answer.int32(), answer.int64(), answer.int32(), answer.string(),
                                                         answer.int16())
                assert not error, f"error {error} when reading the offset of partition {partition}"
                found[partition] = (offset, metadata)
        return answer.int16(), found

    def commit(self, topic, partition, offset, metadata=""):
        """Commits for a group without members. A coordinator that is only about to be one is asked again."""
        deadline = time.monotonic() + 30
        while (error := self._commit(topic, partition, offset, metadata)) in self.RETRIABLE and time.monotonic() < deadline:
            time.sleep(0.05)
            self.close()
            self._connect()
        assert not error, f"error {error} when committing an offset of {self.group}"

    def _commit(self, topic, partition, offset, metadata):
        body = _string(self.group) + struct.pack(">i", -1) + _string("") + struct.pack(">h", -1)
        body += struct.pack(">i", 1) + _string(topic) + struct.pack(">iiqi", 1, partition, offset, -1) + _string(metadata)
        answer = _Answer(_request(self.connection, 8, 7, body))
        answer.int32(), answer.int32(), answer.string(), answer.int32(), answer.int32()
        return answer.int16()


class Leader:
    """A member that leads its group, and assigns to the other members whatever it likes: five requests of the Kafka protocol, spoken by
    hand. The coordinator passes on what a leader assigns, without a look into it."""

    REBALANCE_IN_PROGRESS = 27

    def __init__(self, bootstrap, group, topic, protocol="cooperative-sticky"):
        self.group, self.protocol, self.member = _string(group), protocol, ""
        self.subscription = struct.pack(">hi", 0, 1) + _string(topic) + struct.pack(">i", -1)
        self.connection = socket.create_connection(coordinator(bootstrap, group), 10)
        self.connection.settimeout(60)
        self._lead({})

    def close(self):
        self._ask(13, 1, _string(self.member))
        self.connection.close()

    def assign(self, topics, seconds=30):
        """Waits until others join, and gives each of them the same: {topic: partitions}."""
        deadline = time.monotonic() + seconds
        while self._error(12, 1, struct.pack(">i", self.generation) + _string(self.member)) != self.REBALANCE_IN_PROGRESS:
            assert time.monotonic() < deadline, "nobody joins the group"
            time.sleep(0.05)
        self._lead(topics)

    def _lead(self, topics):
        join = (struct.pack(">ii", 60000, 60000) + _string(self.member) + _string("consumer") + struct.pack(">i", 1) +
                _string(self.protocol) + _bytes(self.subscription))
        deadline = time.monotonic() + 30
        while (answer := self._ask(11, 2, join)).int32() or (error := answer.int16()):
            assert error in Offsets.RETRIABLE and time.monotonic() < deadline, f"error {error} when joining"
            time.sleep(0.05)
        self.generation, _, leader, self.member = answer.int32(), answer.string(), answer.string(), answer.string()
        assert leader == self.member, "another member leads the group"
        members = [(answer.string(), answer.bytes())[0] for _ in range(answer.int32())]
        mine = struct.pack(">hi", 0, len(topics))
        for topic, partitions in topics.items():
            mine += _string(topic) + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        others = [member for member in members if member != self.member]
        body = struct.pack(">i", self.generation) + _string(self.member) + struct.pack(">i", len(others))
        for member in others:
            body += _string(member) + _bytes(mine + struct.pack(">i", -1))
        error = self._error(14, 1, body)
        assert not error, f"error {error} when assigning"

    def _ask(self, key, version, body):
        return _Answer(_request(self.connection, key, version, self.group + body))

    def _error(self, key, version, body):
        answer = self._ask(key, version, body)
        answer.int32()
        return answer.int16()


def _string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


def _bytes(data):
    return struct.pack(">i", len(data)) + data


def _ask(bootstrap, key, version, body):
    """One request to the first of these brokers."""
    host, port = bootstrap.split(",")[0].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 10) as connection:
        return _request(connection, key, version, body)


def _request(connection, key, version, body):
    head = struct.pack(">hhi", key, version, 1) + _string("test")
    connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    size = struct.unpack(">i", _receive(connection, 4))[0]
    return _receive(connection, size)[4:]


def _receive(connection, size):
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionError("Kafka closed the connection")
        data += piece
    return data


class _Answer:
    def __init__(self, data):
        self.data, self.at = data, 0

    def _take(self, form):
        value = struct.unpack_from(form, self.data, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def int8(self):
        return self._take(">b")

    def int16(self):
        return self._take(">h")

    def int32(self):
        return self._take(">i")

    def int64(self):
        return self._take(">q")

    def string(self):
        size = self.int16()
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def bytes(self):
        size = self.int32()
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at]
