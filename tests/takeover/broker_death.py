"""One of three brokers dies under load: the one that leads the requests, or the results, that coordinates the groups, or the transactions,
that is the active controller, and one that is all of that. How long each partition of either job stands still is told, and how long that
is beyond the moment at which the controller has noticed the death (it is fenced then, and others lead in its place), which no client can
hasten. No worker loses its assignment by it, and nothing becomes unknown. With the defaults of worker and brokers.

KILLS: each of them dies once for ten of these (make takeover, make broker-death: twice). ROLE: only roles with these words. OPTIONS: more of
the workers' (key=value ...). LONGEST: seconds beyond the detection that are not too many (3; on a machine that does much else, more)."""
import atexit
import datetime
import itertools
import os
import re
import time

from confluent_kafka.admin import AdminClient

from case import main, wait_until
from load import KILLS, Arrivals, Load, UnderLoad
from records import QUICK, QUIET, Topic, coordinator, create_topics, delete_topic, ends, prefer_leaders

LONGEST = float(os.environ.get("LONGEST", "3"))
JOBS = ("call", "recording")
ALL = ("leads the requests", "leads the results", "coordinates the groups", "coordinates the transactions", "is the active controller")
ROLES = {**{role: (role,) for role in ALL}, "is all of that but the controller": ALL[:-1], "is all of that": ALL}
ROWS = []  # of the table: role, detection, {job: standstill}, {job: beyond the detection}, load


def print_table():
    if not ROWS:
        return
    print("\n| the broker that dies | times | noticed after | calls stand | recordings stand | beyond the detection: calls | recordings | load |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for role, rows in itertools.groupby(ROWS, lambda row: row[0]):
        rows = list(rows)

        def told(values):
            values = list(values)
            return f"{min(values):.1f}" + (f" to {max(values):.1f}" if len(values) > 1 else "") + " s"
        stand, beyond = ([told(row[i][job] for row in rows) for job in JOBS] for i in (2, 3))
        print(f"| {role} | {len(rows)} | {told(row[1] for row in rows)} | {stand[0]} | {stand[1]} | {beyond[0]} | {beyond[1]} | "
              f"{max(row[4] for row in rows):.1f} |", flush=True)


class BothLoads(Load):
    """Requests for both jobs, on every partition."""
    RATE = 40  # a second for each job

    def __init__(self, bootstrap, names, partitions):
        super().__init__(bootstrap, names["call.requests"], partitions, **QUICK)
        self.recordings = names["recording.requests"]

    def send(self, number):
        super().send(number)
        self.requests.send({"CallIdentifier": f"c{number}"}, f"order-{number}", partition=number % self.partitions, topic=self.recordings)


class BrokerDeath(UnderLoad):
    BROKERS = 3
    RECORDINGS = True

    # Who does what

    def create_topics(self):
        """Not yet: who leads them depends on the role."""

    def controller(self):
        """The number of the active controller: the last one that has said so."""
        said = [(at, n) for n in self.kafka.numbers() for at in self.said(n, "Becoming the active controller")]
        return max(said)[1]

    def said(self, n, words):
        """When a broker has logged that, seconds since 1970."""
        found = []
        today = datetime.date.today()
        with open(f"{self.kafka.directory}/{n}/server.log", errors="replace") as log:
            for line in log:
                if words in line:
                    at = datetime.datetime.combine(today, datetime.time.fromisoformat(line.split()[0])).timestamp()
                    found.append(at if at < time.time() + 60 else at - 86400)
        return found

    def noticed(self, broker, since):
        """When the controller has fenced the broker, by its own account."""
        return wait_until(lambda: [at for n in self.kafka.numbers() if n != broker
                                   for at in self.said(n, f"Fencing broker {broker} at epoch") if at > since], 60, "the controller notices")[0]

    def coordinators(self, topic, some_name, transactions, wanted):
        """Which broker coordinates a name: by the leaders of the topic that keeps it. `wanted`: the broker that leads some of it, or None."""
        coordinator(self.bootstrap, some_name, transactions)  # makes the topic
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        answers = ["not asked for"]

        def led():
            found = admin.list_topics(topic, timeout=20).topics[topic].partitions
            if not wanted or wanted in {p.leader for p in found.values()}:
                return found
            answers.append(prefer_leaders(self.bootstrap))  # a broker that has just come back was not in sync before
            return None
        partitions = wait_until(led, 60, lambda: f"broker {wanted} leads some of {topic}; elections {len(answers) - 1}, last {answers[-1]}")

        def find(name):
            code = 0
            for character in name.encode():
                code = (31 * code + character) & 0xffffffff
            return partitions[(code & 0x7fffffff) % len(partitions)].leader
        return find

    def names_where(self, victim, groups, transactions):
        """Names of the two groups and of two workers, so that the broker coordinates both groups, or none, and so the transactions."""
        of_group = self.coordinators("__consumer_offsets", self.group, False, victim if groups else None)
        of_id = self.coordinators("__transaction_state", self.group, True, victim if transactions else None)
        for i, j in itertools.product(range(1, 50), repeat=2):
            names = [f"{self.group}{i}", f"{self.group}-recordings{j}"]
            if any((of_group(name) == victim) != groups for name in names):
                continue
            workers = [w for w in (f"w{n}" for n in range(1, 50)) if all((of_id(f"{g}:{w}") == victim) == transactions for g in names)]
            if len(workers) > 1:
                return names, workers[:2]
        raise AssertionError("no names for these roles")

    def place(self, roles):
        """Topics, a group and names of workers so that one broker has just these roles: its number, and the names."""
        controller = self.controller()
        victim = controller if "is the active controller" in roles else next(n for n in self.kafka.numbers() if n != controller)
        others = [n for n in self.kafka.numbers() if n != victim]

        def leaders(role):
            return [victim] if role in roles else others
        leads = {name: leaders("leads the requests") if "requests" in role else leaders("leads the results") if "results" in role else others
                 for role, name in self.names.items()}
        create_topics(self.bootstrap, {name: 1 if role == "dead.letters" else self.PARTITIONS for role, name in self.names.items()}, leaders=leads)
        groups, names = self.names_where(victim, "coordinates the groups" in roles, "coordinates the transactions" in roles)
        return victim, groups, names

    # The test

    def begin_both(self, **options):
        self.options, self.kills, self.count, self.slow = options, [], 0, {}
        self.platform = self.sandbox("latency=50-150ms")
        self.arrivals = Arrivals(self.bootstrap, self.names["call.results"], **QUICK)
        self.recorded = Arrivals(self.bootstrap, self.names["recording.results"], **QUICK)
        self.load = BothLoads(self.bootstrap, self.names, self.PARTITIONS)
        for loop in (self.load, self.arrivals, self.recorded):
            loop.start()
            self.addCleanup(loop.end)

    def shared(self, workers):
        held = [[row["topic"] for row in worker.status()["partitions"] if row["state"] == "active"] for worker in workers]
        return all(topics.count(self.names[f"{job}.requests"]) == self.PARTITIONS / len(workers) for topics in held for job in JOBS)

    def arrivals_of(self, job):
        return self.arrivals if job == "call" else self.recorded

    def seen(self, job):
        return self.arrivals_of(job).seen

    def places(self):
        return [(job, partition) for job in JOBS for partition in range(self.PARTITIONS)]

    def wait_all(self, since, seconds=60):
        """Waits until there are results of each partition whose calls began after that."""
        missing, looked = set(self.places()), {job: 0 for job in JOBS}

        def look():
            for job in JOBS:
                seen = self.seen(job)
                self.arrivals_of(job).check()
                while looked[job] < len(seen):
                    r = seen[looked[job]][1]
                    looked[job] += 1
                    if self.began(r) > since:
                        missing.discard((job, r["source"]["partition"]))
            return not missing
        wait_until(look, seconds, lambda: f"results of {sorted(missing)}; " + "; ".join(self.arrivals_of(job).told() for job in JOBS))

    def standstill(self, job, partition, since):
        """(how long, until when): the longest time without a result."""
        times = [since] + [at for at, r in list(self.seen(job)) if at > since and r["source"]["partition"] == partition]
        return max((b - a, b) for a, b in zip(times, times[1:]))

    def die(self, role, broker):
        died = time.time()
        self.kafka.kill(broker)
        try:
            noticed = self.noticed(broker, died)
            self.wait_all(noticed)
            time.sleep(1)  # a second standstill counts, too
            stood = {place: self.standstill(*place, died) for place in self.places()}
        finally:
            self.kafka.restart(broker)
        longest = {job: max(stood[place][0] for place in stood if place[0] == job) for job in JOBS}
        beyond = {job: max(stood[place][1] for place in stood if place[0] == job) - noticed for job in JOBS}
        ROWS.append((role, noticed - died, longest, beyond, os.getloadavg()[0]))
        told = ", ".join(f"{job}s stood {longest[job]:.1f} s, until {beyond[job]:.1f} s later" for job in JOBS)
        print(f"broker {broker}, noticed after {noticed - died:.1f} s; {told}; load {os.getloadavg()[0]:.1f}", flush=True)
        self.wait_in_sync()
        return max(beyond.values())

    def delete_earlier_topics(self):
        """Each partition that a broker led costs the others time when it dies, on a machine that they share."""
        for name in AdminClient({"bootstrap.servers": self.bootstrap, **QUIET}).list_topics(timeout=10).topics:
            if not name.startswith("__"):
                delete_topic(self.bootstrap, name)

    def broker_dies(self, role):
        self.wait_in_sync()
        self.delete_earlier_topics()
        prefer_leaders(self.bootstrap)
        victim, (self.group, recordings), names = self.place(ROLES[role])
        options = {"kafka.session.timeout.ms": None, "platform.timeout.ms": None, "recording.group.id": recordings}
        options.update(option.split("=", 1) for option in os.environ.get("OPTIONS", "").split())
        self.begin_both(**options)
        workers = [self.start(name) for name in names]
        wait_until(lambda: self.shared(workers), 60, "each worker has half of each topic")
        self.wait_all(time.time())
        logged = [worker.logged() for worker in workers]
        beyond = self.die(role, victim)
        self.wait_all(time.time())
        moved = [f"{worker.name}: {e['@timestamp']} {e['message']}" for worker, start in zip(workers, logged) for e in worker.events()[start:]
                 if re.match("(lost|revoked|assigned):", e["message"])]
        self.finish(*workers, kills=False)
        self.finish_recordings()
        self.assertEqual([], moved, "a broker's death moved partitions")
        self.assertLessEqual(beyond, LONGEST, "seconds beyond the detection")

    def finish_recordings(self):
        """One result for each."""
        name = self.names["recording.requests"]
        topic = Topic(self.bootstrap, name)
        asked = topic.read(sum(ends(self.bootstrap, name).values()))
        topic.close()
        results = self.recorded.all(len(asked))
        found = sorted((r["source"]["partition"], r["source"]["offset"]) for r in results)
        self.assertEqual(sorted((m.partition(), m.offset()) for m in asked), found)


def add_test(number, time_, role):
    def test(self):
        self.broker_dies(role)
    test.__doc__ = role
    setattr(BrokerDeath, f"test_{number}_{re.sub('[^a-z]', '_', role)}_{time_}", test)


for number, role in enumerate(ROLES):
    if os.environ.get("ROLE", "") in role:
        for time_ in range(max(KILLS // 10, 1)):
            add_test(number, time_, role)

if __name__ == "__main__":
    atexit.register(print_table)
    main()
