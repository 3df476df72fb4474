"""How a scenario of the chaos suite begins and ends: load with Zipf keys, a platform that records every POST, workers, and at the end the
figures. What is read back is read by clients of the test's own, read_committed."""
import inspect
import json
import os
import random
import signal
import threading
import time

from case import KafkaCase, wait_until
from confluent_kafka import Consumer, KafkaException, TopicPartition
from findings import BAD, Death, astray, findings, place, started, unexplained
from programs import ROOT, Worker
from records import QUICK, QUIET, Requests, Topic, call, ends, zipf_keys
from report import line, write

LONG = os.environ.get("CHAOS") == "long"
REPORT = os.environ.get("CHAOS_REPORT")
RATE = 60 if LONG else 40  # requests a second
LATENCY = (20, 100)  # of the platform, in ms
ONCE = {"enable.idempotence": False, "retries": 0, **QUICK}  # a producer that numbers its records is of no more use when brokers lose count
SHIPPED = {"kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None}  # the worker's own defaults


class Load(threading.Thread):
    """Sends requests at a steady rate until end(), to any order id, few of them often. None is sent again: what becomes of those
    that Kafka does not acknowledge, their topic tells. first: the first one's number; rate: in a second."""

    def __init__(self, bootstrap, topic, first=0, rate=RATE):
        super().__init__(daemon=True)
        self.first, self.rate = first, rate
        self.writers, self.problem = [Requests(bootstrap, topic, **ONCE)], None
        self.bootstrap, self.topic = bootstrap, topic
        self.ended = threading.Event()
        self.keys = zipf_keys(200000, keys=1000, exponent=0.7)
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            for number, key in enumerate(self.keys):
                if self.ended.wait(max(0, began + number / self.rate - time.monotonic())):
                    return
                self._send(call(self.first + number, key), key)
        except Exception as problem:
            self.problem = problem

    def _send(self, value, key):
        try:
            self.writers[-1].send(value, key)
        except KafkaException:  # a producer that has lost count of its records, as when all brokers were killed, can only be replaced
            self.writers.append(Requests(self.bootstrap, self.topic, **ONCE))

    def end(self):
        """The messages that Kafka has acknowledged."""
        self.ended.set()
        self.join()
        if self.problem:
            raise self.problem
        for writer in self.writers:
            writer.producer.flush(60)
        sent = [message for writer in self.writers for message in writer.sent]
        # Without an offset: librdkafka has concluded from the acknowledgement of a later one that this one was taken, too.
        return [message for message in sent if message.offset() is not None]


class Scenario(KafkaCase):
    """Each test of a subclass is a scenario; when all of all subclasses that were loaded have a line, the report is written."""

    rows = []

    @classmethod
    def tearDownClass(cls):
        classes = Scenario.__subclasses__()
        scenarios = [name for each in classes for name in vars(each) if name.startswith("test_")]
        if REPORT and len(cls.rows) == len(scenarios):
            write(REPORT, f"{ROOT}/README.md", sorted(cls.rows, key=lambda row: row["line"]))

    def begin(self, platform_timeout="4000", launcher=(), rate=RATE, latency=LATENCY, **more):
        self.began, self.launcher = time.monotonic(), launcher
        self.random = random.Random(self.id())
        self.deaths, self.overlaps = [], 0
        self.before = {"results": 0, "calls": 0}  # of a topic that was deleted
        self.platform = self.sandbox(self.latency(*latency), **more)
        self.options = {"platform.max.in.flight": "32", "platform.timeout.ms": platform_timeout, "call.max.age.ms": "0",
                        "call.deadline.ms": "0", "platform.breaker.open.ms": "500"}
        self.stable = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False, **QUIET})
        self.addCleanup(self.stable.close)
        self.topic("dead.letters")  # is read from now on
        self.committed = None
        self.sent, self.past = [], []
        self.go_on(rate)

    def go_on(self, rate=RATE):
        """Requests come (again)."""
        self.load = Load(self.bootstrap, self.names["call.requests"], first=1000000 * len(self.past), rate=rate)
        self.addCleanup(self.load.ended.set)

    def pause(self, seconds=60):
        """No more requests come, and all that have come are answered."""
        self.past.append(self.load)
        self.sent += self.load.end()
        self.wait_idle(seconds=seconds)

    def forget(self):
        """All requests so far are checked, and count no more: their topic is about to be deleted."""
        requests = self.read_requests()
        results = self.all_results()
        found = findings(self.group, requests, results, self.platform.calls()[self.before["calls"]:])
        self.assertEqual({}, {what: items for what, items in found.items() if items})
        self.before = {"results": len(self.topic("call.results").messages), "calls": len(self.platform.calls())}
        self.sent = []

    def read_requests(self):
        count = sum(ends(self.bootstrap, self.names["call.requests"]).values())
        topic = Topic(self.bootstrap, self.names["call.requests"])
        self.addCleanup(topic.close)
        return {(m.partition(), m.offset()): m for m in topic.read(count)}

    @staticmethod
    def latency(least=LATENCY[0], most=LATENCY[1]):
        return f"latency={least}-{most}ms"

    def start(self, name, options):
        return self.worker(self.platform, {**self.options, **options}, name=name, launcher=self.launcher)

    def start_all(self, *names, **options):
        """So many workers, and each owns partitions and has begun to work."""
        workers = [self.start(name, options) for name in names]
        self.wait_owners(*names)
        return workers

    def wait_owners(self, *names):
        wait_until(lambda: set(names) <= set(self.owners()), 60, f"{names} own partitions")
        self.progress(20)

    def alive(self):
        return [p for p in self.programs if isinstance(p, Worker) and p.alive()]

    def progress(self, posts, seconds=90):
        """Waits for so many more POSTs."""
        self.platform.wait_calls(len(self.platform.calls()) + posts, seconds)

    def ledgers(self):
        """The ledgers as they are committed, {partition: (offset, metadata)}. What a transaction is about to commit is not in
        them."""
        if not self.committed:
            self.committed = self.offsets()
        return self.committed.read(self.names["call.requests"], range(self.PARTITIONS))

    def die(self, worker, how):
        """Kills, freezes or cuts it off, and remembers what it had started by then: by the ledgers, read once more when a
        commit that was under way has landed, if it does."""
        now = time.time()
        how(worker)
        found = [self.ledgers()]
        try:
            self.stable.committed([TopicPartition(self.names["call.requests"], p) for p in range(self.PARTITIONS)], timeout=0.5)
        except KafkaException:  # an open transaction, which nobody will commit any more
            pass
        found.append(self.ledgers())
        self.deaths.append(Death(worker.name, now, *found))

    def freeze(self, worker):
        """SIGSTOP while calls of it are under way, by the ledgers in which nothing changes any more. Until that is so it is let go on for
        some calls, and frozen again."""
        deadline = time.monotonic() + 60
        while True:
            self.die(worker, lambda worker: worker.signal(signal.SIGSTOP))
            if any(owner == worker.name and offsets for owner, offsets in (started(*ledger) for ledger in self.ledgers().values())):
                return
            self.deaths.pop()
            worker.signal(signal.SIGCONT)
            self.assertLess(time.monotonic(), deadline, f"{worker.name} never had a call under way")
            self.progress(5)

    def wait_taken_over(self, worker):
        """Waits until no ledger names it."""
        wait_until(lambda: worker.name not in self.owners(), 60, f"{worker.name}'s partitions have another owner")

    def owners(self):
        return [started(*ledger)[0] for ledger in self.ledgers().values()]

    def finish(self, faults, outlived=False):
        """faults: what went wrong, in words, or what tells that of the results. outlived: the workers whose calls became unknown have got the platform's answers all the same."""
        scenario = inspect.getdoc(getattr(self, self._testMethodName))
        sent = self.sent + self.load.end()
        requests = self.read_requests()
        keyless = {where for where, m in requests.items() if m.key() is None}
        count = len(requests)
        self.assertLessEqual({(m.partition(), m.offset()) for m in sent}, set(requests), "Kafka has lost requests")
        try:
            self.topic("call.results").read(self.before["results"] + count - len(keyless), 180, 0)
            self.wait_idle(seconds=60)
            workers = self.alive()
            for worker in workers:
                worker.signal(signal.SIGTERM)
            self.assertEqual([0] * len(workers), [worker.wait() for worker in workers])
        finally:
            results = self.all_results()
            found = findings(self.group, {where: m for where, m in requests.items() if where not in keyless}, results, self.platform.calls()[self.before["calls"]:])
            row = {"scenario": scenario, "faults": faults(results) if callable(faults) else faults, "events": count, "results": len(results),
                   **{what: len(found[what]) for what in BAD}}
            row["order violations"] += self.overlaps + self.platform.stats()["overlaps"]
            row["unknown"] = self.statuses(results).get("unknown", 0)
            doubt = unexplained(requests, results, self.platform.posts(), self.deaths, LATENCY[1] / 1000)
            row["unexplained"] = len(doubt)
            letters = astray(results, [h for h in self.letters() if not self.take_keyless(keyless, h)],
                             self.answered(requests, results) if outlived else ())
            row["seconds"] = round(time.monotonic() - self.began)
            print("\n" + line(row), flush=True)
        row["line"] = self.BROKERS == 1, getattr(type(self), self._testMethodName).__code__.co_firstlineno
        self.row = row
        self.rows.append(row)
        self.assertEqual({}, {what: items for what, items in {**found, "unexplained": doubt, "dead letters": letters}.items() if items})
        self.assertEqual(set(), keyless, "invalid requests without a key, and without a dead letter")
        self.assertEqual(0, row["order violations"], "calls of one order id ran side by side")
        self.assertLessEqual(set(self.statuses(results)), {"succeeded", "unknown"})
        if any(isinstance(death, Death) for death in self.deaths):
            self.assertGreater(row["unknown"], 0, "nothing was under way at any death")

    def all_results(self):
        results = self.topic("call.results")
        return results.results(len(results.messages), settle=1)[self.before["results"]:]

    @staticmethod
    def take_keyless(keyless, headers):
        """Whether that is the dead letter of one of these; the next one is not."""
        where = int(headers["dlq.partition"]), int(headers["dlq.offset"])
        if headers["dlq.reason"] != "invalid" or where not in keyless:
            return False
        keyless.remove(where)
        return True

    def letters(self):
        """The headers of the dead letters."""
        return [{name: value.decode() for name, value in message.headers() if name.startswith("dlq.")}
                for message in self.topic("dead.letters").read(0, settle=1)]

    def answered(self, requests, results):
        """The places of the results `unknown` whose calls the platform has seen."""
        calls = set(self.platform.calls())
        return [place(r) for r in results if r["status"] == "unknown" and json.loads(requests[place(r)].value())["Caller"] in calls]
