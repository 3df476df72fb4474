"""What the tests of this folder share: workers under load, what holds of their results, and a table of times."""
import os
import statistics
import threading
import time

from case import KafkaCase, wait_until
from records import Requests, Topic, call, ends, instant, result

KILLS = int(os.environ.get("KILLS", "2"))
RATE = 200  # requests per second
ENOUGH = 10  # times from which on a median says something, whatever else the machine does
GRACE = 10  # seconds that a busy machine may add to a single time
ROWS = []  # of the table that is printed at the end: what, goal (seconds or None), times


def print_table():
    if not ROWS:
        return
    head = ("", "times", "goal", "least", "median", "most")
    lines = [head] + [(what, str(len(times)), f"{goal} s" if goal else "", *(f"{f(times):.2f} s" for f in (min, statistics.median, max)))
                      for what, goal, times in ROWS]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    print()
    for line in lines:
        print("  ".join([line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]))


class Loop(threading.Thread):
    """Turns until it is ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.ended.is_set():
                self.turn()
        except Exception as error:
            self.failure = error

    def end(self):
        self.ended.set()
        self.join(20)
        if self.failure:
            raise self.failure


class Load(Loop):
    """RATE requests a second, on every partition. None is sent twice: one that is not acknowledged may be there or not."""

    RATE = RATE

    def __init__(self, bootstrap, topic, partitions, **config):
        super().__init__()
        self.requests, self.partitions = Requests(bootstrap, topic, **{"enable.idempotence": False, "retries": 0, **config}), partitions
        self.number, self.started = 0, time.monotonic()

    def turn(self):
        while self.number < (time.monotonic() - self.started) * self.RATE:
            self.send(self.number)
            self.number += 1
        self.requests.producer.poll(0.01)

    def send(self, number):
        key = f"order-{number % 1000}"  # a key stays in its partition, as 1000 is a multiple of their number
        self.requests.send(call(number, key), key, partition=number % self.partitions)


class Arrivals(Loop):
    """The results as a reader of committed records sees them, with the time at which it did: (time, result)."""

    def __init__(self, bootstrap, topic, **config):
        super().__init__()
        self.topic, self.seen, self.trouble = Topic(bootstrap, topic, **config), [], None

    def turn(self):
        message = self.topic.consumer.poll(0.1)
        if message and message.error():
            self.trouble = message.error()  # what a broker's death makes passes
        elif message:
            self.seen.append((time.time(), result(message)))

    def check(self):
        """A reader that has ended will get nothing any more."""
        if self.failure:
            raise AssertionError(f"the reader of {self.topic.name} has ended: {self.failure!r}") from self.failure

    def told(self):
        """What the reader has got, and what there is: for whoever waited in vain."""
        there = sum(ends(self.topic.bootstrap, self.topic.name).values())
        last = f"the last one {time.time() - self.seen[-1][0]:.1f} s ago" if self.seen else "none"
        return (f"the reader of {self.topic.name} has got {len(self.seen)} ({last}) of at most {there} that are there; "
                f"its last trouble: {self.trouble or 'none'}")

    def first(self, match, after, seconds):
        """The first one from number `after` on for which match(result) is true."""
        at = after

        def look():
            nonlocal at
            self.check()
            while at < len(self.seen):
                at += 1
                if match(self.seen[at - 1][1]):
                    return self.seen[at - 1]
            return None
        return wait_until(look, seconds, lambda: f"a result; {self.told()}")

    def all(self, count, seconds=60):
        """Waits until there are so many: the results. None would prove nothing."""
        assert count, f"nothing was asked for whose result could stand in {self.topic.name}"

        def look():
            self.check()
            return len(self.seen) >= count
        wait_until(look, seconds, lambda: f"{count} results; {self.told()}")
        return [r for _, r in self.seen]


class UnderLoad(KafkaCase):
    """Two workers that share the partitions, requests all the time, and a reader of the results."""

    def begin(self, **options):
        self.options, self.kills, self.count, self.slow = options, [], 0, {}
        self.platform = self.sandbox("latency=50-150ms")
        self.arrivals = Arrivals(self.bootstrap, self.names["call.results"])
        self.load = Load(self.bootstrap, self.names["call.requests"], self.PARTITIONS)
        for loop in (self.load, self.arrivals):
            loop.start()
            self.addCleanup(loop.end)

    def start(self, name=None, **more):
        self.count += 1
        name = name or f"worker-{self.count}"
        # A drain waits for lanes in doubt as long as a call may take: a short one makes the rounds short.
        options = {"kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": None, "platform.timeout.ms": "5000",
                   "log.level": "info", **self.options, **more}
        return self.worker(self.platform, options, name=name)

    def held(self, worker):
        """The partitions that it has taken over, by its own account."""
        return {row["partition"] for row in worker.status()["partitions"] if row["state"] == "active"}

    def settle(self, *workers):
        """Waits until these share all partitions, and results come from each of them: what each holds."""
        shares = []

        def shared():
            shares[:] = [self.held(worker) for worker in workers]
            return all(shares) and sum(map(len, shares)) == self.PARTITIONS and len(set.union(*shares)) == self.PARTITIONS
        wait_until(shared, 60, "all partitions are taken")
        now, after = time.time(), len(self.arrivals.seen)
        for partition in range(self.PARTITIONS):
            self.arrivals.first(lambda r: r["source"]["partition"] == partition and self.began(r) > now, after, 60)
        return shares

    @staticmethod
    def began(r):
        """When the call of a result began; 0: not known."""
        return instant(r["startedAt"]) if "startedAt" in r else 0

    def kill(self, worker):
        """kill -9; when."""
        now = time.time()
        self.kills.append(now)
        worker.kill()
        return now

    def wait_first(self, held, since, dead, seconds):
        """Seconds from `since` until the first result of these partitions that was written after `dead`, and until the first of
        a call that began then."""
        after = len(self.arrivals.seen)
        first = self.arrivals.first(lambda r: r["source"]["partition"] in held and r["_timestamp"] > dead * 1000 + 1, after, seconds)
        called = self.arrivals.first(lambda r: r["source"]["partition"] in held and self.began(r) > dead, after, GRACE)
        return first[0] - since, called[0] - since

    def tell(self, what, goal, times):
        """A row of the table; whether its median has reached the goal, finish() asserts."""
        ROWS.append((what, goal, times))
        if goal and len(times) >= ENOUGH and statistics.median(times) > goal:
            self.slow[what] = statistics.median(times)

    def finish(self, *workers, kills=True):
        """What holds whatever happened."""
        self.load.end()
        self.assertEqual(0, self.load.requests.producer.flush(60))
        topic = self.topic("call.requests")
        sent = topic.read(sum(ends(self.bootstrap, topic.name).values()))
        self.arrivals.all(len(sent))
        self.wait_idle()
        self.arrivals.end()
        results = [r for _, r in self.arrivals.seen]
        callers = self.check_run(sent, results, self.platform)
        posted = {post["Caller"]: post["time"] / 1000 for post in self.platform.posts() if post["endpoint"] == "call"}
        unknown = [r for r in results if r["status"] == "unknown"]
        self.assertEqual({"succeeded"}, {r["status"] for r in results} - {"unknown"})
        if not kills:
            self.assertEqual([], unknown, "a planned hand-over leaves nothing in doubt")
        else:
            self.assertEqual({"worker-died"}, {r["error"]["code"] for r in unknown})
        for r in unknown:
            at = posted.get(callers[r["source"]["partition"], r["source"]["offset"]], 0)
            before = [kill for kill in self.kills if kill < r["_timestamp"] / 1000]
            self.assertTrue(before and at <= before[-1] + 0.1, f"unknown, and not under way at a kill: {r}")
        print(f"{self._testMethodName}: {len(results)} results, {len(unknown)} unknown after {len(self.kills)} kills; "
              "none missing, none twice, no call twice, order kept", flush=True)
        self.assertEqual([0] * len(workers), [worker.terminate() for worker in workers])
        self.assertEqual({}, self.slow, "medians beyond their goals")
