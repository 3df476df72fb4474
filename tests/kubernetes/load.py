"""Requests at a steady rate and what became of each: the client's side of the test."""
import collections
import json
import threading
import time

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic


def make_topics(kafka, topics):
    """topics: (name, partitions). They are new: names carry the run's own prefix."""
    client = AdminClient({"bootstrap.servers": kafka})  # its futures end with it
    for name, future in client.create_topics([NewTopic(n, p, -1) for n, p in topics], operation_timeout=30).items():
        try:
            future.result(60)
        except confluent_kafka.KafkaException as problem:
            raise SystemExit(f"topic {name} cannot be made at {kafka}: {problem}") from problem


def drop_topics(kafka, topics):
    client = AdminClient({"bootstrap.servers": kafka})
    for future in client.delete_topics([n for n, _ in topics], operation_timeout=30).values():
        try:
            future.result(60)
        except confluent_kafka.KafkaException:
            pass


class Load:
    """Each request has an order id and numbers of its own, so that no request waits for another one's."""

    def __init__(self, kafka, requests, results, partitions):
        self.requests = requests
        self.sent, self.results = {}, collections.defaultdict(list)
        self.number = 0
        self.ending = threading.Event()
        self.rate = 0.0
        self.producer = confluent_kafka.Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "linger.ms": 5})
        self.consumer = confluent_kafka.Consumer({"bootstrap.servers": kafka, "group.id": requests + "-test", "isolation.level": "read_committed",
                                                  "enable.auto.commit": False, "fetch.wait.max.ms": 100})
        self.consumer.assign([confluent_kafka.TopicPartition(results, p, 0) for p in range(partitions)])
        self.threads = [threading.Thread(target=self.read, daemon=True), threading.Thread(target=self.write, daemon=True)]
        for thread in self.threads:
            thread.start()

    def read(self):
        while not self.ending.is_set():
            record = self.consumer.poll(0.2)
            if record and not record.error():
                result = json.loads(record.value())
                self.results[result["requestId"]].append((time.monotonic(), result["status"], result.get("error", {}).get("code")))

    def write(self):
        due = time.monotonic()
        while not self.ending.is_set():
            rate = self.rate
            if not rate:
                self.producer.poll(0.1)
                due = time.monotonic()
                continue
            self.one()
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))
            self.producer.poll(0)

    def one(self):
        self.number += 1
        n = self.number
        value = {"Caller": f"183{n:08d}", "Callee": f"185{n:08d}", "requestId": f"r-{n}"}
        self.sent[f"r-{n}"] = time.monotonic()
        self.producer.produce(self.requests, json.dumps(value), f"o-{n}")

    def burst(self, count):
        for n in range(count):
            self.one()
            if n % 1000 == 0:
                self.producer.poll(0)
        self.producer.flush(60)

    def mark(self):
        """Where a window of requests begins: for window()."""
        return self.number

    def window(self, first, seconds=90):
        """Waits until each request after `first` has its result, a moment longer for second ones, and says what became of them."""
        ids = [f"r-{n}" for n in range(first + 1, self.number + 1)]
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(i in self.results for i in ids):
            time.sleep(0.2)
        time.sleep(1)
        return Window(ids, self.sent, self.results)

    def close(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(5)
        self.producer.flush(10)
        self.consumer.close()


class Window:
    """What became of some requests. longest: the longest that one waited for its result, in seconds; held: how many waited over 2 s."""

    def __init__(self, ids, sent, results):
        self.count = len(ids)
        self.lost = [i for i in ids if i not in results]
        self.twice = [i for i in ids if len(results.get(i, ())) > 1]
        self.statuses = collections.Counter(results[i][0][1] for i in ids if i in results)
        self.codes = collections.Counter(results[i][0][2] for i in ids if i in results and results[i][0][2])
        waits = [results[i][0][0] - sent[i] for i in ids if i in results]
        self.longest = max(waits, default=0.0)
        self.held = sum(w > 2 for w in waits)
        self.unknown = self.statuses["unknown"]

    def __str__(self):
        return (f"{self.count} requests: lost {len(self.lost)}, twice {len(self.twice)}, "
                + ", ".join(f"{s} {n}" for s, n in sorted(self.statuses.items()))
                + f"; longest wait {self.longest:.1f} s, {self.held} waited over 2 s"
                + (f"; {dict(self.codes)}" if self.codes else ""))
