"""The committed offset and its metadata: what is unreadable halts its partition, what is empty is a base, what is there is obeyed."""
import zlib

from case import KafkaCase, main, wait_until
from records import Requests, call, caller, create_topics, delete_topic


def ledger(base, body, sequence="1", owner=""):
    """Metadata with a checksum that is right."""
    checksum = zlib.crc32(f"pcw1:{base}:{sequence}:{owner}:{body}".encode())
    return f"pcw1:{sequence}:{owner}:{checksum:08x}:{body}"


class Ledger(KafkaCase):
    PARTITIONS = 4

    def send_to_each(self, count=5, first=0):
        for number in range(count * self.PARTITIONS):
            partition = number % self.PARTITIONS
            self.requests.send(call(first + number, f"k{number}"), f"k{number}", partition=partition)
        return self.requests.flush()

    def unreadable(self, metadata):
        offsets = self.offsets()
        offsets.commit(self.names["call.requests"], 1, 0, metadata)
        sandbox = self.sandbox()
        sent = self.send_to_each()
        worker = self.worker(sandbox)
        results = self.results(15)
        self.assertEqual({0, 2, 3}, {r["source"]["partition"] for r in results})
        event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 1)
        self.assertEqual(self.names["call.requests"], event["kafka.topic"])
        self.assertIn("metadata", event["message"])
        self.assertEqual(15, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())
        self.assertEqual((0, metadata), offsets.read(self.names["call.requests"], [1])[1], "the unreadable ledger was touched")
        offsets.commit(self.names["call.requests"], 1, 0, "")
        worker = self.worker(sandbox)
        results = self.results(20)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 20}, self.statuses(results))
        self.assertEqual(0, worker.terminate())

    def test_somebody_elses_metadata(self):
        self.unreadable("consumed by another program")

    def test_copied_beside_another_offset(self):
        """As MirrorMaker does, which translates the offset and copies the metadata."""
        self.unreadable(ledger(1000, "rsf5d", owner="first-site"))

    def test_what_no_worker_writes(self):
        """Checksums that are right, and states that cannot be: these partitions are halted, the other one goes on."""
        topic, offsets = self.names["call.requests"], self.offsets()
        shapes = {0: ledger(0, "b" + "F" * (4001 - len(ledger(0, "b")))), 1: ledger(0, "b" + "F" * (4096 - len(ledger(0, "b")))),
                  2: ledger(0, "rs999999999999")}
        for partition, metadata in shapes.items():
            offsets.commit(topic, partition, 0, metadata)
        sandbox = self.sandbox()
        self.send_to_each()
        worker = self.worker(sandbox)
        results = self.results(5)
        self.assertEqual({3}, {r["source"]["partition"] for r in results})
        for partition in shapes:
            event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == partition)
            self.assertIn(f"--topic {topic} --partition {partition}`", event["message"])
            self.assertRegex(event["message"], "`privacy-call-worker ledger repair -c [^ ]+ --topic ")
            self.assertIn(f"{topic}/{partition}", event["message"])
        wait_until(lambda: "privacy_call_partitions_halted 3\n" in worker.get("/metrics")[1], 10, "the metric tells")
        status = {p["partition"]: p for p in worker.status()["partitions"]}
        self.assertEqual(["halted"] * 3 + ["active"], [status[p]["state"] for p in range(4)])
        self.assertIn("4001 characters", status[0]["haltReason"])
        self.assertEqual(200, worker.get("/readyz")[0])
        self.assertEqual(5, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())
        said = [e["kafka.partition"] for e in worker.events() if e["log.level"] == "error"]
        self.assertEqual(list(shapes), sorted(said), "each is told once a minute")
        self.assertEqual({p: (0, m) for p, m in shapes.items()}, offsets.read(topic, list(shapes)), "a halted partition was touched")

    def test_marks_beyond_the_log(self):
        """Its metadata tells of requests that the log does not have."""
        offsets = self.offsets()
        offsets.commit(self.names["call.requests"], 1, 3, ledger(3, "rsf5d"))
        sandbox = self.sandbox()
        self.send_to_each()
        worker = self.worker(sandbox)
        event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 1)
        self.assertIn("tells of requests up to 10", event["message"])
        self.assertIn("ledger repair", event["message"])
        self.assertEqual(0, worker.terminate())

    def test_damaged(self):
        """One character of a real ledger is another."""
        sandbox = self.sandbox(f"hang?caller={caller(1)}")
        worker = self.worker(sandbox)
        self.requests.send(call(1), "a", partition=1)
        self.requests.flush()
        sandbox.wait_calls(1)
        offsets = self.offsets()
        offset, metadata = offsets.read(self.names["call.requests"], [1])[1]
        self.assertTrue(metadata.isascii() and metadata.isprintable() and len(metadata) <= 4000, metadata)
        worker.kill()
        damaged = metadata[:-1] + ("A" if metadata[-1] != "A" else "B")
        wait_until(lambda: self.try_commit(offsets, offset, damaged), 30, "the dead member's session ends")
        worker = self.worker(sandbox)
        worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 1)
        self.requests.send(call(2), "b", partition=0)
        self.requests.flush()
        self.assertEqual(["b"], [r["orderId"] for r in self.results(1)])
        self.assertEqual(2, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def try_commit(self, offsets, offset, metadata):
        try:
            offsets.commit(self.names["call.requests"], 1, offset, metadata)
            return True
        except AssertionError:
            return False

    def test_empty_metadata_is_a_base(self):
        offsets = self.offsets()
        for partition in range(self.PARTITIONS):
            offsets.commit(self.names["call.requests"], partition, 3, "")
        sandbox = self.sandbox()
        sent = self.send_to_each()
        self.worker(sandbox)
        results = self.results(2 * self.PARTITIONS)
        self.assertEqual({3, 4}, {r["source"]["offset"] for r in results})
        self.check_run([m for m in sent if m.offset() >= 3], results, sandbox)

    def test_many_around_one_that_hangs(self):
        """The base stays below the oldest unfinished request, and everything above it is remembered across a kill."""
        sandbox = self.sandbox(f"hang?caller={caller(0)}")
        options = {"platform.timeout.ms": "60000", "kafka.group.instance.id": "one"}
        worker = self.worker(sandbox, options, name="one")
        sent = self.requests.send_calls(range(1000), partition=0)
        self.results(999)
        offset, metadata = self.offsets().read(self.names["call.requests"], [0])[0]
        self.assertEqual(0, offset)
        self.assertLessEqual(len(metadata), 4000)
        worker.kill()
        self.worker(sandbox, options, name="one")
        results = self.results(1000)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 999, "unknown": 1}, self.statuses(results))
        self.wait_idle()

    def test_topic_created_anew(self):
        """The broker forgets offsets with their topic: what is in the new one is called. Where an offset of the old one stands
        (written too late, or restored), a log that ends below it halts its partition, loudly, and nothing is called twice or
        passed over in silence."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox)
        self.send_to_each()
        self.results(20)
        self.wait_idle()
        topic = self.names["call.requests"]
        delete_topic(self.bootstrap, topic)
        create_topics(self.bootstrap, {topic: self.PARTITIONS})
        self.requests = Requests(self.bootstrap, topic)
        self.send_to_each(count=2, first=100)
        self.results(20 + 8)
        self.wait_idle()
        self.assertEqual(0, worker.terminate())
        offsets = self.offsets()
        offsets.commit(topic, 1, 5, "")
        worker = self.worker(sandbox, name="next")
        event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 1)
        self.assertIn("created anew", event["message"])
        self.assertIn("ledger repair", event["message"])
        wait_until(lambda: "privacy_call_partitions_halted 1\n" in worker.get("/metrics")[1], 10, "the metric tells")
        self.requests.send(call(200), "k", partition=1)
        self.requests.send(call(201), "l", partition=2)
        self.requests.flush()
        self.results(20 + 9)
        self.assertEqual(0, worker.terminate())
        offsets.commit(topic, 1, 2, "")
        worker = self.worker(sandbox, name="last")
        self.results(20 + 10)
        self.assertEqual(30, len(sandbox.calls()))
        self.assertEqual(0, sandbox.stats()["violations"]["count"], sandbox.stats()["violations"])

    def test_small_window(self):
        """A partition whose window is full waits, and the others go on."""
        sandbox = self.sandbox(f"latency=3s?caller={caller(0)}", "latency=1-5ms")
        self.worker(sandbox, {"partition.window": "10"})
        for number in range(200):
            self.requests.send(call(number, f"k{number}"), f"k{number}", partition=0)
            self.requests.send(call(number + 1000, f"k{number}"), f"k{number}", partition=1)
        sent = self.requests.flush()
        results = self.results(400)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 400}, self.statuses(results))



if __name__ == "__main__":
    main()
