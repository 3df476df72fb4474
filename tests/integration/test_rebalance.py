"""Workers that join and leave under load: a planned hand-over leaves nothing in doubt and calls nothing twice."""
import itertools
import json
import re
import signal

from case import KafkaCase, load, main, wait_until
from confluent_kafka.admin import AdminClient
from records import QUIET, Leader, call, zipf_keys
from refuser import OFFSET_COMMIT, Refuser

EVENTS = load(3000)


def call_in_each_partition(case, platform):
    """One call of each partition is open: the requests."""
    sent = case.requests.send_calls(range(case.PARTITIONS), partitions=case.PARTITIONS)
    platform.wait_calls(case.PARTITIONS)
    return sent


class Rebalance(KafkaCase):
    def busy_until(self, platform, done, what):
        """Waits until done(), and sees that a fifth of EVENTS requests wait all the while, however long it takes."""
        def fed():
            while len(self.keys) < len(platform.calls()) + EVENTS // 5:
                self.keys.append(next(self.draw))
                self.requests.send(call(len(self.keys), self.keys[-1]), self.keys[-1])
            self.requests.producer.poll(0)
            return done()
        wait_until(fed, 90, what)

    def join_and_leave(self, options):
        platform = self.sandbox("latency=100-200ms")
        self.keys, self.draw = [], itertools.cycle(zipf_keys(EVENTS, keys=1000, exponent=0.3))
        options = {"platform.max.in.flight": load(48), **options}

        def work():
            enough = len(platform.calls()) + EVENTS // 10
            self.busy_until(platform, lambda: len(platform.calls()) >= enough, f"{enough} calls")

        def join():
            worker = self.worker(platform, options)
            self.busy_until(platform, lambda: any(re.search('"message":"assigned: [1-9]', line) for line in list(worker.lines["stderr"])),
                            f"{worker.name} has partitions")
            return worker

        def leave(worker):
            worker.signal(signal.SIGTERM)
            self.busy_until(platform, lambda: not worker.alive(), f"{worker.name} has ended")
            self.assertEqual(0, worker.wait())
        first = join()
        work()
        second = join()
        work()
        self.assertEqual([], [e["message"] for e in first.events() + second.events() if "0 partition(s)" in e.get("message", "")],
                         "it reads as if the worker had none")
        leave(second)
        work()
        third = join()
        leave(first)
        sent = self.requests.flush()
        results = self.results(len(sent), seconds=120)
        self.check_run(sent, results, platform)
        self.assertEqual({"succeeded": len(sent)}, self.statuses(results))
        self.assertEqual(0, platform.stats()["overlaps"], "calls of one order id ran side by side")
        self.wait_idle()
        self.assertEqual(0, third.terminate())

    def test_cooperative(self):
        self.join_and_leave({"kafka.partition.assignment.strategy": "cooperative-sticky"})

    def test_eager(self):
        self.join_and_leave({"kafka.partition.assignment.strategy": "range"})

    def test_call_that_outlives_the_drain(self):
        """It becomes unknown with the next owner, is not called again, and its late answer is no second result. The platform is frozen,
        so that no answer comes before that, however slow the machine is."""
        platform = self.sandbox("latency=6s")
        options = {"drain.timeout.ms": "1000", "platform.timeout.ms": "60000"}
        first = self.worker(platform, options, name="first")
        sent = call_in_each_partition(self, platform)
        platform.signal(signal.SIGSTOP)
        second = self.worker(platform, options, name="second")
        taken = self.results(self.PARTITIONS // 2)
        self.assertEqual({"unknown": len(taken)}, self.statuses(taken))
        platform.signal(signal.SIGCONT)
        letters = [{name: value.decode() for name, value in letter.headers()} for letter in self.dead_letters(len(taken))]
        self.assertEqual([("late-outcome", "succeeded")] * len(taken),
                         [(headers["dlq.reason"], json.loads(headers["dlq.outcome"])["status"]) for headers in letters])
        results = self.results(self.PARTITIONS)
        self.assertEqual({"unknown": len(taken), "succeeded": self.PARTITIONS - len(taken)}, self.statuses(results))
        self.check_run(sent, results, platform)
        self.assertEqual([0, 0], [worker.terminate() for worker in (first, second)])

    def test_calls_that_outlive_a_drain_are_logged(self):
        """Each one, whether another worker takes its partition or the process stops."""
        platform = self.sandbox("hang")
        options = {"drain.timeout.ms": "1000", "platform.timeout.ms": "60000"}
        first = self.worker(platform, options, name="first")
        call_in_each_partition(self, platform)
        second = self.worker(platform, options, name="second")
        taken = self.results(self.PARTITIONS // 2)
        self.assertEqual({"unknown": len(taken)}, self.statuses(taken))
        self.assertEqual(self.places(taken), self.outlived(first))
        self.assertEqual(0, first.terminate())
        results = self.results(self.PARTITIONS)
        self.assertEqual({"unknown": len(results)}, self.statuses(results))
        self.assertEqual(self.places(results), self.outlived(first))
        self.assertEqual(0, second.terminate())
        self.assertEqual([], self.outlived(second))


class Standby(KafkaCase):
    PARTITIONS = 1

    def members(self):
        return [len(group.members) for group in self.admin.list_groups(self.group, 20)]

    def leaves_at_once(self, options):
        """A worker without partitions leaves its group at its stop: none of the others' rebalances waits for its session."""
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        session = {"kafka.session.timeout.ms": "60000", "kafka.heartbeat.interval.ms": None}
        platform = self.sandbox()
        for name in ("one", "another"):
            self.worker(platform, {**session, **options}, name=name).wait_assigned()
        wait_until(lambda: self.members() == [2], 30, "both are members")
        standby, = (w for w in self.programs[1:] if '"partitions":[]' in w.get("/status")[1].replace(" ", ""))
        self.assertEqual(0, standby.terminate())
        wait_until(lambda: self.members() == [1], 20, "one member is left")

    def test_cooperative(self):
        self.leaves_at_once({})

    def test_eager(self):
        self.leaves_at_once({"kafka.partition.assignment.strategy": "range"})


class StrangeLeader(KafkaCase):
    """Nothing that another member of the group assigns ends a worker, or keeps it from the partitions that exist."""

    def check_leader(self, protocol):
        topic, platform = self.names["call.requests"], self.sandbox()
        leader = Leader(self.bootstrap, self.group, topic, protocol)
        worker = self.worker(platform, {"kafka.partition.assignment.strategy": protocol})
        leader.assign({topic: [-1, 2, 2147483647, 5, -2147483648, 2, *range(self.PARTITIONS, self.PARTITIONS + 10)],
                       self.names["recording.requests"]: [0], "nowhere": [0]})
        for partition in (2, 5):
            self.requests.send(call(partition), f"k{partition}", partition=partition)
        self.requests.flush()
        platform.wait_calls(2)
        said = [e["message"] for e in worker.events() if f"{topic}/-1" in e.get("message", "") and e["log.level"] == "error"]
        self.assertEqual(1, len(said))
        counted = self.rebalances(worker)
        for _ in range(2):  # what the topic does not have is asked for again, which is no rebalance
            worker.wait_log("^assigned: 10 partition", after=worker.logged())
        self.assertEqual([], [e["message"] for e in worker.events() if e["log.level"] == "info" and e["message"].startswith("lost: ")])
        self.assertEqual(counted, self.rebalances(worker))
        self.assertEqual(0, worker.terminate())
        leader.close()

    def rebalances(self, worker):
        return re.search(r"^privacy_call_rebalances_total.*", worker.get("/metrics")[1], re.MULTILINE).group()

    def test_cooperative(self):
        self.check_leader("cooperative-sticky")

    def test_eager(self):
        self.check_leader("range")


class StopInARebalance(KafkaCase):
    """A JoinGroup that waits for other members holds up all that its connection carries behind it, the LeaveGroup too, which librdkafka
    gives up after 5 s: then the group counts on a member that has ended, for its session."""

    ILLEGAL_GENERATION = 22

    def groups(self):
        return [(group.state, sorted(member.client_id for member in group.members)) for group in self.admin.list_groups(self.group, 20)]

    def test_whose_join_waits_for_others(self):
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        platform = self.sandbox("latency=8s")
        options = {"kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None}
        first = self.worker(platform, options, name="first")
        call_in_each_partition(self, platform)
        second = self.worker(platform, options, name="second")
        first.wait_log("^revoked: [1-9]")  # its calls take some more seconds, and only then it joins again
        third = self.worker(platform, options, name="third")
        wait_until(lambda: [state for state, _ in self.groups()] == ["PreparingRebalance"], 5, lambda: f"a rebalance: {self.groups()}")
        third.wait_log("^joining group")
        for worker in (third, second):  # the first join of one, a later one of the other
            worker.signal(signal.SIGTERM)
        self.assertEqual([0, 0], [worker.wait() for worker in (third, second)])
        for worker in (third, second):
            self.assertEqual([], [e["message"] for e in worker.events() if "could not be left" in e["message"]])
        wait_until(lambda: self.groups() == [("Stable", ["first"])], 5, lambda: f"nobody but the first is in the group: {self.groups()}")
        self.assertEqual({"succeeded": self.PARTITIONS}, self.statuses(self.results(self.PARTITIONS)))
        self.assertEqual(0, first.terminate())


    def test_that_is_a_generation_behind(self):
        """The group's generation has changed when the partitions are released: librdkafka declares the assignment lost and joins anew, and
        sends no LeaveGroup while it joins."""
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        refuser = Refuser(self.bootstrap)
        self.addCleanup(refuser.close)
        options = {"kafka.bootstrap.servers": refuser.address, "kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None}
        for strategy in ("cooperative-sticky", "range"):
            with self.subTest(strategy):
                platform = self.sandbox()
                worker = self.worker(platform, {**options, "kafka.partition.assignment.strategy": strategy}, name=strategy)
                call_in_each_partition(self, platform)
                self.wait_idle()
                wait_until(lambda: self.groups() == [("Stable", [strategy])], 10, lambda: f"it is in the group: {self.groups()}")
                refused = refuser.refused
                refuser.errors[OFFSET_COMMIT] = self.ILLEGAL_GENERATION
                self.assertEqual(0, worker.terminate())
                refuser.errors.clear()
                self.assertLess(refused, refuser.refused, "the release was not refused")
                wait_until(lambda: not any(members for _, members in self.groups()), 5, lambda: f"nobody is in the group: {self.groups()}")


if __name__ == "__main__":
    main()
