"""A broker that is stopped, killed or frozen: nothing is lost, nothing is in doubt, nothing is called twice."""
import glob
import re

from case import BUILD, KafkaCase, load, main, wait_until
from records import call, caller, create_topics, delete_topic, zipf_keys
from wall import wall_needed

EVENTS = load(1500)


class Overloaded(KafkaCase):
    @wall_needed
    def test_librdkafka_without_cpu(self):
        """A commit that takes long, because librdkafka's main thread gets no CPU, is not made again: else a step's result counts for the
        next one, and librdkafka ends the process in the end. (test_kafka_late has that end.)"""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"platform.max.in.flight": "8"}, environment={"LD_PRELOAD": f"{BUILD}/tests/late.so"})
        worker.wait_assigned(60)
        sent = self.requests.send_calls(range(500))
        self.check_run(sent, self.results(len(sent), seconds=120), sandbox)
        self.assertEqual([], [e["message"] for e in worker.events() if "Operation not valid" in e["message"]])
        self.assertEqual(0, worker.terminate(60))


class BrokerTrouble(KafkaCase):
    BROKERS = 1

    def begin(self, **options):
        self.platform = self.sandbox("latency=20-60ms")
        for number, key in enumerate(zipf_keys(EVENTS, keys=500, exponent=0.6)):
            self.requests.send(call(number, key), key)
        self.sent = self.requests.flush()
        # Long enough for a broker that starts on a busy machine: one that is away for longer than the session ends it.
        session = {"kafka.session.timeout.ms": "120000", "kafka.heartbeat.interval.ms": "3000", "kafka.transaction.timeout.ms": "240000"}
        self.process = self.worker(self.platform, {**session, "platform.max.in.flight": load(32), **options})
        self.platform.wait_calls(EVENTS // 3)

    def finish(self):
        results = self.results(EVENTS, seconds=120)
        self.check_run(self.sent, results, self.platform)
        self.assertEqual({"succeeded": EVENTS}, self.statuses(results))
        self.wait_idle()
        self.assertEqual(0, self.process.terminate())

    def test_killed(self):
        self.begin()
        self.kafka.kill()
        self.process.wait_log(lambda e: e["log.level"] in ("warn", "error") and "127.0.0.1" in e.get("message", ""))
        self.kafka.restart()
        self.finish()

    def test_stopped(self):
        self.begin()
        self.kafka.stop()
        self.kafka.restart()
        self.finish()

    def test_away_for_longer_than_the_session(self):
        """The assignment is lost, and comes back to who had it: what was under way is answered, what was not dialled is dialled."""
        self.begin(**{"kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": None, "kafka.transaction.timeout.ms": "60000"})
        self.kafka.kill()
        try:
            self.process.wait_log("^lost: [1-9]", 60)
        finally:
            self.kafka.restart()
        self.finish()

    def test_topic_made_again_after_a_restart(self):
        """Newer versions of librdkafka know how often a partition has changed its leader, and ignore what is older. The new topic's
        partitions have not changed theirs yet."""
        def call_some(first):
            self.requests.send_calls(range(first, first + 20))
            self.assertEqual({"succeeded": first + 20}, self.statuses(self.results(first + 20)))
        worker = self.worker(self.sandbox(), {"kafka.session.timeout.ms": "60000", "kafka.transaction.timeout.ms": "120000",
                                              "kafka.socket.timeout.ms": "5000"}).wait_assigned()
        call_some(0)
        for first in (20, 40):
            self.kafka.stop()
            self.kafka.restart()
            call_some(first)
        delete_topic(self.bootstrap, self.names["call.requests"])
        create_topics(self.bootstrap, {self.names["call.requests"]: self.PARTITIONS})
        call_some(60)
        self.assertEqual(0, worker.terminate())

    def test_away_while_nothing_is_asked_for(self):
        """An idle worker repeats nothing that fails, and its absence from the group has a reason. It is told all the same."""
        worker = self.worker(self.sandbox(), {"kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": "1000",
                                              "kafka.transaction.timeout.ms": "60000", "drain.timeout.ms": "1000"}).wait_assigned()
        self.requests.send(call(0), "a")
        self.requests.flush()
        self.results(1)
        self.wait_idle()
        self.kafka.kill()
        try:
            wait_until(lambda: "\nprivacy_call_kafka_failing 1\n" in worker.get("/metrics")[1], 90, "the metric tells")
            self.assertEqual(503, worker.get("/readyz")[0])
            worker.wait_log(lambda e: e["log.level"] == "error" and "does not take this worker in: its coordinator is not found" in e["message"], 60)
        finally:
            self.kafka.restart()
        wait_until(lambda: worker.get("/readyz")[0] == 200, 60, "ready again")
        self.assertIn("\nprivacy_call_kafka_failing 0\n", worker.get("/metrics")[1])
        self.assertEqual(0, worker.terminate())

    def test_batch_damaged_on_its_disk(self):
        """Nobody is dialled with wrong digits: the partition halts."""
        right, wrong = "13933334444", "13933334449"
        for partition in range(2):
            self.requests.send(call(partition, Callee=right), f"k{partition}", partition=partition)
        self.requests.flush()
        [segment] = glob.glob(f"{self.kafka.directory}/1/data/{self.names['call.requests']}-0/*.log")
        with open(segment, "r+b") as file:
            at = file.read().index(right.encode())
            file.seek(at)
            file.write(wrong.encode())
        platform = self.sandbox()
        worker = self.worker(platform)
        said = worker.wait_log(lambda e: e["log.level"] == "error" and "is halted" in e["message"], 60)
        self.assertEqual(0, said["kafka.partition"])
        self.assertEqual(1, len(self.results(1)))
        self.assertEqual([caller(1)], platform.calls())
        self.assertEqual(0, worker.terminate())

    def test_over_its_quota(self):
        """Everything works, but late, and only the worker's own client sees why."""
        platform = self.sandbox()
        worker = self.worker(platform, {"instance.id": "over-its-quota"}).wait_assigned()
        self.kafka.set_quota("over-its-quota", producer_byte_rate=4000)
        sent = self.requests.send_calls(range(100))
        worker.wait_log(lambda e: e["log.level"] == "warn" and "delays the producer of client.id over-its-quota by " in e["message"], 60)
        self.check_run(sent, self.results(len(sent), seconds=120), platform)
        self.assertGreater(int(re.search(r'\nprivacy_call_kafka_throttles_total (\d+)\n', worker.get("/metrics")[1])[1]), 0)
        self.assertEqual(0, worker.terminate())

    def test_stop_while_it_is_down_and_nothing_is_left(self):
        platform = self.sandbox()
        worker = self.worker(platform)
        self.requests.send(call(1), "k")
        self.requests.flush()
        self.results(1)
        self.wait_idle()
        self.kafka.kill()
        try:
            self.assertEqual(0, worker.terminate())
        finally:
            self.kafka.restart()

    def test_stop_while_it_is_down_and_a_result_is_left(self):
        platform = self.sandbox("latency=2s")
        worker = self.worker(platform, {"drain.timeout.ms": "5000"})
        self.requests.send(call(1), "k")
        sent = self.requests.flush()
        platform.wait_calls(1)
        self.kafka.kill()
        try:
            self.assertEqual(1, worker.terminate())
        finally:
            self.kafka.restart()
        worker = self.worker(platform)
        results = self.results(1)
        self.assertEqual("unknown", results[0]["status"])
        self.check_run(sent, results, platform)
        self.assertEqual(0, worker.terminate())

    def test_started_before_kafka(self):
        """The worker waits for a Kafka that is not there yet, and says so."""
        self.kafka.stop()
        platform = self.sandbox()
        try:
            worker = self.worker(platform)
            worker.wait_log(lambda e: e["log.level"] in ("warn", "error") and "127.0.0.1" in e.get("message", ""))
        finally:
            self.kafka.restart()
        self.requests.send(call(1), "k")
        self.requests.flush()
        self.assertEqual("succeeded", self.results(1)[0]["status"])
        self.assertEqual(0, worker.terminate())

    def test_frozen(self):
        self.begin()
        self.kafka.pause()
        try:
            self.platform.wait_calls(0)
            self.process.wait_log(lambda e: e["log.level"] in ("warn", "error"), seconds=90)
        finally:
            self.kafka.resume()
        self.finish()


if __name__ == "__main__":
    main()
