"""How evenly the partitions of each topic are spread over the workers while these join and leave, one by one and together, under load.

SPREAD: the numbers of workers that the table tells of (make spread: 2,3,4,8,12). SPREAD_LATENCY: how long the platform takes.
Asserted is, after each change: each topic is spread as evenly as it can be; only what must move has moved; what has not moved was never
given back, and its results went on. The pauses are told, and beside them the longest one of any partition while nothing changed: what
the machine does by itself.
"""
import atexit
import json
import os
import re
import threading
import time

from case import KafkaCase, main, wait_until
from records import Requests, Topic, call

NUMBERS = [int(number) for number in os.environ.get("SPREAD", "2,3,4").split(",")]
FULL = "SPREAD" in os.environ
LATENCY = os.environ.get("SPREAD_LATENCY", "5-15ms")
INTERVAL = 0.1  # seconds between two requests of a partition
CALM = 2  # seconds without any move after which a change is over
PAUSE = 5  # seconds that nothing which stays may stand (longer where others want the processors, too); what moves in turn is told only
JOBS = ("call", "recording")
ROWS = []  # of the table: change, workers, partitions, {job: shares}, moved, longest pause before, of what stayed and of what moved, load


def print_table():
    if not ROWS:
        return
    print("\n| change | then workers | partitions of each topic | calls, and recordings, of each | moved, of both topics | longest pause before the "
          "change | of what stayed | of what moved | load |")
    print("|" + " --- |" * 9)
    for change, workers, partitions, shares, moved, before, stayed, paused, load in ROWS:
        told = {" ".join(map(str, sorted(shares[job], reverse=True))) for job in JOBS}  # one, as either is as even as it can be
        print(f"| {change} | {workers} | {partitions} | {'; '.join(told)} | {moved} | {before:.1f} s | {stayed:.1f} s | "
              f"{'-' if paused is None else f'{paused:.1f} s'} | {load:.1f} |")


class Load(threading.Thread):
    """Requests for both jobs, on every partition, all the time."""

    def __init__(self, bootstrap, names, partitions):
        super().__init__(daemon=True)
        self.requests, self.names, self.partitions = Requests(bootstrap, names["call.requests"]), names, partitions
        self.number, self.ended = 0, threading.Event()

    def run(self):
        while not self.ended.wait(INTERVAL):
            for partition in range(self.partitions):
                self.number += 1
                self.requests.send(call(self.number, f"o{partition}"), f"o{self.number}", partition=partition)
                self.requests.send({"CallIdentifier": f"c{self.number}"}, f"o{self.number}", partition=partition,
                                   topic=self.names["recording.requests"])


class Results(threading.Thread):
    """When each partition had results: {(job, partition): [seconds since 1970]}."""

    def __init__(self, bootstrap, names):
        super().__init__(daemon=True)
        self.topics = {job: Topic(bootstrap, names[f"{job}.results"]) for job in JOBS}
        self.seen, self.ended = {}, threading.Event()

    def run(self):
        while not self.ended.is_set():
            for job, topic in self.topics.items():
                for message in topic.consumer.consume(500, 0.05):
                    partition = json.loads(message.value())["source"]["partition"]
                    self.seen.setdefault((job, partition), []).append(message.timestamp()[1] / 1000)

    def pause(self, place, since, until):
        """The longest time without a result between two moments."""
        times = [since, *sorted(t for t in list(self.seen.get(place, [])) if since <= t <= until), until]
        return max(b - a for a, b in zip(times, times[1:]))


class Spread(KafkaCase):
    RECORDINGS = True

    def setUp(self):
        super().setUp()
        self.platform = self.sandbox(f"latency={LATENCY}")
        self.workers, self.count = [], 0
        self.load, self.results_seen = Load(self.bootstrap, self.names, self.PARTITIONS), Results(self.bootstrap, self.names)
        for loop in (self.load, self.results_seen):
            loop.start()
            self.addCleanup(loop.join, 20)
            self.addCleanup(loop.ended.set)

    def moves(self, worker):
        """What the groups have given to a worker and taken from it, in turn: [(given, {(job, partition)})]."""
        found = []
        for event in worker.events():
            match = re.match(r"(assigned|revoked|lost): \d+ partition\(s\) (.*)", event.get("message", ""))
            if match:
                places = {tuple(place.rsplit("/", 1)) for place in match[2].split(", ")}
                found.append((match[1] == "assigned", {(self.job(topic), int(number)) for topic, number in places}))
        return found

    def job(self, topic):
        return next(job for job in JOBS if self.names[f"{job}.requests"] == topic)

    def held(self, worker):
        held = set()
        for given, places in self.moves(worker):
            held = held | places if given else held - places
        return held

    def owners(self):
        """{(job, partition): name of the worker}, or None while one has no owner, or two."""
        owners = {place: worker.name for worker in self.workers for place in self.held(worker)}
        whole = len(owners) == sum(len(self.held(worker)) for worker in self.workers) == len(JOBS) * self.PARTITIONS
        return owners if whole else None

    def settled(self):
        """Waits until every partition has an owner, and nothing has moved for a while: the owners."""
        since, last = time.monotonic(), None

        def calm():
            nonlocal since, last
            now = [len(self.moves(worker)) for worker in self.workers]
            if now != last or not self.owners():
                since, last = time.monotonic(), now
            return time.monotonic() - since > CALM
        wait_until(calm, 120, lambda: f"every partition has an owner: {[self.held(w) for w in self.workers]}")
        return self.owners()

    def start(self):
        self.count += 1
        # As the defaults are; the tests' own are for other matters.
        options = {"kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None, "log.level": "info"}
        worker = self.worker(self.platform, options, name=f"w{self.count}")
        self.workers.append(worker)
        return worker

    def shares(self, owners):
        return {job: [sum(owner == worker.name for (of, _), owner in owners.items() if of == job) for worker in self.workers]
                for job in JOBS}

    def change(self, what, join=0, leave=0):
        before, began = self.owners(), time.time()
        calm = max(self.results_seen.pause(place, began - CALM, began) for place in before) if before else None
        told = {worker: len(self.moves(worker)) for worker in self.workers}
        left = [self.workers.pop() for _ in range(leave)]
        for worker in left:
            worker.signal(15)
        joined = [self.start() for _ in range(join)]
        for worker in joined:  # before it is in its groups, nothing that it changes can be seen
            wait_until(lambda worker=worker: worker.get("/readyz")[0] == 200, 120, f"{worker.name} is in its groups")
        self.assertEqual([0] * leave, [worker.wait() for worker in left])
        after, until = self.settled(), time.time()
        shares = self.shares(after)
        for job in JOBS:
            self.assertLessEqual(max(shares[job]) - min(shares[job]), 1, f"{what}: {job}s are spread as {shares[job]}")
        if not before:
            return
        moved = {place for place in after if before[place] != after[place]}
        names, gone = {worker.name for worker in joined}, {worker.name for worker in left}
        needless = [place for place in moved if after[place] not in names and before[place] not in gone]
        self.assertEqual([], needless, f"{what}: moved though it need not")
        for worker, count in told.items():
            if worker not in left:
                for given, places in self.moves(worker)[count:]:
                    self.assertEqual(set(), set() if given else places - moved, f"{what}: given back and taken again")
        pauses = {place: self.results_seen.pause(place, began, until) for place in after}
        stayed = max((pauses[place] for place in after if place not in moved), default=0)
        paused = max((pauses[place] for place in moved), default=None)
        self.assertLess(stayed, PAUSE * max(1, os.getloadavg()[0] / os.cpu_count()), f"{what}: what stays has paused")
        if len(self.workers) in NUMBERS or leave > 1:
            ROWS.append((what, len(self.workers), self.PARTITIONS, shares, len(moved), calm, stayed, paused, os.getloadavg()[0]))

    def stop_all(self):
        self.load.ended.set()
        for worker in self.workers:
            worker.signal(15)
        self.assertEqual([0] * len(self.workers), [worker.wait() for worker in self.workers])

    def one_by_one(self):
        self.change("the first", join=1)
        while len(self.workers) < max(NUMBERS):
            self.change("one joins", join=1)
        while len(self.workers) > 1:
            self.change("one leaves", leave=1)
        self.stop_all()

    def together(self):
        self.change("the first", join=1)
        for number in NUMBERS if FULL else NUMBERS[-1:]:
            self.change("one joins" if number == 2 else f"{number - 1} join together", join=number - 1)
            for left in ((number + 1) // 2, 1) if number > 2 else (1,):
                leave = len(self.workers) - left
                self.change("one leaves" if leave == 1 else f"{leave} leave together", leave=leave)
        self.stop_all()


class Eight(Spread):
    PARTITIONS = 8

    def test_one_by_one(self):
        self.one_by_one()

    if FULL:
        def test_together(self):
            self.together()


class Twelve(Spread):
    PARTITIONS = 12

    if FULL:
        def test_one_by_one(self):
            self.one_by_one()

    def test_together(self):
        self.together()


if __name__ == "__main__":
    atexit.register(print_table)
    main()
