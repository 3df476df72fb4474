#!/usr/bin/python3
"""Keeps a worker busy for long, against the sandbox, and tells whether its resident memory grows.

usage: soak.py BUILD_DIRECTORY MINUTES [SLOTS]

All of the worker's SLOTS (256, the default of platform.max.in.flight) are busy all the time, as 12 to 16 requests for each of them
always wait: some of them break the rules, some calls are refused, break off, are answered with an error or not at all, recordings are
among them and are kept, and the pages are asked for as a monitoring does. At the end every request must have had its one result. The memory's slope is fitted by least squares to one sample a second, from
minute 3 on (or of a shorter run the last four fifths) and for the second half, as the allocator's pools take some minutes to settle; if
that of the second half is above the limit, the exit status is 1. A run below 10 minutes only tells.
"""
import ctypes
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
if len(sys.argv) < 3:
    sys.exit(__doc__)
os.environ["BUILD_DIR"] = os.path.abspath(sys.argv[1])

from confluent_kafka import Consumer, KafkaException, Producer  # noqa: E402
from programs import Sandbox, Worker, wait_until  # noqa: E402
from records import QUIET, call  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402

WARM_SECONDS, JUDGED_SECONDS = 180, 590
LIMIT_KIB_A_MINUTE = 16
FAULTS = ("latency=50-150ms", "flag=1003@1%", "status=503@0.1%", "reset@0.1%", "reset-before@0.5%", "broken-json@0.1%", "hang@0.02%")
TOPICS = ("call-results", "recording-results")
KEYS, FILES = 3000, 500


def resident(pid):
    """KiB: (all, of that anonymous)."""
    with open(f"/proc/{pid}/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmRSS"].split()[0]), int(lines["RssAnon"].split()[0])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def slope(points):
    """Least squares: y for each x."""
    n, sx, sy = len(points), sum(x for x, _ in points), sum(y for _, y in points)
    return (n * sum(x * y for x, y in points) - sx * sy) / (n * sum(x * x for x, _ in points) - sx * sx)


class Load:
    """Sends requests and reads their results, so that some always wait."""

    def __init__(self, bootstrap):
        self.random = random.Random(1)
        self.sent, self.seen, self.statuses = 0, set(), {}
        self.twice = 0
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, **QUIET})
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "soak-reader", "auto.offset.reset": "earliest",
                                  "isolation.level": "read_committed", "enable.auto.commit": False, **QUIET})
        self.consumer.subscribe(list(TOPICS))

    def waiting(self):
        return self.sent - len(self.seen)

    def send(self, count):
        for _ in range(count):
            self.sent += 1
            key, kind = f"o-{self.random.randrange(KEYS)}", self.random.random()
            if kind < 0.05:
                name = f"{self.random.choice(('', 'json-'))}c{self.sent % FILES}"
                self.producer.produce("recording-requests", json.dumps({"CallIdentifier": name}), key)
            elif kind < 0.06:
                self.producer.produce("call-requests", b"{" * self.random.randrange(2000), key)
            else:
                value = call(self.sent, key, note="x" * self.random.randrange(600))
                self.producer.produce("call-requests", json.dumps(value), key)
        self.producer.flush(30)

    def read(self, seconds):
        for message in self.consumer.consume(2000, seconds):
            if message.error():
                raise KafkaException(message.error())
            value = json.loads(message.value())
            source = value["source"]
            place = source["topic"], source["partition"], source["offset"]
            self.twice += place in self.seen
            self.seen.add(place)
            self.statuses[value["status"]] = self.statuses.get(value["status"], 0) + 1


def run(directory, minutes, slots):
    store = os.path.join(directory, "recordings")
    os.mkdir(store)
    sandbox = Sandbox(directory, FAULTS, kafka=True)
    worker = Worker(directory, sandbox.bootstrap, sandbox.url, sandbox.ca,
                    {"platform.max.in.flight": slots, "log.level": "info", "platform.timeout.ms": "5000", "kafka.session.timeout.ms": "30000",
                     "kafka.heartbeat.interval.ms": "3000", "platform.breaker.failures": "1000", "recording.max.in.flight": "8",
                     "recording.store": store})
    try:
        worker.wait_assigned()
        load, samples = Load(sandbox.bootstrap), []
        begin, cpu, told = time.monotonic(), cpu_seconds(worker.pid), 0
        while (now := time.monotonic() - begin) < 60 * minutes:
            if load.waiting() < 12 * slots:
                load.send(4 * slots)
            if now >= len(samples):
                samples.append((now / 60, *resident(worker.pid)))
            if now >= told:
                told += 15
                for page in ("/metrics", "/status", "/livez"):
                    assert worker.get(page)[0] == 200, page
                worker.lines["stderr"] = worker.lines["stderr"][:100]  # of the log, what is waited for stands at its beginning
                if told % 60 == 0:
                    print(f"{now / 60:5.1f} min  {len(load.seen):8} results  {samples[-1][1]:6} KiB resident, {samples[-1][2]} anonymous",
                          flush=True)
            load.read(0.3)
        finish(load, samples, time.monotonic() - begin, cpu_seconds(worker.pid) - cpu, slots)
        status = worker.terminate()
        assert status == 0, f"the worker ended with {status}"
    finally:
        worker.close()
        sandbox.close()
    return verdict(load, samples)


def finish(load, samples, seconds, cpu, slots):
    at_end = len(load.seen)
    wait_until(lambda: load.read(0.3) or load.waiting() <= 0, 120, lambda: f"{load.waiting()} requests are without a result")
    load.read(2)
    print(f"{seconds / 60:.1f} minutes, {slots} slots: {at_end} results, {at_end / seconds:.0f}/s, {cpu / seconds * 100:.0f} % of a core; "
          f"lost {load.sent - len(load.seen)}, twice {load.twice}; {load.statuses}")


def verdict(load, samples):
    warm, half = min(WARM_SECONDS, len(samples) // 5), len(samples) // 2
    whole, second = (slope([sample[:2] for sample in samples[begin:]]) for begin in (warm, half))
    print(f"resident memory: {samples[0][1]} KiB at first, {samples[warm][1]} at {samples[warm][0]:.0f} min, {samples[half][1]} at "
          f"{samples[half][0]:.0f} min, {samples[-1][1]} at the end, most {max(s[1] for s in samples)}; slope {whole:+.1f} KiB/min from "
          f"minute {samples[warm][0]:.0f} on, {second:+.1f} in the second half")
    grows = len(samples) > JUDGED_SECONDS and second > LIMIT_KIB_A_MINUTE
    return load.twice == 0 and load.sent == len(load.seen) and not grows


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(15, b"soak")
    with tempfile.TemporaryDirectory(prefix="soak.") as directory:
        sys.exit(0 if run(directory, float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 256) else 1)
