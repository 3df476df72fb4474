"""Kafka is away for longer than the session while two workers are at work: both lose what they have, hand it over when Kafka is back,
and nothing is lost, in doubt or called twice."""
import signal
import time

from case import KafkaCase, ProgramCase, load, main, wait_until
from confluent_kafka.admin import AdminClient
from programs import Worker
from records import QUIET, call, zipf_keys

EVENTS = load(3000)


class Outage(KafkaCase):
    BROKERS = 1
    WORKERS = 2
    SESSION = {"kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None}  # the defaults: so long they may hand over
    STATIC = False

    def begin(self, latency="30-300ms"):
        self.platform = self.sandbox(f"latency={latency}")
        for number, key in enumerate(zipf_keys(EVENTS, keys=1000, exponent=0.6)):
            self.requests.send(call(number, key), key)
        self.sent = self.requests.flush()
        names = [f"worker{n}" for n in range(self.WORKERS)]
        self.workers = [self.worker(self.platform, {"platform.max.in.flight": load(16), **self.SESSION,
                                                    "kafka.group.instance.id": name if self.STATIC else None}, name=name)
                        for name in names]
        for worker in self.workers:
            worker.wait_assigned()
        self.platform.wait_calls(EVENTS // 5)

    def finish(self):
        results = self.results(EVENTS, seconds=180)
        self.check_run(self.sent, results, self.platform)
        self.assertEqual({"succeeded": EVENTS}, self.statuses(results))
        self.wait_idle()
        for worker in self.workers:
            self.assertEqual(0, worker.terminate())

    def test_killed_until_all_is_lost(self):
        self.begin()
        self.kafka.kill()
        try:
            for worker in self.workers:
                worker.wait_log("^lost: [1-9]", 90)
        finally:
            self.kafka.restart()
        self.finish()
        for worker in self.workers:
            worker.wait_log("^lost partitions are left to the group", 1)


class OutageOfStaticMembers(Outage):
    """librdkafka forgets the member ids, and its heartbeats without them fence the consumers."""
    SESSION = {"kafka.session.timeout.ms": "15000", "kafka.heartbeat.interval.ms": "1000",
               "kafka.partition.assignment.strategy": "range"}
    STATIC = True


class NoBroker(ProgramCase):
    def test_said_once(self):
        """All clients of both jobs see that the broker refuses connections: one line, and what follows from it is none."""
        sandbox = self.sandbox()
        worker = self.keep(Worker(self.directory, "127.0.0.1:1", sandbox.url, sandbox.ca))
        worker.wait_log("Connection refused")
        until = time.monotonic() + 8  # each client has tried by then, also those that only read
        while time.monotonic() < until:
            self.assertEqual(503, worker.get("/readyz")[0])
            time.sleep(0.05)
        self.assertRegex(worker.get("/readyz")[1], "^not in the group, as no broker answers: .*Connection refused")
        said = [e["message"] for e in worker.events() if e["log.level"] in ("warn", "error")]
        self.assertEqual(1, len(said), said)
        self.assertIn("127.0.0.1:1", said[0])
        self.assertEqual(0, worker.terminate())


class StopWithoutASession(KafkaCase):
    BROKERS = 1
    PROXIED = True

    def test_back_in_time(self):
        """A worker is told to stop while it cannot reach Kafka, and the group removes it meanwhile: it joins again, and publishes what
        it knows."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        platform = self.sandbox("latency=3s")
        worker = self.worker(platform, {"kafka.bootstrap.servers": self.kafka.proxied_bootstrap, "drain.timeout.ms": "90000",
                                        "kafka.transaction.timeout.ms": "60000"})
        sent = self.requests.send_calls(range(self.PARTITIONS), partitions=self.PARTITIONS)
        platform.wait_calls(self.PARTITIONS)
        self.kafka.network.hold()
        worker.signal(signal.SIGTERM)
        worker.wait_log("^lost: [1-9]", 60)
        wait_until(lambda: [len(group.members) for group in admin.list_groups(self.group, 20)] == [0], 60, "the group has removed it")
        self.kafka.network.cut()
        self.kafka.network.release()
        self.assertEqual(0, worker.wait())
        results = self.results(self.PARTITIONS)
        self.assertEqual({"succeeded": self.PARTITIONS}, self.statuses(results))
        self.check_run(sent, results, platform)
        self.assertEqual([], self.outlived(worker))


class TakenOverMeanwhile(KafkaCase):
    BROKERS = 1
    PROXIED = True

    def test_told(self):
        """A worker that cannot reach Kafka loses its partitions to another one: it does not say that nothing of them becomes unknown."""
        platform = self.sandbox("latency=3s")
        session = {"kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": "500"}
        away = self.worker(platform, {**session, "kafka.bootstrap.servers": self.kafka.proxied_bootstrap}, name="away").wait_assigned()
        self.requests.send(call(0), "k0")
        self.requests.flush()
        platform.wait_calls(1)
        self.kafka.network.hold()
        away.wait_log("^lost: [1-9]", 60)
        self.worker(platform, session, name="successor")
        self.assertEqual({"unknown": 1}, self.statuses(self.results(1)))
        self.kafka.network.cut()
        self.kafka.network.release()
        said = away.wait_log("lost partitions (are left|could not)|has taken over .* lost partitions", 60)
        self.assertRegex(said["message"], "unknown$")
        self.assertEqual("warn", said["log.level"], said["message"])


if __name__ == "__main__":
    main()
