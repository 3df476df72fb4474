"""SIGTERM: no new calls, the outstanding ones end, their results are committed, exit status 0."""
import signal
import time
from datetime import datetime

from case import KafkaCase, ProgramCase, main, wait_until
from confluent_kafka import Consumer, Producer, TopicPartition
from programs import Worker
from records import QUIET, Requests, call, caller


class Stop(KafkaCase):
    def begin(self, *faults, **options):
        self.platform = self.sandbox(*faults)
        self.process = self.worker(self.platform, {"platform.max.in.flight": "8", **options})
        self.sent = self.requests.send_calls(range(200))
        self.platform.wait_calls(8)

    def test_drain(self):
        self.begin("latency=1500ms")
        asked = time.time() * 1000
        self.assertEqual(0, self.process.terminate())
        posts = self.platform.posts()
        late = [post for post in posts if post["time"] > asked + 1000 + 500]
        self.assertEqual([], late, "calls began long after the stop was asked for")
        results = self.results(len(posts))
        self.assertEqual({"succeeded": len(posts)}, self.statuses(results))
        worker = self.worker(self.platform, {"platform.max.in.flight": "8"})  # few TLS handshakes at once, with a sanitizer, too
        self.platform.lift_faults()
        results = self.results(200)
        self.check_run(self.sent, results, self.platform)
        self.assertEqual({"succeeded": 200}, self.statuses(results))
        self.assertEqual(0, worker.terminate())

    def test_interrupt_is_the_same(self):
        self.begin("latency=500ms")
        self.process.signal(signal.SIGINT)
        self.assertEqual(0, self.process.wait())
        self.results(len(self.platform.posts()))

    def test_second_signal(self):
        self.begin("latency=20s", **{"drain.timeout.ms": "60000", "platform.timeout.ms": "30000"})
        self.process.signal(signal.SIGTERM)
        self.process.wait_log("^SIGTERM: stopping")

        def ended():
            self.process.signal(signal.SIGTERM)  # one that comes too soon is the first one told twice
            return not self.process.alive()
        wait_until(ended, 10, "a second signal ends it")
        self.assertEqual(1, self.process.wait())

    def test_one_order_told_twice(self):
        """As timeout(1), shells and supervisors do, which signal a process and its group."""
        self.begin("latency=1500ms")
        self.process.signal(signal.SIGTERM)
        self.process.signal(signal.SIGINT)  # the same one might be lost in the first
        self.assertEqual(0, self.process.wait())
        self.assertEqual({"succeeded"}, set(self.statuses(self.results(len(self.platform.posts())))))

    def test_calls_that_outlive_the_drain(self):
        self.begin(f"hang?caller={caller(0)}", **{"drain.timeout.ms": "1000", "platform.timeout.ms": "60000"})
        self.results(199)
        began = time.monotonic()
        self.assertEqual(0, self.process.terminate())
        self.assertLess(time.monotonic() - began, 1 + 5 + 3)
        self.worker(self.platform, {"platform.timeout.ms": "1000"})
        results = self.results(200)
        self.check_run(self.sent, results, self.platform)
        unknown, = [r for r in results if r["status"] == "unknown"]
        self.assertEqual("k0", unknown["orderId"])
        self.assertEqual(self.places([unknown]), self.outlived(self.process))

    def test_ready_and_draining(self):
        self.begin("latency=3s")
        self.assertEqual((200, 200), (self.process.get("/readyz")[0], self.process.get("/livez")[0]))
        self.process.signal(signal.SIGTERM)
        self.process.wait_log("SIGTERM")
        wait_until(lambda: self.process.get("/readyz")[0] != 200, 3, "not ready while draining")
        self.assertEqual(200, self.process.get("/livez")[0])
        self.assertEqual(0, self.process.wait())

    def test_without_kafka(self):
        """A stop that Kafka does not answer takes 5 s more than the drain, the end of the process included."""
        sandbox = self.sandbox(kafka=True)
        process = self.keep(Worker(self.directory, sandbox.bootstrap, sandbox.url, sandbox.ca, {"drain.timeout.ms": "1000"}))
        wait_until(lambda: "active" in process.get("/status")[1], 30, "its partitions are in work")
        sandbox.kill()
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        process.wait_log("^stopped with status 0")
        told = time.monotonic()
        self.assertEqual(0, process.wait())
        self.assertLess(told - began, 1 + 5 + 1)
        self.assertLess(time.monotonic() - told, 1.5, "the process goes on after its last word")

    def test_a_call_under_way_without_kafka(self):
        """The stop is given up, and says of which call."""
        kafka, platform = self.sandbox(kafka=True, name="kafka"), self.sandbox("hang")
        process = self.keep(Worker(self.directory, kafka.bootstrap, platform.url, platform.ca,
                                   {"drain.timeout.ms": "500", "platform.timeout.ms": "60000"}))
        requests = Requests(kafka.bootstrap, "call-requests")
        requests.send(call(1), "k1", partition=0)
        requests.flush()
        platform.wait_calls(1)
        kafka.kill()
        self.assertEqual(1, process.terminate())
        self.assertEqual([("call-requests", 0, 0, "k1")], self.outlived(process))

    def test_nothing_to_do(self):
        process = self.worker(self.sandbox()).wait_assigned()
        began = time.monotonic()
        self.assertEqual(0, process.terminate())
        self.assertLess(time.monotonic() - began, 10)

    def test_idle_is_no_sleep(self):
        """An idle worker, which sleeps for a second at a time, heeds a stop at once: the least of five, as machines are busy."""
        platform, times = self.sandbox(), []
        for _ in range(5):
            process = self.worker(platform).wait_assigned()
            wait_until(lambda: '"state": "active"' in process.get("/status")[1])
            process.signal(signal.SIGTERM)
            asked = process.wait_log("^SIGTERM: stopping")["@timestamp"]
            left = process.wait_log("^revoked")["@timestamp"]
            times.append((datetime.fromisoformat(left[:-1]) - datetime.fromisoformat(asked[:-1])).total_seconds())
            self.assertEqual(0, process.wait())
        self.assertLess(min(times), 0.8)


class BesideAnOpenTransaction(ProgramCase):
    def test_leaves_all_the_same(self):
        """A dead worker's transaction holds the offsets back that it has sent, and nobody who leaves the group."""
        sandbox, group = self.sandbox(kafka=True), "privacy-call-worker"
        dead = Producer({"bootstrap.servers": sandbox.bootstrap, "transactional.id": f"{group}:dead", **QUIET})
        dead.init_transactions(10)
        dead.begin_transaction()
        member = Consumer({"bootstrap.servers": sandbox.bootstrap, "group.id": group, **QUIET}).consumer_group_metadata()
        dead.send_offsets_to_transaction([TopicPartition("call-requests", 0, 0)], member, 10)
        process = self.keep(Worker(self.directory, sandbox.bootstrap, sandbox.url, sandbox.ca, {"drain.timeout.ms": "2000"}))
        process.wait_log("^the committed ledgers cannot be read yet")
        self.assertEqual(0, process.terminate())
        self.assertEqual([], [e["message"] for e in process.events() if "the stop took longer" in e["message"]])
        process.wait_log("^revoked: 4 .* call-requests/0")


if __name__ == "__main__":
    main()
