"""Three brokers, load with Zipf keys, a platform that records every POST, and something that goes wrong all the time.

Each scenario prints one line of figures. CHAOS=long: the long form (make chaos), test_refusals.py included; CHAOS_REPORT=FILE: a table
of the lines, written when every scenario has one.
"""
import atexit
import hashlib
import os
import signal
import time

from case import main
from confluent_kafka.admin import AdminClient
from findings import PlatformDeath
from kafka import free_ports
from programs import Sandbox, Worker
from records import QUIET, coordinator
from report import print_outages
from scenario import LONG, SHIPPED, Scenario
from store import Store

RECORDING = 50000  # bytes behind the head of each
OUTAGES = []  # of the table: seconds, workers, figures of the scenario, seconds without a result after the return, load of the machine


class Chaos(Scenario):
    BROKERS = 3
    PROXIED = True
    PARTITIONS = 6

    # Workers killed, frozen, cut off; and planned moves

    def test_workers_killed_in_place(self):
        """kill -9 of workers at random times, restarted in place"""
        # Not cooperative-sticky: a static member that dies in mid-rebalance and comes back is given what it had, and what was to
        # move then belongs to nobody until the next rebalance.
        static = {"kafka.partition.assignment.strategy": "range"}
        self.kill_at_random(80 if LONG else 4, 1.5, lambda name: {**static, "kafka.group.instance.id": name})

    def test_workers_killed(self):
        """kill -9 of workers at random times, restarted as new members"""
        self.kill_at_random(20 if LONG else 2, 5, lambda name: {})

    def kill_at_random(self, turns, seconds, options):
        self.begin(platform_timeout="2000")
        for name in ("a", "b", "c"):
            self.start(name, options(name))
        self.wait_owners("a", "b", "c")
        kills = 0
        for turn in range(turns):
            time.sleep(self.random.uniform(0, seconds))
            victims = self.alive() if turn % 8 == 3 else [self.random.choice(self.alive())]
            for victim in victims:
                self.die(victim, Worker.kill)
            if turn % 8 == 6 or turn == 1:
                self.wait_taken_over(victim)
            for victim in victims:
                self.start(victim.name, options(victim.name))
            kills += len(victims)
        self.finish(f"{kills} kills of 3 workers, now and then all at once; most come back at once, some after others took over")

    def test_workers_frozen(self):
        """SIGSTOP for longer than the session, and SIGCONT"""
        self.begin()
        workers = self.start_all("a", "b")
        rounds = 4 if LONG else 1
        for turn in range(rounds):
            victim = workers[turn % 2]
            logged = victim.logged()
            self.freeze(victim)
            self.wait_taken_over(victim)
            self.progress(20)
            victim.signal(signal.SIGCONT)
            victim.wait_log("^assigned: [1-9]", 60, logged)
            self.progress(20)
        self.finish(f"{rounds} times one of 2 workers, each time until the other had taken over")

    def test_workers_cut_off(self):
        """a worker's network to Kafka is silent for longer than the session"""
        self.begin()
        self.start_all("direct")
        victim, = self.start_all("behind", **{"kafka.bootstrap.servers": self.kafka.proxied_bootstrap})
        rounds = 3 if LONG else 1
        for _ in range(rounds):
            logged = victim.logged()
            self.die(victim, lambda _: self.kafka.network.hold())
            try:
                self.wait_taken_over(victim)
                self.progress(20)
            finally:
                self.kafka.network.release()
            victim.wait_log("^assigned: [1-9]", 60, logged)
            self.progress(20)
        self.finish(f"{rounds} times one of 2 workers, which reaches the platform all the time", outlived=True)

    def test_workers_rolling(self):
        """1 -> 4 -> 1 workers by SIGTERM"""
        self.begin()
        number, rounds = 1, 4 if LONG else 1
        workers = self.start_all("w1", **SHIPPED)
        for _ in range(rounds):
            for _ in range(3):
                number += 1
                workers += self.start_all(f"w{number}", **SHIPPED)
            while len(workers) > 1:
                self.assertEqual(0, workers.pop(0).terminate())
                self.progress(20)
        self.finish(f"{3 * rounds} joins and {3 * rounds} stops, each with exit status 0")

    # Brokers

    def test_brokers_killed(self):
        """kill -9 of each broker in turn"""
        self.begin()
        workers = self.start_all("a", "b", **SHIPPED)
        story = []
        for n in self.kafka.numbers() if LONG else [self.roles_of(workers)["group coordinator"]]:
            self.wait_in_sync()
            story.append(f"{n} ({self.tell_roles(n, workers)})")
            self.kafka.kill(n)
            self.progress(50)
            self.kafka.restart(n)
            self.progress(50)
        self.wait_in_sync()
        self.finish("broker " + ", then ".join(story))

    def test_outage(self):
        """all brokers are away for 5 s, 2 workers"""
        self.outage(5, "a", "b")

    def test_outage_of_3(self):
        """all brokers are away for 5 s, 3 workers"""
        self.outage(5, "a", "b", "c")

    def test_outage_longer_than_the_session(self):
        """all brokers are away for 40 s, 2 workers"""
        self.outage(40, "a", "b")

    def test_outage_longer_than_the_session_of_3(self):
        """all brokers are away for 40 s, 3 workers"""
        self.outage(40, "a", "b", "c")

    def test_outage_of_minutes(self):
        """all brokers are away for 180 s, 2 workers"""
        self.outage(180, "a", "b")

    def test_outage_of_minutes_of_3(self):
        """all brokers are away for 180 s, 3 workers"""
        self.outage(180, "a", "b", "c")

    def outage(self, seconds, *names):
        """kill -9 of all brokers, which then start again with their data; the workers' defaults, whose session is 30 s."""
        self.begin()
        workers = self.start_all(*names, **SHIPPED)
        self.progress(100)
        logged = [worker.logged() for worker in workers]
        for n in self.kafka.numbers():
            self.kafka.kill(n)
        time.sleep(seconds)
        began = time.time()
        self.kafka.restart(*self.kafka.numbers())
        returned = time.time()
        self.progress(100)
        self.wait_in_sync()
        self.progress(100)
        until = time.time()
        lost = sum(e["message"].startswith("lost: ") for worker, after in zip(workers, logged) for e in worker.events()[after:])

        def told(results):
            self.stood = self.standstill(results, returned, until)
            return (f"kill -9 of all 3 and {seconds} s later up again, which took {returned - began:.0f} s; {lost} of {len(names)} workers lost "
                    f"their assignment; ends of transactions were refused for too few replicas {self.refused_ends()} times; then the longest time without a result of a partition was {self.stood:.1f} s")
        self.finish(told)
        OUTAGES.append((seconds, len(names), self.row, self.stood, os.getloadavg()[0]))

    def refused_ends(self):
        """How often a coordinator could not write a transaction's end since the brokers' last start."""
        count = 0
        for n in self.kafka.numbers():
            with open(f"{self.kafka.directory}/{n}/server.log", errors="replace") as log:
                count += sum("Not available to append PendingCompleteTxn" in line for line in log)
        return count

    def standstill(self, results, since, until):
        """The longest time without a result of any one partition between two moments."""
        longest = 0
        for partition in range(self.PARTITIONS):
            times = sorted(r["_timestamp"] / 1000 for r in results if r["source"]["partition"] == partition)
            times = [since, *(t for t in times if since < t < until), until]
            longest = max(longest, *(b - a for a, b in zip(times, times[1:])))
        return longest

    def test_broker_paused(self):
        """SIGSTOP of the broker that coordinates the group, and SIGCONT"""
        self.begin()
        workers = self.start_all("a", "b", **SHIPPED)
        story = []
        for seconds in (4, 15) if LONG else (4,):
            self.progress(50)
            n = self.roles_of(workers)["group coordinator"]
            story.append(f"broker {n} ({self.tell_roles(n, workers)}) for {seconds} s")
            self.kafka.pause(n)
            try:
                time.sleep(seconds)
            finally:
                self.kafka.resume(n)
            self.progress(50)
            self.wait_in_sync()
        self.finish("; ".join(story))

    # The network and the platform

    def test_network(self):
        """slow and broken connections between workers and brokers"""
        self.begin()
        self.start_all("a", "b", **SHIPPED, **{"kafka.bootstrap.servers": self.kafka.proxied_bootstrap})
        network, before = self.kafka.network, self.kafka.network.cuts
        for turn in range(48 if LONG else 6):
            network.delay = self.random.choice((0, 0.01, 0.05, 0.2))
            self.progress(self.random.randrange(20))
            network.cut()
            if turn % 6 == 5:
                self.progress(20)
                network.hold()
                time.sleep(2)
                network.release()
        network.delay = 0
        self.progress(50)
        self.finish(f"up to 0.2 s each way, {network.cuts - before} connections cut, {(turn + 1) // 6} times silent for 2 s")

    def test_platform_down(self):
        """the platform is killed and comes back"""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        self.begin(address=address)
        self.start_all("a", "b")
        rounds = 4 if LONG else 1
        for _ in range(rounds):
            self.progress(50)
            self.overlaps += self.platform.stats()["overlaps"]
            self.platform.kill()
            self.deaths.append(PlatformDeath(time.time()))
            time.sleep(5 if LONG else 2)
            self.platform = self.keep(Sandbox(self.directory, [self.latency()], address=address))
        self.progress(50)
        self.finish(f"{rounds} times for {5 if LONG else 2} s")

    # The store for recordings

    def test_store(self):
        """the store for recordings is full, then read-only"""
        self.store = Store(self.directory)
        self.addCleanup(self.store.close)
        self.begin(launcher=self.store.launcher)
        # By range, each has partitions of either kind.
        self.start_all("a", "b", **{"kafka.partition.assignment.strategy": "range", "recording.store": self.store.path,
                                    "topic.recording.requests": self.names["recording.requests"], "recording.attempts": "2"})
        count, rounds = (40, 6) if LONG else (6, 1)
        self.kept = set()
        for _ in range(rounds):
            for begin, end in ((lambda: self.store.fill(RECORDING // 2), self.store.make_room),
                               (self.store.make_read_only, self.store.make_writable)):
                self.record(count, kept=True)
                begin()
                self.record(count, kept=False)
                self.progress(20)
                end()
        self.record(count, kept=True)
        self.finish(f"{rounds} times each, with {self.store.words()}; beside the calls {self.asked:,} recordings, half of them behind a "
                    f"URL: {len(self.kept):,} kept with the right hash, {self.asked - len(self.kept):,} unavailable while there was no "
                    "place for them")
        self.check_recordings(settle=0.5)

    def record(self, count, kept):
        """Asks for so many recordings. kept: whether each is to be in the store, or unavailable for the store's sake."""
        names = [f"{'json-' * (n % 2)}size-{RECORDING}-{n}" for n in range(self.asked, self.asked + count)]
        results = self.ask(*names, settle=0)
        for name in names:
            result = results[name]
            if kept:
                self.assertEqual("succeeded", result["status"], result)
                self.kept.add(name)
            else:
                self.assertEqual(("unavailable", "store-failed", 2), (result["status"], result["error"]["code"], result["attempts"]))
                self.assertNotIn("recording", result)
        self.check_recordings()

    def check_recordings(self, settle=0):
        """One result for each, the file of each that was kept, and nothing else in the store."""
        results = self.results(self.asked, role="recording.results", settle=settle)
        for result in results:
            if result["callIdentifier"] in self.kept:
                name, found = f"{result['callIdentifier']}.wav", result["recording"]
                data = self.store.read(name)
                self.assertEqual((RECORDING + 44, hashlib.sha256(data).hexdigest(), f"file://{self.store.path}/{name}"),
                                 (len(data), found["sha256"], found["uri"]))
        self.assertEqual(self.asked, len({result["callIdentifier"] for result in results}))
        self.assertEqual(sorted(f"{name}.wav" for name in self.kept), self.store.files())

    # Which broker does what

    def roles_of(self, workers):
        """{what: broker}, {leader: {partition: broker}}"""
        topic = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET}).list_topics(self.names["call.requests"], timeout=20)
        numbers = {port: n for n, port in self.kafka.ports.items()}
        roles = {"leader": {p: m.leader for p, m in topic.topics[self.names["call.requests"]].partitions.items()},
                 "group coordinator": numbers[coordinator(self.bootstrap, self.group)[1]]}
        for worker in workers:
            at = coordinator(self.bootstrap, f"{self.group}:{worker.name}", transactions=True)
            roles[f"transaction coordinator of {worker.name}"] = numbers[at[1]]
        return roles

    def tell_roles(self, n, workers):
        roles = self.roles_of(workers)
        leads = list(roles.pop("leader").values()).count(n)
        told = [f"leader of {leads} partitions"] if leads else []
        return ", ".join(told + [what for what, broker in roles.items() if broker == n]) or "follower"


if LONG:
    from test_refusals import Limits, Refusals  # noqa: F401
else:  # others do much the same: test_broker_trouble.py freezes a broker, test_kill.py kills new members
    del Chaos.test_broker_paused, Chaos.test_workers_cut_off, Chaos.test_workers_killed
    for name in [name for name in vars(Chaos) if name.startswith("test_outage_")]:
        delattr(Chaos, name)

if __name__ == "__main__":
    atexit.register(lambda: print_outages(OUTAGES))
    main()
