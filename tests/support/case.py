"""The frame of an integration test: a Kafka, topics of its own, programs that are ended, and the checks that hold for every run."""
import collections
import json
import os
import re
import shutil
import sys
import unittest

import kafka as kafka_module
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from findings import findings
from programs import APP_ID, BUILD, TOKEN, Sandbox, Worker, wait_until
from records import QUIET, Offsets, Requests, Topic, create_topics, ends
from schemas import check_dead_letter

SKIPPED = 77  # the exit status that ctest takes as "skipped"


def load(events):
    """A test's number of events, times TEST_LOAD: builds with a sanitizer are slow."""
    return max(1, round(events * float(os.environ.get("TEST_LOAD", "1"))))


def main():
    """Runs the tests of the file that was started. Skipped tests are failures when CI=true."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    if result.skipped:
        for test, why in result.skipped:
            print(f"*** SKIPPED {test}: {why}", file=sys.stderr)
        if os.environ.get("CI") == "true":
            print("*** CI=true: skipped tests count as failed", file=sys.stderr)
            sys.exit(1)
    if not result.wasSuccessful() or not result.testsRun:
        sys.exit(1)
    sys.exit(SKIPPED if len(result.skipped) == result.testsRun else 0)


def line_with(pattern, text):
    """The first line in which the pattern is found. (A pattern with .* before it would be tried anew at each character of each line.)"""
    found = re.search(pattern, text)
    return found and text[text.rfind("\n", 0, found.start()) + 1:].split("\n", 1)[0]


class ProgramCase(unittest.TestCase):
    """A directory for each test (kept when it fails) and programs that end with it."""

    def setUp(self):
        self.directory = os.path.join(BUILD, "tests", "runs", self.id().replace("__main__.", ""))
        shutil.rmtree(self.directory, ignore_errors=True)
        os.makedirs(self.directory)
        self.programs = []
        self.addCleanup(self._clean)

    def keep(self, program):
        self.programs.append(program)
        return program

    def sandbox(self, *faults, **more):
        return self.keep(Sandbox(self.directory, faults, **more))

    def _clean(self):
        for program in reversed(self.programs):
            program.close()
        try:
            for program in self.programs:
                self._check_words(program)
        except AssertionError:
            print(f"what the programs wrote is kept in {self.directory}", file=sys.stderr)
            raise
        result = self._outcome.result
        if any(self in (test, getattr(test, "test_case", None)) for test, _ in result.failures + result.errors):
            print(f"what the programs wrote is kept in {self.directory}", file=sys.stderr)
            self._tell_complaints()
        elif not os.environ.get("KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def _tell_complaints(self):
        """What the workers complained of last: whoever reads this may not have what is kept."""
        for worker in (p for p in self.programs if isinstance(p, Worker)):
            for line in [line for line in worker.lines["stderr"] if re.search(r'"log.level": ?"(warn|error)"', line)][-10:]:
                print(f"{worker.name}: {line[:600]}", file=sys.stderr)

    def _check_words(self, program):
        """No sanitizer's report, and no secret and no whole phone number in what the worker wrote."""
        text = "\n".join(program.lines["stderr"])
        report = line_with("ERROR: AddressSanitizer|LeakSanitizer|WARNING: ThreadSanitizer|runtime error:", text)
        self.assertIsNone(report, f"{program.name}: {report}")
        if isinstance(program, Worker):
            self.assertNotIn(TOKEN, text, "the token stands in the log")
            leak = line_with(r"Authorization: \S+|sig=[0-9A-F]{32}|(?<![\d.])1[3-9]\d{9}(?!\d)", text)
            self.assertIsNone(leak, f"{program.name} logs a secret: {leak}")


class KafkaCase(ProgramCase):
    """Tests against Apache Kafka. BROKERS > 0: one of the class's own, to be stopped and killed."""

    BROKERS = 0
    SETTINGS = None  # more of its brokers' server.properties
    PROXIED = False  # whether each of its brokers can be reached through a proxy, too
    PARTITIONS = 8
    RECORDINGS = False  # whether workers take recording requests, too, in a group of their own

    @classmethod
    def setUpClass(cls):
        cls.kafka = None
        fixture = os.environ.get("KAFKA_FIXTURE")
        shared = kafka_module.state(fixture) if fixture and not cls.BROKERS else None
        try:
            if shared and "unavailable" in shared:
                raise kafka_module.Unavailable(shared["unavailable"])
            if shared:
                cls.bootstrap = shared["bootstrap"]
                return
            directory = os.path.join(BUILD, "tests", "runs", f"kafka-{cls.__name__}")
            shutil.rmtree(directory, ignore_errors=True)
            cls.kafka = kafka_module.Kafka(directory, cls.BROKERS or 1, proxied=cls.PROXIED, settings=cls.SETTINGS).start()
            cls.bootstrap = cls.kafka.bootstrap
            cls.addClassCleanup(cls.kafka.close)
        except kafka_module.Unavailable as why:
            raise unittest.SkipTest(f"no Apache Kafka here: {why}") from None

    def setUp(self):
        super().setUp()
        self.prefix = f"{type(self).__name__}.{self._testMethodName}.{os.getpid()}"[-120:]
        self.group = f"{self.prefix}.group"
        self.names = {role: f"{self.prefix}.{role.replace('.', '-')}" for role in
                      ("call.requests", "call.results", "recording.requests", "recording.results", "dead.letters")}
        self.create_topics()
        self.requests = Requests(self.bootstrap, self.names["call.requests"])
        self.opened, self.asked = {}, 0

    def create_topics(self, **more):
        create_topics(self.bootstrap, {name: 1 if role == "dead.letters" else self.PARTITIONS for role, name in self.names.items()}, **more)

    def worker(self, sandbox, options=None, **more):
        """A worker on this test's topics."""
        settings = {f"topic.{role}": name for role, name in self.names.items()}
        settings["kafka.group.id"] = self.group
        if not self.RECORDINGS:
            settings["topic.recording.requests"] = ""
        settings.update(options or {})
        return self.keep(Worker(self.directory, self.bootstrap, more.pop("url", None) or sandbox.url,
                                more.pop("ca", None) or sandbox.ca, settings, **more))

    def topic(self, role):
        if role not in self.opened:
            self.opened[role] = Topic(self.bootstrap, self.names[role])
            self.addCleanup(self.opened[role].close)
        return self.opened[role]

    def results(self, count, seconds=120, settle=0.5, role="call.results"):
        """So many results, and no more of them."""
        results = self.topic(role).results(count, seconds, settle)
        self.assertEqual(count, len(results), "there are more results than requests")
        return results

    def ask(self, *identifiers, settle=0.5):
        """Asks for recordings: all results so far by CallIdentifier, when there are as many as have been asked for."""
        for identifier in identifiers:
            self.requests.send({"CallIdentifier": identifier}, identifier, topic=self.names["recording.requests"])
        self.requests.flush()
        self.asked += len(identifiers)
        return {r["callIdentifier"]: r for r in self.results(self.asked, settle=settle, role="recording.results")}

    def dead_letters(self, count, seconds=30):
        letters = self.topic("dead.letters").read(count, seconds)
        for letter in letters:
            check_dead_letter({k: (v or b"").decode(errors="replace") for k, v in letter.headers()})
        self.assertEqual(count, len(letters))
        return letters

    def offsets(self, role="call.requests"):
        """The committed offsets of the job's group."""
        offsets = Offsets(self.bootstrap, self.group if role == "call.requests" else f"{self.group}-recordings")
        self.addCleanup(offsets.close)
        return offsets

    def wait_in_sync(self):
        """Waits until each replica of each partition is in sync."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})

        def in_sync():
            try:
                topics = admin.list_topics(timeout=10).topics.values()
            except KafkaException:
                return False  # no broker answers
            return all(len(p.isrs) == len(p.replicas) for t in topics for p in t.partitions.values())
        wait_until(in_sync, 90, "all replicas are in sync")

    def wait_idle(self, role="call.requests", seconds=30):
        """Waits until the group has committed each partition's end."""
        want = ends(self.bootstrap, self.names[role])
        offsets = self.offsets(role)

        def committed():
            found = {p: max(o, 0) for p, (o, _) in offsets.read(self.names[role], list(want)).items()}
            return all(found[p] >= end for p, end in want.items())
        wait_until(committed, seconds, lambda: f"committed offsets at the ends {want}, but they are "
                                               f"{offsets.read(self.names[role], list(want))}")

    # What holds for every run, whatever happened in it

    def check_run(self, sent, results, sandbox, posts_once=True):
        """One result for each request, in order for each key, and no call twice. sent: the requests, all with a key and a
        Caller of their own. Returns {(partition, offset): Caller}."""
        requests = {(m.partition(), m.offset()): m for m in sent}
        found = findings(self.group, requests, results, sandbox.calls())
        if not posts_once:
            del found["second POSTs"]
        self.assertEqual({}, {what: items for what, items in found.items() if items})
        return {place: json.loads(m.value())["Caller"] for place, m in requests.items()}

    def outlived(self, worker):
        """The calls of which a worker has logged that they outlived its hold of their partition: (topic, partition, offset, order id)
        each time."""
        members = ("kafka.topic", "kafka.partition", "kafka.offset", "order.id")
        return sorted(tuple(e.get(m) for m in members) for e in worker.events() if "still under way" in e.get("message", ""))

    def places(self, results):
        """The same of results."""
        return sorted((*(r["source"][m] for m in ("topic", "partition", "offset")), r["orderId"]) for r in results)

    def statuses(self, results):
        return dict(collections.Counter(r["status"] for r in results))


__all__ = ["APP_ID", "BUILD", "TOKEN", "KafkaCase", "ProgramCase", "load", "main", "wait_until"]
