"""Topics that change while they are read: deleted and made again, grown, and with batches that cannot be read."""
import functools
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from case import BUILD, KafkaCase, main, wait_until
from records import QUIET, Requests, call, create_topics, delete_topic


class Topics(KafkaCase):
    PARTITIONS = 3
    SMALL = {"kafka.receive.message.max.bytes": "4000000", "kafka.fetch.max.bytes": "3000000", "kafka.message.max.bytes": "2097152"}

    def ask_calls(self, first, count, partitions=PARTITIONS, producer=None):
        """So many more requests, over the partitions in turn."""
        producer = producer or Requests(self.bootstrap, self.names["call.requests"])
        producer.send_calls(range(first, first + count), partitions=partitions)

    def wait_called(self, sandbox, count, seconds=60):
        sandbox.wait_calls(count, seconds)
        results = self.topic("call.results").results(count, 30)
        self.assertEqual(count, len(results))
        self.assertEqual({"succeeded": count}, self.statuses(results))

    def recreate(self, away=0):
        delete_topic(self.bootstrap, self.names["call.requests"])
        if away:
            time.sleep(away)  # the length of the absence is what is tested
        create_topics(self.bootstrap, {self.names["call.requests"]: self.PARTITIONS})

    def test_made_again_at_once(self):
        """Offsets begin at 0 again, below what was committed; Kafka has deleted the offsets with the topic, which the log says."""
        def said(words):
            return sum(words in event["message"] for event in worker.events())
        sandbox = self.sandbox()
        worker = self.worker(sandbox).wait_assigned()
        wait_until(lambda: [p.get("lag") for p in worker.status()["partitions"]] == [0] * self.PARTITIONS, what="each was found empty")
        self.ask_calls(0, 30)
        self.wait_called(sandbox, 30)
        self.recreate()
        self.ask_calls(30, 12)
        self.wait_called(sandbox, 42)
        self.recreate()
        self.ask_calls(42, 12)  # as many as the old one had: it ends where reading stood
        self.wait_called(sandbox, 54)
        self.assertEqual(0, worker.terminate())
        self.assertEqual(0, said("older than the group"))
        self.assertGreater(said("made again, and the group's offset with it"), 0)

    def test_made_again_with_more(self):
        """The new topic holds more than was read of the old one before the worker can notice: nothing of it is skipped, or called
        twice. (The worker stands still meanwhile; else it is a matter of luck.)"""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"kafka.session.timeout.ms": "30000"}).wait_assigned()
        asked = 6
        self.ask_calls(0, asked)
        self.wait_called(sandbox, asked)
        for count in (24, 60):
            self.wait_idle()
            worker.signal(signal.SIGSTOP)
            self.recreate()
            self.ask_calls(asked, count)
            worker.signal(signal.SIGCONT)
            asked += count
            self.wait_called(sandbox, asked)
        self.assertEqual(asked, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def test_made_again_with_more_before_anything_was_read(self):
        """Nothing tells the two topics apart: the worker halts what it had read nothing of since it started, and its lag is that of
        the new topic, however much more comes."""
        sandbox = self.sandbox()
        self.ask_calls(0, 6)
        first = self.worker(sandbox)
        self.wait_called(sandbox, 6)
        self.wait_idle()
        self.assertEqual(0, first.terminate())
        worker = self.worker(sandbox, {"kafka.session.timeout.ms": "30000", "stuck.after.ms": "1000"}).wait_assigned()
        wait_until(lambda: [p.get("lag") for p in worker.status()["partitions"]] == [0] * self.PARTITIONS, what="they are read")

        def lags():
            table = worker.status()
            metrics = re.findall(r"(?m)^privacy_call_consumer_lag{.*} (\d+)$", worker.get("/metrics")[1])
            self.assertEqual({"halted"}, {p["state"] for p in table["partitions"]})
            return [p["lag"] for p in table["partitions"]], [int(value) for value in metrics]
        worker.signal(signal.SIGSTOP)
        self.recreate()
        self.ask_calls(6, 6)  # as many as the old one had
        worker.signal(signal.SIGCONT)
        for _ in range(self.PARTITIONS):
            worker.wait_log("is halted.*whether its topic is still the one that was read", 40)
        wait_until(lambda: lags() == ([2] * self.PARTITIONS,) * 2, what=lambda: f"the lag of the new topic, but it is {lags()}")
        more = Requests(self.bootstrap, self.names["call.requests"])
        for first, last in ((12, 2412), (2412, 2424)):  # more than librdkafka reads ahead, and then some
            for n in range(first, last):
                more.send(call(n, f"k{n}", filler="x" * 1000), f"k{n}", partition=n % self.PARTITIONS)
            more.flush()
            want = [last // self.PARTITIONS - 2] * self.PARTITIONS
            wait_until(lambda want=want: lags() == (want, want), what=lambda: f"the lag of all of it, but it is {lags()}")
        self.assertEqual(6, len(sandbox.calls()))

    def test_another_program_in_the_group(self):
        """It takes partitions and commits as such programs do. That cannot be mended, but it is said."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"kafka.partition.assignment.strategy": "range"}).wait_assigned()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)
        self.wait_idle()
        at = worker.logged()
        other = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "session.timeout.ms": 6000,
                          "auto.offset.reset": "earliest", "enable.auto.commit": False, **QUIET})
        other.subscribe([self.names["call.requests"]])
        wait_until(lambda: other.poll(0.1) or other.assignment(), 40)
        other.commit(offsets=[TopicPartition(p.topic, p.partition, 4) for p in other.assignment()], asynchronous=False)
        other.close()
        said = worker.wait_log("another program commits offsets in group", 40, after=at)
        self.assertEqual("warn", said["log.level"])
        self.assertIn("kafka.partition", said)
        self.assertIn("performed, also if they were before", said["message"])

    def test_another_program_while_no_worker_ran(self):
        """The next worker has no ledger to miss, but sees that there is none; it says so once for each partition."""
        other = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False, **QUIET})
        self.ask_calls(0, 12)
        other.commit(offsets=[TopicPartition(self.names["call.requests"], p, 1) for p in (0, 2)], asynchronous=False)
        other.close()
        sandbox = self.sandbox()
        worker = self.worker(sandbox).wait_assigned()
        for partition in (0, 2):
            said = worker.wait_log(lambda e: "without a ledger" in e["message"] and e.get("kafka.partition") == partition)
            self.assertEqual(("warn", 1), (said["log.level"], said["kafka.offset"]))
            self.assertIn("performed, also if they were before", said["message"])
        self.wait_called(sandbox, 10)
        self.assertEqual(2, sum("without a ledger" in e["message"] for e in worker.events()))

    def test_another_program_with_another_strategy(self):
        """The group does not let the worker in, and the log says why, once, and what to do; it is let in when the other one has left."""
        other = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "enable.auto.commit": False,
                          "partition.assignment.strategy": "roundrobin", **QUIET})
        other.subscribe([self.names["call.requests"]])
        wait_until(lambda: other.poll(0.05) or other.assignment(), what="the other one has the partitions")
        sandbox = self.sandbox()
        worker = self.worker(sandbox)
        said = worker.wait_log("Inconsistent group protocol")
        self.assertEqual("error", said["log.level"])
        self.assertIn("a group of its own", said["message"])
        wait_until(lambda: all(word in worker.get("/readyz")[1] for word in ("Inconsistent group protocol", "a group of its own")),
                   what=lambda: f"/readyz says the same, but it says {worker.get('/readyz')}")
        summary = worker.status()["summary"]
        self.assertEqual(("warning", "joining"), (summary["severity"], summary["state"]))
        self.assertIn("Inconsistent group protocol", summary["reason"])
        other.close()
        worker.wait_assigned()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)
        self.assertEqual(1, sum("Inconsistent group protocol" in e["message"] for e in worker.events()))

    def test_made_again_empty(self):
        """Nothing was ever committed."""
        sandbox = self.sandbox()
        self.worker(sandbox).wait_assigned()
        self.recreate()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)

    def test_made_again_with_fewer_partitions(self):
        """What is left of them is read, and the worker still ends: librdkafka 2.0 never lets go of partitions that are not there any
        more."""
        sandbox = self.sandbox()
        ca = shutil.copy(sandbox.ca, f"{self.directory}/kafka-ca.pem")
        worker = self.worker(sandbox, {"kafka.ssl.ca.location": ca}).wait_assigned()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)
        delete_topic(self.bootstrap, self.names["call.requests"])
        create_topics(self.bootstrap, {self.names["call.requests"]: 1})
        self.ask_calls(12, 12, partitions=1)
        self.wait_called(sandbox, 24)
        worker.wait_log("partition.* that topic .* does not have", 60)
        self.assertEqual([], [e["message"] for e in worker.events() if "refuses to commit its ledger" in e["message"]])
        at = worker.logged()
        os.utime(ca)  # its clients are made anew
        worker.wait_log("leaves group .* and joins it again", after=at)
        worker.wait_assigned(after=at)
        self.ask_calls(24, 6, partitions=1)
        self.wait_called(sandbox, 30)
        self.assertEqual(0, worker.terminate(20))

    def take_away(self, worker):
        """Deletes the topic; whether the worker looked for its log before it was told that the topic is gone."""
        at = worker.logged()
        delete_topic(self.bootstrap, self.names["call.requests"])
        first = worker.wait_log("committed offsets of this group are gone|^lost: ", after=at)["message"]
        if first.startswith("lost"):
            return False
        worker.wait_log("cannot be found out yet", after=at)
        return True

    def test_deleted_with_requests_that_wait(self):
        """Nobody performs what was read of a topic that is gone: the log counts it, for each partition, and the page names the
        topic."""
        sandbox = self.sandbox("hang")
        worker = self.worker(sandbox, {"kafka.topic.metadata.refresh.interval.ms": "500", "platform.max.in.flight": "1"})
        worker.wait_assigned()
        self.ask_calls(0, 12)
        sandbox.wait_calls(1)
        wait_until(lambda: sum(p["unfinished"] for p in worker.status()["partitions"]) == 12, what="all are read")
        at = worker.logged()
        delete_topic(self.bootstrap, self.names["call.requests"])
        worker.wait_log("read and not begun", after=at)
        told = wait_until(lambda: (found := [e for e in worker.events() if "read and not begun" in e["message"]])[2:] and found)
        self.assertEqual({0, 1, 2}, {e["kafka.partition"] for e in told})
        self.assertEqual(11, sum(int(re.search(r": (\d+) requests of ", e["message"])[1]) for e in told))
        for event in told:
            self.assertRegex(event["message"], r"read and not begun \(offsets [01] to 3\) are not performed")
        summary = worker.status()["summary"]
        self.assertEqual("lost", summary["state"])
        self.assertEqual(f"topic {self.names['call.requests']} is gone", summary["reason"])

    def test_made_again_at_once_with_requests_that_wait(self):
        """Those of the old topic are counted as well."""
        sandbox = self.sandbox("hang")
        worker = self.worker(sandbox, {"platform.max.in.flight": "1"}).wait_assigned()
        self.ask_calls(0, 12)
        sandbox.wait_calls(1)
        wait_until(lambda: sum(p["unfinished"] for p in worker.status()["partitions"]) == 12, what="all are read")
        at = worker.logged()
        self.recreate()
        self.ask_calls(12, 3)
        said = worker.wait_log("is gone: .* read and not begun", after=at)
        self.assertIn("kafka.partition", said)

    def test_made_again_and_owned_by_another_meanwhile(self):
        """What a worker remembers of the log that it read is older than the ledger of the worker that has read the new one: a partition
        goes on from that ledger, and nothing is called twice, whether the partition is handed over or not."""
        sandbox = self.sandbox()
        options = {"kafka.session.timeout.ms": "6000", "kafka.topic.metadata.refresh.interval.ms": "3000"}
        worker, count = self.worker(sandbox, options).wait_assigned(), 0

        def ask(more):
            self.ask_calls(count, more)
            self.wait_called(sandbox, count + more)
            self.wait_idle()
            return count + more
        count = ask(12)
        while not self.take_away(worker):
            create_topics(self.bootstrap, {self.names["call.requests"]: self.PARTITIONS})
            count = ask(12)
        worker.signal(signal.SIGSTOP)  # so that the other one has all partitions first
        other = self.worker(sandbox, options)
        other.wait_log("does not exist yet")
        create_topics(self.bootstrap, {self.names["call.requests"]: self.PARTITIONS})
        count = ask(12)
        at = worker.logged()
        worker.signal(signal.SIGCONT)
        worker.wait_log("^assigned: 1 partition", after=at)
        count = ask(6)
        at = worker.logged()
        other.kill()
        worker.wait_log("^assigned: 2 partition", after=at)
        count = ask(6)
        self.assertEqual(0, worker.terminate())
        self.assertEqual(count, len(sandbox.calls()))

    def test_away_for_a_moment(self):
        """The metadata are asked for while it is away, so that librdkafka makes the partitions anew."""
        sandbox = self.sandbox()
        for round, away in enumerate((0.3, 1, 3)):
            if not round:
                self.worker(sandbox, {"kafka.topic.metadata.refresh.interval.ms": "200"}).wait_assigned()
            self.recreate(away)
            self.ask_calls(12 * round, 12)
            self.wait_called(sandbox, 12 * round + 12)

    def test_away_for_long(self):
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"kafka.topic.metadata.refresh.interval.ms": "500"}).wait_assigned()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)
        at = worker.logged()
        self.recreate(away=8)
        worker.wait_log(f"{self.names['call.requests']}.*does not exist", after=at)
        self.ask_calls(12, 12)
        self.wait_called(sandbox, 24)

    def test_session_that_the_broker_does_not_allow(self):
        worker = self.worker(self.sandbox(), {"kafka.session.timeout.ms": "3600000", "kafka.max.poll.interval.ms": "3600000"})
        worker.wait_log(lambda e: e["log.level"] == "error" and "group.max.session.timeout.ms" in e["message"])
        self.assertEqual(503, worker.get("/readyz")[0])

    def test_transactions_longer_than_the_broker_allows(self):
        worker = self.worker(self.sandbox(), {"kafka.transaction.timeout.ms": "1000000"})
        worker.wait_log(lambda e: e["log.level"] == "error" and "transaction.max.timeout.ms" in e["message"])
        self.assertEqual(503, worker.get("/readyz")[0])

    def test_grown(self):
        sandbox = self.sandbox()
        self.worker(sandbox).wait_assigned()
        self.ask_calls(0, 12)
        self.wait_called(sandbox, 12)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        admin.create_partitions([NewPartitions(self.names["call.requests"], 5)])[self.names["call.requests"]].result(30)
        wait_until(lambda: len(admin.list_topics(self.names["call.requests"], timeout=10).topics[self.names["call.requests"]].partitions) == 5)
        self.ask_calls(12, 10, partitions=5)
        self.wait_called(sandbox, 22)

    def send_batch(self, compression, first, count, partition):
        """One batch of so many requests of 60 kB."""
        big = Requests(self.bootstrap, self.names["call.requests"], **{"compression.type": compression, "linger.ms": 1000, "batch.size": 30000000,
                                                                       "message.max.bytes": 30000000})
        for n in range(first, first + count):
            big.producer.produce(self.names["call.requests"], key=f"k{n}", partition=partition, on_delivery=functools.partial(big._delivered, False),
                                 value=json.dumps(call(n, f"k{n}", filler="x" * 60000)))
        big.flush()

    def test_batches_that_are_read_whatever_they_unpack_to(self):
        """librdkafka has that limit for zstd alone."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, self.SMALL).wait_assigned()
        for partition, compression in enumerate(("gzip", "snappy", "lz4")):
            self.send_batch(compression, 100 * partition, 100, partition)
        self.wait_called(sandbox, 300)
        self.assertEqual([], [e["message"] for e in worker.events() if e["log.level"] == "error"])
        self.assertEqual(0, worker.terminate())

    def test_batch_that_unpacks_to_too_much(self):
        """That partition is halted and says what to do, the others go on, and with a higher limit it goes on after a restart."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, self.SMALL).wait_assigned()
        self.ask_calls(0, 3)
        self.wait_called(sandbox, 3)
        self.send_batch("zstd", 3, 200, 0)
        self.ask_calls(203, 2, producer=None)  # to partitions 2 and 0
        said = worker.wait_log(lambda e: e.get("log.level") == "error" and "receive.message.max.bytes" in e.get("message", ""), 40)
        self.assertEqual(0, said["kafka.partition"])
        # The page and the metrics follow the log within a second.
        wait_until(lambda: [row["state"] for row in worker.status()["partitions"] if row["partition"] == 0] == ["halted"])
        wait_until(lambda: re.search(r"(?m)^privacy_call_partitions_halted 1$", worker.get("/metrics")[1]))
        self.assertEqual(200, worker.get("/readyz")[0])
        sandbox.wait_calls(4)
        self.assertEqual(0, worker.terminate())
        self.worker(sandbox, {"kafka.receive.message.max.bytes": "100000000"})
        self.wait_called(sandbox, 205)


class LostOffsets(KafkaCase):
    BROKERS = 1
    PARTITIONS = 2

    def forget_offsets(self):
        """Deletes what the group has committed, as a damaged __consumer_offsets would, and has the coordinator read it again."""
        number = 0
        for character in self.group:  # Java's String.hashCode
            number = (31 * number + ord(character)) & 0xffffffff
        number = abs(number - (1 << 32) if number >> 31 else number)
        partitions = len(AdminClient({"bootstrap.servers": self.bootstrap, **QUIET}).list_topics("__consumer_offsets", 10)
                         .topics["__consumer_offsets"].partitions)
        admin = Producer({"bootstrap.servers": self.bootstrap, "client.id": "__admin_client", **QUIET})
        for partition in range(self.PARTITIONS):
            key = struct.pack(">h", 1)
            for text in (self.group, self.names["call.requests"]):
                key += struct.pack(">h", len(text)) + text.encode()
            admin.produce("__consumer_offsets", key=key + struct.pack(">i", partition), value=None, partition=number % partitions)
        self.assertEqual(0, admin.flush(20))
        self.kafka.stop()
        self.kafka.restart()

    def ask_and_wait(self, sandbox, first, count):
        self.requests.send_calls(range(first, first + count), partitions=self.PARTITIONS)
        sandbox.wait_calls(first + count, 60)
        self.assertEqual({"succeeded": first + count}, self.statuses(self.topic("call.results").results(first + count, 60)))

    def test_lost_where_another_worker_had_it(self):
        """Nobody knows what was done there: that partition is halted and stays so, the other one goes on undisturbed."""
        sandbox = self.sandbox()
        options = {"kafka.session.timeout.ms": "30000", "kafka.partition.assignment.strategy": "range"}
        worker = self.worker(sandbox, options).wait_assigned()
        other = self.worker(sandbox, options, name="a").wait_assigned()  # partition 0 goes to the first by name
        self.ask_and_wait(sandbox, 0, 20)
        self.wait_idle()
        theirs = other.wait_log("^call .*: try 1")["kafka.partition"]
        self.assertEqual(0, theirs)
        at = worker.logged()
        self.assertEqual(0, other.terminate())
        worker.wait_assigned(after=at)
        self.wait_idle()
        self.forget_offsets()
        said = worker.wait_log("is halted.*its committed offset is gone", 60, after=at)
        self.assertEqual(theirs, said["kafka.partition"])
        self.requests.send_calls(range(20, 40), partitions=2)
        self.assertEqual(30, len(self.topic("call.results").results(30, 60, settle=4)))
        self.assertEqual(30, len(sandbox.calls()))
        self.assertEqual(1, len([e for e in worker.events() if "committed offsets of this group are gone" in e["message"]]))
        row, = [p for p in worker.status()["partitions"] if p["partition"] == theirs]
        self.assertEqual("halted", row["state"])
        self.check_halt_outlives(worker, sandbox, options, theirs)

    def ledger(self, *words):
        command = [f"{BUILD}/privacy-call-worker", "ledger", *words, "-o", f"kafka.bootstrap.servers={self.bootstrap}", "-o",
                   f"kafka.group.id={self.group}", "-o", f"topic.call.requests={self.names['call.requests']}",
                   "-o", "topic.recording.requests=", "-o", "platform.url=https://127.0.0.1:1", "-o", "platform.token=t",
                   "-o", "platform.app.id=a"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def check_halt_outlives(self, worker, sandbox, options, partition):
        """What is halted as its committed offset was lost is halted for whoever gets it next, until it is repaired."""
        self.assertEqual(0, worker.terminate())
        first = self.worker(sandbox, options, name="b")
        first.wait_log("is halted.*the mark of a worker that found the committed offset gone")
        second = self.worker(sandbox, options, name="a")  # to which the partition goes, as it is the first by name
        said = second.wait_log("is halted.*the mark of a worker that found the committed offset gone", 60)
        self.assertEqual(partition, said["kafka.partition"])
        shown = self.ledger("--json")
        self.assertEqual(1, shown.returncode, shown.stderr)
        row, = [p for p in json.loads(shown.stdout)["jobs"][0]["partitions"] if p["halted"]]
        self.assertEqual(partition, row["partition"])
        self.assertIn("the mark of a worker", row["reason"])
        self.assertEqual([0, 0], [first.terminate(), second.terminate()])
        self.assertEqual(30, len(sandbox.calls()))
        where = ("repair", "--topic", self.names["call.requests"], "--partition", str(partition), "--yes")
        refused = self.ledger(*where)
        self.assertEqual(1, refused.returncode)
        self.assertIn("--offset N must say it", refused.stderr)
        repaired = self.ledger(*where, "--offset", str(self.called(sandbox, partition)))
        self.assertEqual(0, repaired.returncode, repaired.stderr)
        self.worker(sandbox, options)
        self.assertEqual({"succeeded": 40}, self.statuses(self.topic("call.results").results(40, 60)))
        self.assertEqual(40, len(sandbox.calls()))
        self.wait_idle()
        self.assertEqual(0, self.ledger().returncode)

    def called(self, sandbox, partition):
        """The offset behind the last request of the partition that has a result."""
        results = self.topic("call.results").results(30, 30)
        return 1 + max(r["source"]["offset"] for r in results if r["source"]["partition"] == partition)

    def test_lost_while_it_runs(self):
        """The log is the one that was read: what is known is committed again, and nothing is called twice."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"kafka.session.timeout.ms": "30000"}).wait_assigned()
        self.ask_and_wait(sandbox, 0, 20)
        self.wait_idle()
        at = worker.logged()
        self.forget_offsets()
        for _ in range(self.PARTITIONS):
            worker.wait_log("its committed offset is gone.*committed again", 60, after=at)
        self.wait_idle()
        self.ask_and_wait(sandbox, 20, 20)
        self.assertEqual(0, worker.terminate())
        worker = self.worker(sandbox).wait_assigned()  # and the next one finds it
        self.ask_and_wait(sandbox, 40, 10)
        self.assertEqual(50, len(sandbox.calls()))


if __name__ == "__main__":
    main()
