"""Two processes under one instance.id, and requests written by a transactional producer."""
from case import KafkaCase, main, wait_until
from records import Requests, call


class Identity(KafkaCase):
    def test_one_of_two_with_the_same_name_ends(self):
        sandbox = self.sandbox("latency=5-20ms")
        workers = [self.worker(sandbox, name=f"process-{n}", options={"instance.id": "same"}) for n in (1, 2)]
        ended = []
        for number in range(0, 60000, 50):
            sent = self.requests.send_calls(range(number, number + 50))
            sandbox.wait_calls(len(sent) - 1000, seconds=60)
            ended = [w for w in workers if not w.alive()]
            if ended:
                break
        self.check_that_one_ended(workers, ended, sent, sandbox)

    def test_one_of_two_with_little_to_do_ends(self):
        sandbox = self.sandbox("latency=5-20ms")
        workers = [self.worker(sandbox, name=f"process-{n}", options={"instance.id": "same"}) for n in (1, 2)]
        ended = []
        for n in range(40):
            self.requests.send(call(n, f"k{n}"), f"k{n}")
            sent = self.requests.flush()
            self.topic("call.results").read(len(sent), seconds=60)
            ended = [w for w in workers if not w.alive()]
            if ended:
                break
        self.check_that_one_ended(workers, ended, sent, sandbox)

    def test_one_of_two_with_both_jobs_ends(self):
        """Both groups notice that there are two, and yet one goes on, with both jobs."""
        sandbox = self.sandbox("latency=5-20ms")
        both = {"instance.id": "same", "topic.recording.requests": self.names["recording.requests"]}
        workers = [self.worker(sandbox, name=f"process-{n}", options=both) for n in (1, 2)]
        ended, count = [], 0
        for n in range(200):
            self.requests.send(call(n, f"k{n}"), f"k{n}")
            self.requests.send({"CallIdentifier": f"c{n}"}, f"k{n}", topic=self.names["recording.requests"])
            self.requests.flush()
            count = n + 1
            self.topic("call.results").read(count, seconds=60, settle=0)
            self.topic("recording.results").read(count, seconds=60, settle=0)
            ended = [w for w in workers if not w.alive()]
            if ended:
                break
        sent = [m for m in self.requests.sent if m.topic() == self.names["call.requests"]]
        self.check_that_one_ended(workers, ended, sent, sandbox, lambda: self.results(count, role="recording.results"))

    def test_the_earlier_of_two_static_members_ends_idle_as_it_is(self):
        sandbox = self.sandbox()
        first, second = [self.worker(sandbox, options={"kafka.group.instance.id": "same"}, name=f"process-{n}") for n in (1, 2)]
        wait_until(lambda: not (first.alive() and second.alive()), 60, "one of the two ends")
        ended, other = (second, first) if first.alive() else (first, second)
        self.assertEqual(1, ended.wait())
        ended.wait_log(f"another process has the same kafka.group.instance.id and took this one's place in group {self.group}; give each its own")
        self.requests.send(call(1, "k1"), "k1")
        sent = self.requests.flush()
        self.check_run(sent, self.results(1), sandbox)
        self.assertEqual(0, other.terminate())

    def check_that_one_ended(self, workers, ended, sent, sandbox, then=lambda: None):
        self.assertEqual(1, len(ended), "both go on, or neither")
        self.assertEqual(1, ended[0].wait())
        ended[0].wait_log(lambda e: e["log.level"] == "error" and "instance.id" in e.get("message", ""))
        results = self.results(len(sent), seconds=90)
        self.check_run(sent, results, sandbox)
        then()
        other, = [w for w in workers if w is not ended[0]]
        self.assertEqual(0, other.terminate())


class ReplacedWhileAway(KafkaCase):
    BROKERS = 1
    PROXIED = True

    def test_one_of_the_two_ends(self):
        """A static member that cannot reach Kafka is replaced by a process of its name. When it reaches Kafka again, the group tells it
        so, and it ends; or its transaction shows first that its partitions are another's: then it joins anew, and the new process ends,
        as the earlier of two."""
        platform = self.sandbox("latency=3s")
        static = {"kafka.group.instance.id": "same", "kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": "500"}
        old = self.worker(platform, {**static, "kafka.bootstrap.servers": self.kafka.proxied_bootstrap}, name="old")
        old.wait_assigned()
        self.requests.send_calls(range(self.PARTITIONS), partitions=self.PARTITIONS)
        platform.wait_calls(self.PARTITIONS)
        self.kafka.network.hold()
        old.wait_log("^lost: [1-9]", 60)
        new = self.worker(platform, static, name="new")
        new.wait_assigned()
        self.kafka.network.cut()
        self.kafka.network.release()
        wait_until(lambda: not (old.alive() and new.alive()), 60, "one of the two ends")
        ended, other = (new, old) if old.alive() else (old, new)
        self.assertEqual(1, ended.wait())
        ended.wait_log("another process has the same kafka.group.instance.id")
        self.requests.send(call(99, "k99"), "k99")
        sent = self.requests.flush()
        results = self.results(len(sent))
        self.assertEqual([], [r["orderId"] for r in results if r["status"] == "unknown" and r["orderId"] == "k99"])
        self.assertEqual(0, other.terminate())


class TransactionalInput(KafkaCase):
    PARTITIONS = 2

    def test_markers_and_aborted_requests(self):
        sandbox = self.sandbox()
        producer = Requests(self.bootstrap, self.names["call.requests"], **{"transactional.id": f"{self.prefix}.in"})
        producer.producer.init_transactions(30)
        number, wanted = 0, []
        for round in range(10):
            producer.producer.begin_transaction()
            for _ in range(10):
                producer.send(call(number, f"k{number}"), f"k{number}", partition=number % 2)
                number += 1
            sent = producer.flush()[-10:]
            if round % 3 == 1:
                producer.producer.abort_transaction()
            else:
                producer.producer.commit_transaction()
                wanted += sent
        worker = self.worker(sandbox)
        results = self.results(len(wanted))
        self.check_run(wanted, results, sandbox)
        self.wait_idle()
        self.assertEqual(0, worker.terminate())

    def test_one_that_hangs_is_told(self):
        """Nothing behind an open transaction can be read: lag is all that there is to see of it."""
        sandbox = self.sandbox()
        producer = Requests(self.bootstrap, self.names["call.requests"], **{"transactional.id": f"{self.prefix}.in"})
        worker = self.worker(sandbox, {"stuck.after.ms": "3000"}).wait_assigned()
        self.requests.send(call(1), "a", partition=0)
        self.requests.flush()
        self.results(1)
        self.wait_idle()
        producer.producer.init_transactions(30)
        producer.producer.begin_transaction()
        producer.send(call(2), "b", partition=0)
        producer.flush()
        asked = 3

        def is_told():
            nonlocal asked
            self.requests.send(call(asked), f"k{asked}", partition=0)
            self.requests.flush()
            asked += 1
            return "privacy_call_partitions_stuck 1\n" in worker.get("/metrics")[1]
        wait_until(is_told, 30, "the metric tells")
        worker.wait_log("is stuck", 10)  # the metric shows a moment before
        told = [e for e in worker.events() if "is stuck" in e["message"]]
        self.assertEqual([("error", 0)], [(e["log.level"], e["kafka.partition"]) for e in told])
        self.assertEqual(200, worker.get("/readyz")[0])
        producer.producer.commit_transaction()
        results = self.results(asked - 1)
        self.check_run(self.requests.sent + producer.sent, results, sandbox)
        wait_until(lambda: "privacy_call_partitions_stuck 0\n" in worker.get("/metrics")[1], 10, "it is over")
        self.assertEqual(0, worker.terminate())

    def test_ends_in_a_marker_when_it_joins(self):
        """Nothing but markers above the last result: the committed offset reaches the end all the same."""
        producer = Requests(self.bootstrap, self.names["call.requests"], **{"transactional.id": f"{self.prefix}.in"})
        producer.producer.init_transactions(30)
        producer.producer.begin_transaction()
        producer.send(call(1), "k", partition=0)
        producer.flush()
        producer.producer.abort_transaction()
        self.worker(self.sandbox())
        self.wait_idle()
        self.assertEqual([], self.topic("call.results").read(0))


if __name__ == "__main__":
    main()
