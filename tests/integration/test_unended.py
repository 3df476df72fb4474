"""A coordinator that could not write a transaction's end, as too few replicas were in sync, and then tries again only when another
transaction wakes it, or after 30 s: a worker wakes it itself."""
import glob
import re
import time

from case import KafkaCase, main, wait_until
from confluent_kafka import Producer
from records import QUIET, call, ends, set_topic

AS_MADE = {"cleanup_policy": "compact", "segment_bytes": 104857600}  # of Kafka's own topics
SOON = 20  # seconds: what waits for the coordinator takes up to 30, and more while the machine is busy


class Unended(KafkaCase):
    BROKERS = 3
    PARTITIONS = 1

    def setUp(self):
        super().setUp()
        self.platform = self.sandbox()

    def tearDown(self):
        if not self.kafka.alive(3):
            self.kafka.restart(3)

    def need(self, replicas, topic):
        set_topic(self.bootstrap, topic, min_insync_replicas=replicas, **(AS_MADE if topic.startswith("__") else {}))

    def wait_brokers_say(self, what):
        """what: a regular expression."""
        def said():
            for name in glob.glob(f"{self.kafka.directory}/*/server.log"):
                with open(name, errors="replace") as log:
                    if re.search(what, log.read()):
                        return True
            return False
        wait_until(said, 60, what)

    def refuse_end(self, topic):
        """A transaction of w's has been ended, whose marker for this topic waits for a third replica: then it is written, but the end of
        it all is not, and the coordinator sleeps."""
        self.need(3, "__transaction_state")
        self.need(2, topic)
        self.wait_brokers_say(rf"Not available to append PendingCompleteTxn\(transactionalId={self.group}:w,")
        self.need(2, "__transaction_state")

    def check_soon(self, worker, began):
        self.assertLess(time.monotonic() - began, SOON, "as long as the coordinator sleeps")
        worker.wait_log("the coordinator has not ended the last transaction", 1)

    def test_start(self):
        aside = self.names["recording.results"]
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": f"{self.group}:w", **QUIET})
        producer.init_transactions(60)
        producer.begin_transaction()
        producer.produce(aside, b"any")
        producer.flush(60)
        self.kafka.stop(3)  # two are left
        self.need(3, aside)
        producer.commit_transaction(60)
        self.refuse_end(aside)
        self.requests.send(call(1), "k")
        sent = self.requests.flush()
        began = time.monotonic()
        worker = self.worker(self.platform, name="w")
        results = self.results(1, seconds=60)
        self.check_soon(worker, began)
        self.check_run(sent, results, self.platform)
        self.assertEqual(0, worker.terminate())

    def test_next_transaction(self):
        results, letters = self.names["call.results"], self.names["dead.letters"]
        self.topic("dead.letters")
        self.requests.send(b"no request", "k")
        self.requests.flush()
        self.kafka.stop(3)
        self.need(3, letters)
        worker = self.worker(self.platform, name="w")
        # The transaction waits for the dead letter, and has the result.
        self.wait_brokers_say(rf"Error processing append operation on partition \S*{letters}-0")
        wait_until(lambda: ends(self.bootstrap, results)[0], 60, "the result is written")
        self.need(3, results)
        self.need(2, letters)
        self.wait_brokers_say(f"Sending {self.group}:w's transaction marker for partition {results}-0 has failed")
        self.refuse_end(results)
        began = time.monotonic()
        self.requests.send(call(1), "k")
        self.requests.flush()
        self.assertEqual(["invalid", "succeeded"], [r["status"] for r in self.results(2, seconds=60)])
        self.check_soon(worker, began)
        self.dead_letters(1)
        self.assertEqual(1, len(self.platform.calls()))
        self.assertEqual(0, worker.terminate())


if __name__ == "__main__":
    main()
