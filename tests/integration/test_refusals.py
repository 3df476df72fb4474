"""What a broker refuses for good: another way is found, or the partition is halted or the worker not ready, with a reason; nothing is
repeated without a word. (tests/chaos/test_refusals.py has more of it, under load.)"""
import json
import time

from case import KafkaCase, main, wait_until
from kafka import free_ports
from programs import Sandbox, Worker
from refuser import FETCH, JOIN_GROUP, LIST_OFFSETS, SYNC_GROUP, Refuser
from records import GROUP, TOPIC, TRANSACTIONAL_ID, READ, WRITE, allow, call, caller, create_topics, delete_topic, forbid, knows_transactions, set_topic
from wall import Wall, wall_needed

HOURS = 3600 * 1000


def errors(worker, words):
    return [e for e in worker.events() if e["log.level"] == "error" and words in e["message"]]


class Clocks(KafkaCase):
    @wall_needed
    def test_ahead_of_the_brokers(self):
        clock = Wall(self.directory)
        clock.set_ahead(2 * HOURS)
        sandbox = self.sandbox()
        worker = self.worker(sandbox, environment=clock.environment)
        self.requests.send(b"no JSON", "a", partition=0)  # the platform would not take the clock either
        self.requests.flush()
        event = worker.wait_log(lambda e: e["log.level"] == "error" and "clock" in e["message"])
        self.assertIn("Invalid timestamp", event["message"])
        wait_until(lambda: worker.get("/readyz")[0] == 503, 90, "not ready")
        self.assertIn("clock", worker.get("/readyz")[1])
        self.assertIn("privacy_call_kafka_failing 1\n", worker.get("/metrics")[1])
        for topic in (self.names["call.results"], self.names["dead.letters"]):  # the broker names the one or the other first
            self.assertLessEqual(sum(topic in e["message"] for e in errors(worker, "clock")), 2, "more than one line a minute")
        self.assertLessEqual(len([e for e in worker.events() if e["log.level"] in ("warn", "error")]), 12)
        clock.set_ahead(0)
        self.assertEqual(["invalid"], [r["status"] for r in self.results(1, seconds=30)])
        self.dead_letters(1)
        wait_until(lambda: worker.get("/readyz")[0] == 200, 10, "ready again")
        self.assertEqual(0, worker.terminate())

    @wall_needed
    def test_behind_the_brokers(self):
        """Where topics take no records that are old."""
        for role in ("call.results", "dead.letters"):
            set_topic(self.bootstrap, self.names[role], message_timestamp_before_max_ms=HOURS)
        clock = Wall(self.directory)
        clock.set_ahead(-2 * HOURS)
        sandbox = self.sandbox()
        worker = self.worker(sandbox, environment=clock.environment)
        self.requests.send(b"no JSON", "a", partition=0)
        self.requests.flush()
        event = worker.wait_log(lambda e: e["log.level"] == "error" and "clock" in e["message"])
        self.assertIn("Invalid timestamp", event["message"])
        clock.set_ahead(0)
        self.assertEqual(["invalid"], [r["status"] for r in self.results(1, seconds=30)])
        self.dead_letters(1)
        self.assertEqual(0, worker.terminate())


class ForgottenProducers(KafkaCase):
    BROKERS = 1
    PARTITIONS = 1
    SETTINGS = {"transactional.id.expiration.ms": 2000, "transaction.remove.expired.transaction.cleanup.interval.ms": 200}

    def test_a_standby_that_has_never_written(self):
        """Its transactional id has expired when it has to take over: it makes its producer anew, once, without an error."""
        sandbox = self.sandbox()
        workers = [self.worker(sandbox).wait_assigned() for _ in range(2)]
        owner, = (w for w in workers if json.loads(w.get("/status")[1])["partitions"])
        standby, = (w for w in workers if w is not owner)
        wait_until(lambda: not knows_transactions(self.bootstrap, self.group), 30, "the transactional ids have expired")
        self.assertEqual(0, owner.terminate())
        self.requests.send(call(1), "a")
        sent = self.requests.flush()
        results = self.results(1, seconds=30)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 1}, self.statuses(results))
        wait_until(lambda: "privacy_call_transactions_aborted_total 1\n" in standby.get("/metrics")[1], 10, "one transaction aborted, and no more")
        self.assertEqual([], [e["message"] for e in standby.events() if e["log.level"] == "error"])
        self.assertEqual(0, standby.terminate())


class Topics(KafkaCase):
    def test_dead_letters_without_keys_where_keys_are_demanded(self):
        """Each refusal leaves a gap in the sequence numbers of its partition: a commit does not wait for what is behind that gap."""
        letters = self.names["dead.letters"]
        delete_topic(self.bootstrap, letters)
        create_topics(self.bootstrap, {letters: 2}, {"cleanup.policy": "compact"})
        sandbox = self.sandbox()
        worker = self.worker(sandbox).wait_assigned()
        for number in range(16):
            self.requests.send(b"no JSON", partition=0)
        self.requests.send(call(1), "a", partition=0)
        self.requests.flush()
        self.assertEqual(["succeeded"], [r["status"] for r in self.results(1)])
        self.assertEqual(16, len({letter.key() for letter in self.dead_letters(16)}))
        self.assertEqual([], [e["message"] for e in worker.events() if e["log.level"] == "error"])
        self.assertEqual(0, worker.terminate())

    def test_results_that_have_no_topic(self):
        """Its partitions are halted, with the reason, and go on when it is there again."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"kafka.topic.metadata.propagation.max.ms": "1000", "kafka.topic.metadata.refresh.interval.ms": "1000"})
        self.requests.send(call(1), "a", partition=0)
        self.requests.flush()
        sandbox.wait_calls(1)
        self.wait_idle()
        results = self.names["call.results"]
        delete_topic(self.bootstrap, results)
        self.requests.send(call(2), "b", partition=0)
        sent = self.requests.flush()
        event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 0, 60)
        self.assertIn(results, event["message"])
        self.assertIn("create it", event["message"])
        wait_until(lambda: "privacy_call_partitions_halted 1\n" in worker.get("/metrics")[1], 30, "the metric tells")
        status = {p["partition"]: p for p in worker.status()["partitions"]}
        self.assertEqual("halted", status[0]["state"])
        self.assertIn(results, status[0]["haltReason"])
        create_topics(self.bootstrap, {results: 1})
        self.assertEqual(["b"], [r["orderId"] for r in self.results(1, seconds=60)])
        self.assertEqual(len(sent), len(sandbox.calls()))
        wait_until(lambda: "privacy_call_partitions_halted 0\n" in worker.get("/metrics")[1], 10, "it is over")
        self.assertEqual(0, worker.terminate())


class Rights(KafkaCase):
    """A right that is lost for a while costs no process, no call and no result: one error names it."""
    BROKERS = 1
    SETTINGS = {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found": "true"}

    def lose(self, kind, name, operation, words, partitions=1):
        sandbox = self.sandbox()
        worker = self.worker(sandbox).wait_assigned()
        self.requests.send(call(1), "a", partition=0)
        self.requests.flush()
        self.results(1)
        self.wait_idle()
        forbid(self.bootstrap, kind, name, operation)
        try:
            for n in range(partitions):
                self.requests.send(call(2 + n), f"b{n}", partition=n)
            sent = self.requests.flush()
            worker.wait_log(lambda e: e["log.level"] == "error" and words in e["message"], 60)
            if partitions > 1:
                wait_until(lambda: f"privacy_call_partitions_halted {partitions}\n" in worker.get("/metrics")[1], 30, "all are halted")
            wait_until(lambda: "refuses a right" in worker.get("/readyz")[1], what="not ready, for want of a right")
            self.assertEqual(503, worker.get("/readyz")[0])
        finally:
            allow(self.bootstrap, kind, name)
        results = self.results(1 + partitions, seconds=60)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 1 + partitions}, self.statuses(results))
        said = [e["message"] for e in worker.events() if e["log.level"] == "error"]
        self.assertEqual([], [message for message in said if words not in message], "errors that follow from it")
        self.assertEqual(0, worker.terminate())

    def test_group(self):
        self.lose(GROUP, self.group, READ, f"READ on group {self.group}")

    def test_results(self):
        self.lose(TOPIC, self.names["call.results"], WRITE, f"WRITE on topic {self.names['call.results']}", partitions=4)

    def test_transactional_id(self):
        self.lose(TRANSACTIONAL_ID, f"{self.group}:{self.instance()}", WRITE, f"WRITE on the transactional ids that begin with {self.group}")

    def instance(self):
        return f"worker-{Worker.COUNT + 1}"


class OneKind(KafkaCase):
    """A broker that refuses requests of one kind, in a way that librdkafka repeats without a word, or tells of each partition."""
    PARTITIONS = 3
    STORAGE_ERROR, COORDINATOR_NOT_AVAILABLE, UNKNOWN_SERVER_ERROR = 56, 15, -1

    def start(self, *faults, errors=None, **options):
        self.refuser = Refuser(self.bootstrap)
        self.addCleanup(self.refuser.close)
        self.box = self.sandbox(*faults)
        self.refuser.errors.update(errors or {})
        return self.worker(self.box, {"kafka.bootstrap.servers": self.refuser.address, "stuck.after.ms": "2000", "log.level": "info", **options})

    def ask_each(self, first):
        for number in range(first, first + self.PARTITIONS):
            self.requests.send(call(number), f"k{number}", partition=number % self.PARTITIONS)
        return self.requests.flush()

    def check_goes_on(self, worker, sent):
        self.refuser.errors.clear()
        self.check_run(sent, self.results(len(sent), seconds=60), self.box)
        self.assertEqual(0, worker.terminate())

    def test_no_word_where_a_log_begins(self):
        """Nothing is read, and no lag is known that could grow: told in one line for all partitions."""
        worker = self.start(errors={LIST_OFFSETS: self.STORAGE_ERROR})
        sent = self.ask_each(0)
        said = worker.wait_log(lambda e: e["log.level"] == "error" and "is stuck" in e["message"])
        self.assertIn("no broker has told", said["message"])
        wait_until(lambda: f"privacy_call_partitions_stuck {self.PARTITIONS}\n" in worker.get("/metrics")[1], 10, "all are stuck")
        self.assertEqual(1, len(errors(worker, "stuck")))
        self.check_goes_on(worker, sent)

    def test_no_word_where_a_log_begins_while_no_slot_is_free(self):
        """What is fetched for the first time needs no slot: that another partition's calls fill them excuses nothing."""
        self.offsets().commit(self.names["call.requests"], 0, 0, "")
        worker = self.start(f"hang?caller={caller(0)}", errors={LIST_OFFSETS: self.STORAGE_ERROR},
                            **{"platform.max.in.flight": "1", "platform.timeout.ms": "60000"})
        self.ask_each(0)
        self.box.wait_calls(1)
        said = worker.wait_log(lambda e: e["log.level"] == "error" and "is stuck" in e["message"])
        self.assertIn("no broker has told", said["message"])
        wait_until(lambda: f"privacy_call_partitions_stuck {self.PARTITIONS - 1}\n" in worker.get("/metrics")[1], 10, "the others are stuck")
        self.assertIn("privacy_call_calls_in_flight 1\n", worker.get("/metrics")[1])
        worker.kill()

    def test_no_partition_can_be_read(self):
        """Each at an offset of its own, for the same reason: one line says that it is tried again, one that they are halted."""
        worker = self.start()
        self.ask_each(0)
        self.requests.send(call(3), "k3", partition=0)
        self.results(len(self.requests.flush()))
        self.refuser.errors[FETCH] = self.UNKNOWN_SERVER_ERROR
        sent = self.ask_each(4)
        wait_until(lambda: f"privacy_call_partitions_halted {self.PARTITIONS}\n" in worker.get("/metrics")[1], 30, "all are halted")
        said = [(e["log.level"], e["message"]) for e in worker.events() if "cannot be read" in e["message"]]
        self.assertEqual(["warn", "error"], [level for level, _ in said], said)
        self.check_goes_on(worker, sent)

    def test_the_group_lets_nobody_in(self):
        """librdkafka joins again and again without a word; a join that takes longer than any other member may need is an error."""
        worker = self.start(errors={SYNC_GROUP: self.COORDINATOR_NOT_AVAILABLE})
        sent = self.ask_each(0)
        said = worker.wait_log(lambda e: e["log.level"] == "error" and "does not take this worker in" in e["message"], 60)
        self.assertIn(self.group, said["message"])
        self.check_goes_on(worker, sent)

    def test_the_group_lets_nobody_in_while_connections_fail(self):
        """A connection that fails every few seconds, here that of the only broker, explains no refusal: it excuses only the time in which
        no broker answers."""
        quick = {"kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": "1000", "drain.timeout.ms": "1000"}
        worker = self.start(errors={SYNC_GROUP: self.COORDINATOR_NOT_AVAILABLE}, **quick)
        sent, last = self.ask_each(0), time.monotonic()
        for cuts in range(12):
            wait_until(lambda: time.monotonic() - last > 10 or errors(worker, "does not take this worker in"), 20)
            if errors(worker, "does not take this worker in"):
                break
            last = time.monotonic()
            self.refuser.cut()
        self.assertGreater(cuts, 1, "connections were cut before")
        said = errors(worker, "does not take this worker in")
        self.assertEqual(1, len(said), "told in spite of that")
        self.assertIn("its coordinator refuses each join", said[0]["message"])
        self.check_goes_on(worker, sent)

    def refuse_the_next_join(self, worker, other, **errors):
        """Of a worker that was in the group, until it says so and is not ready. Another one's join makes it join again."""
        wait_until(lambda: worker.get("/readyz")[0] == 200, 30, "ready")
        self.refuser.errors.update(errors["errors"])
        other()
        worker.wait_log(lambda e: e["log.level"] == "error" and "does not take this worker in" in e["message"], 70)
        self.assertEqual(503, worker.get("/readyz")[0])
        self.assertIn("not in the group", worker.get("/readyz")[1])
        self.refuser.errors.clear()
        wait_until(lambda: worker.get("/readyz")[0] == 200, 60, "ready again")

    def test_the_group_lets_nobody_in_again(self):
        """With an eager assignor everything was given back before."""
        eager = {"kafka.partition.assignment.strategy": "range"}
        worker = self.start(**eager).wait_assigned()
        self.refuse_the_next_join(worker, lambda: self.worker(self.box, eager), errors={SYNC_GROUP: self.COORDINATOR_NOT_AVAILABLE})
        self.check_goes_on(worker, self.ask_each(0))

    def test_the_group_lets_no_standby_in_again(self):
        """It has nothing that could be given back or lost."""
        for kind in (SYNC_GROUP, JOIN_GROUP):
            with self.subTest(kind):
                box = self.sandbox()
                others = [self.worker(box).wait_assigned() for _ in range(self.PARTITIONS)]
                standby = self.start()
                self.refuse_the_next_join(standby, others[0].terminate, errors={kind: self.COORDINATOR_NOT_AVAILABLE})
                for program in (standby, *others[1:]):
                    self.assertEqual(0, program.terminate())


class SmallMetadata(KafkaCase):
    BROKERS = 1
    SETTINGS = {"offset.metadata.max.bytes": 120}

    def test_ledgers_larger_than_the_broker_takes(self):
        """What they may be is found out; the other partition goes on while calls of the first hang, and nothing is in doubt but calls that
        were under way when the platform ended."""
        hang, address = range(0, 400, 8), f"127.0.0.1:{free_ports(1)[0]}"  # with these not done, 400 do not fit
        sandbox = self.sandbox(*(f"hang?caller={caller(number)}" for number in hang), "latency=1-20ms", address=address)
        worker = self.worker(sandbox, {"platform.timeout.ms": "60000", "platform.breaker.open.ms": "500"})

        def send(numbers, partition):
            for number in numbers:
                self.requests.send(call(number, f"k{number}"), f"k{number}", partition=partition)
            return self.requests.flush()

        def answered(partition):
            return sum(json.loads(m.value())["source"]["partition"] == partition for m in self.topic("call.results").read(0, settle=0))
        send(range(700), 0)
        worker.wait_log("^a transaction aborted, and is made again with other ledgers")
        sent = send(range(700, 1000), 1)
        wait_until(lambda: answered(1) == 300, 50, lambda: f"the other partition's results, of which there are {answered(1)}")
        sandbox.kill()
        hung = {f"k{number}" for number in hang if caller(number) in sandbox.calls()}
        sandbox = self.keep(Sandbox(self.directory, ["latency=1-20ms"], address=address))
        results = self.results(1000, seconds=60)
        self.check_run(sent, results, sandbox)
        unknown = [r for r in results if r["status"] == "unknown"]
        self.assertLessEqual({(r["source"]["partition"], r["error"]["code"]) for r in unknown}, {(0, "connection-closed"), (0, "connection-reset")})
        self.assertLessEqual({"k0", *hung}, {r["orderId"] for r in unknown})
        self.assertEqual({"succeeded": 1000 - len(unknown), "unknown": len(unknown)}, self.statuses(results))
        self.assertEqual(0, worker.terminate())


class SmallCommits(KafkaCase):
    BROKERS = 1
    PARTITIONS = 12
    OFFSETS_TOPIC = {"cleanup_policy": "compact", "compression_type": "producer", "segment_bytes": 104857600}

    def test_ledgers_too_large_together(self):
        """Each ledger fits, and all of a worker together do not: it commits them in parts, and so does the next worker its claims."""
        sandbox = self.sandbox("latency=1s@20%", "latency=5ms")
        worker = self.worker(sandbox).wait_assigned()
        set_topic(self.bootstrap, "__consumer_offsets", **self.OFFSETS_TOPIC, max_message_bytes=700)
        self.requests.send_calls(range(240), partitions=self.PARTITIONS)
        self.results(240, seconds=90)
        self.assertEqual(0, worker.terminate())
        worker = self.worker(sandbox).wait_assigned()
        sent = self.requests.send_calls(range(240, 264), partitions=self.PARTITIONS)
        results = self.results(264, seconds=60)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 264}, self.statuses(results))
        self.assertNotIn(0, [len([e for e in w.events() if e["message"].startswith(words)]) for w, words in
                             zip([p for p in self.programs if isinstance(p, Worker)], ("a transaction aborted", "a claim or release"))],
                         "the limit was never reached")
        self.assertEqual(0, worker.terminate())


    def test_offsets_too_large_alone(self):
        """Each partition is halted, in one line for all of them, though the broker's words name each and the time that it took."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox).wait_assigned()
        wait_until(lambda: worker.get("/status")[1].count('"active"') == self.PARTITIONS, 30, "all are claimed")
        set_topic(self.bootstrap, "__consumer_offsets", **self.OFFSETS_TOPIC, max_message_bytes=100)
        sent = self.requests.send_calls(range(self.PARTITIONS), partitions=self.PARTITIONS)
        wait_until(lambda: f"privacy_call_partitions_halted {self.PARTITIONS}\n" in worker.get("/metrics")[1], 50, "all are halted")
        said = [e["message"] for e in errors(worker, "halted")]
        set_topic(self.bootstrap, "__consumer_offsets", **self.OFFSETS_TOPIC, max_message_bytes=1000000)
        results = self.results(self.PARTITIONS, seconds=60)
        self.check_run(sent, results, sandbox)
        self.assertEqual(1, len(said), said)
        self.assertIn("max.message.bytes", said[0])
        self.assertEqual(0, worker.terminate())


class TinyMetadata(KafkaCase):
    BROKERS = 1
    SETTINGS = {"offset.metadata.max.bytes": 10}
    PARTITIONS = 3

    def test_claims_that_are_never_taken(self):
        """They are made again, and the log says so once a minute: one line for all of them, as they have the same cause."""
        worker = self.worker(self.sandbox())
        wait_until(lambda: len([e for e in worker.events() if e["message"].startswith("lost: ")]) >= 5, 40,
                   "claims are made again")
        wait_until(lambda: f"privacy_call_partitions_halted {self.PARTITIONS}\n" in worker.get("/metrics")[1], 40, "all are halted again")
        said = [e["message"] for e in worker.events() if e["log.level"] == "error" and "halted" in e["message"]]
        self.assertEqual(1, len(said), said)
        self.assertIn("offset.metadata.max.bytes", said[0])


if __name__ == "__main__":
    main()
