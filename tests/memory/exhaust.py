#!/usr/bin/python3
"""The worker itself, with an allocation failing somewhere in it, in its libraries too, again and again.

usage: exhaust.py BUILD_DIRECTORY LIBRARY ROUNDS [SEED]

In each round a worker begins under the same name, takes over what the last one has left, and gets requests; one allocation returns NULL
(alone, or with all later ones), drawn from those while it starts or from those while it works. Whatever comes of it, it may end with
an error or abort, but not crash otherwise nor stand still, unless it says why: what OpenSSL makes at its first use and had no memory for
stays broken (docs/guarantees.md), and then calls are paused and the log tells the error. And in the end, when one without failures has done the rest: a result for
each request and no second one, no call twice, no sound request found invalid, order for each key. Where fewer allocations were made
than the number drawn nothing has failed, and nothing but a normal end is right: of those rounds there are few, as first one round of each
kind, in which none fails, tells how many there are with these libraries.
"""
import collections
import json
import os
import random
import re
import signal
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
if len(sys.argv) < 4:
    sys.exit(__doc__)
os.environ["BUILD_DIR"] = os.path.abspath(sys.argv[1])

from programs import Sandbox, Worker, wait_until  # noqa: E402
from records import Requests, Topic, call  # noqa: E402

CALLS, KEYS = 20, 8
FROM_NOW_ON = signal.SIGRTMIN + 3  # one that the worker itself leaves alone
SHARE = 3 / 4  # of the rounds, at least, in which an allocation has to fail
WELL = "went on and stopped"
BROKEN = "left with a broken OpenSSL, and said so"


class Rounds:
    def __init__(self, directory, library, seed):
        self.directory, self.library, self.random = directory, library, random.Random(seed)
        self.sandbox = Sandbox(directory, ("latency=5-20ms",), kafka=True)
        self.requests = Requests(self.sandbox.bootstrap, "call-requests")
        self.topics = {name: Topic(self.sandbox.bootstrap, name) for name in ("call-results", "recording-results")}
        self.endings, self.unfailed, self.bad, self.number = collections.Counter(), 0, 0, 0

    def worker(self, environment=None):
        options = {"kafka.group.instance.id": "exhausted", "log.level": "info", "platform.breaker.open.ms": "100", "platform.timeout.ms": "1500",
                   "drain.timeout.ms": "3000"}
        return Worker(self.directory, self.sandbox.bootstrap, self.sandbox.url, self.sandbox.ca, options, name="exhausted",
                      environment=environment)

    def send(self):
        for _ in range(CALLS):
            self.number += 1
            key = f"k{self.number % KEYS}"
            if self.number % CALLS == 1:
                self.requests.send(b'{"Caller": 1', key)
            elif self.number % CALLS == 2:
                self.requests.send({"CallIdentifier": f"c{self.number}"}, key, topic="recording-requests")
            else:
                self.requests.send(call(self.number, key), key)
        self.requests.flush()

    def answered(self):
        for topic in self.topics.values():
            topic._poll()
        return sum(len(topic.messages) for topic in self.topics.values()) >= len(self.requests.sent)

    def measure(self):
        """How many allocations there are from a start on, and from a round's work on: [starting] each."""
        self.allocations = {}
        for starting in (True, False):
            count = f"{self.directory}/count"
            ending, log = self.run(starting, {"ALLOCATION_FAILS": str(2**62), "ALLOCATION_COUNT": count})
            assert ending == WELL, "\n".join([ending, *log[-6:]])
            with open(count) as file:
                self.allocations[starting] = int(file.read())

    def round(self, index):
        report = f"{self.directory}/report.{index}"
        starting = index % 3 == 0
        at = int(self.random.uniform(1, self.allocations[starting])) * self.random.choice((1, -1))
        ending, log = self.run(starting, {"ALLOCATION_FAILS": str(at), "ALLOCATION_REPORT": report})
        failed = os.path.exists(report) and os.path.getsize(report) > 0
        self.count(ending, failed, f"round {index}, allocation {at}, {'starting' if starting else 'working'}", log)

    def run(self, starting, environment):
        """A worker, and requests for it: how it ended, and its log."""
        environment["LD_PRELOAD"] = self.library
        if not starting:
            environment["ALLOCATION_SIGNAL"] = str(FROM_NOW_ON)
        worker = self.worker(environment)
        try:
            if not starting:
                worker.wait_assigned()
                worker.signal(FROM_NOW_ON)
            self.send()
            ending = self.ending(worker)
        finally:
            if worker.alive():
                worker.kill()
            for stream in (worker.process.stdout, worker.process.stderr):
                stream.close()
        return ending, worker.lines["stderr"]

    def count(self, ending, failed, what, log):
        if failed:
            self.endings[ending] += 1
        else:
            self.unfailed += 1
        if ending == WELL or failed and (ending in ("ended by SIGABRT", BROKEN) or ending.startswith("exit status")):
            return
        self.bad += 1
        print(f"{what}{'' if failed else ', and none failed'}: {ending}; the log ends so:\n  " + "\n  ".join(log[-6:]), flush=True)

    def ending(self, worker):
        try:
            wait_until(lambda: not worker.alive() or self.answered(), 60)
        except AssertionError:
            told = [json.loads(line)["message"] for line in worker.lines["stderr"][-6:] if line.startswith("{")]
            broken = any("calls are paused" in line and re.search("tls-failed|not-sent.*SSL", line) for line in told)
            return BROKEN if broken else "stood still"
        if worker.alive():
            worker.signal(signal.SIGTERM)
        try:
            status = worker.wait(40)
        except AssertionError:
            return "stood still at the stop"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        return WELL if status == 0 else f"exit status {status}"

    def finish(self):
        worker = self.worker()
        wait_until(self.answered, 60, lambda: "all requests have a result")
        assert worker.terminate() == 0
        worker.close()
        self.check()
        self.sandbox.close()

    def check(self):
        sent = {(m.topic(), m.partition(), m.offset()): m for m in self.requests.sent}
        results = [r for topic in self.topics.values() for r in topic.results(0, settle=0.5)]
        places = collections.Counter((r["source"]["topic"], r["source"]["partition"], r["source"]["offset"]) for r in results)
        assert set(places) == set(sent), f"{len(set(sent) - set(places))} requests without a result"
        assert max(places.values()) == 1, "a request has several results"
        posts = collections.Counter(self.sandbox.calls())
        assert max(posts.values()) == 1, f"called more than once: {[c for c, n in posts.items() if n > 1]}"
        statuses, last = collections.Counter(), {}
        for r in sorted(results, key=lambda r: (r["_partition"], r["_offset"])):
            at = r["source"]["topic"], r["source"]["partition"], r["source"]["offset"]
            statuses[r["status"]] += 1
            value = sent[at].value()
            sound = value != b'{"Caller": 1'
            assert (r["status"] != "invalid") == sound, f"{r['status']}: {r}"
            if sound:
                calls = ("succeeded", "unknown", "unavailable") if self.endings[BROKEN] else ("succeeded", "unknown")
                assert r["status"] in (calls if at[0] == "call-requests" else ("succeeded", "unavailable")), r
            if r["status"] == "succeeded" and at[0] == "call-requests":
                assert posts[json.loads(value)["Caller"]] == 1, r
            assert last.get((at[0], at[1], r["_key"]), -1) < at[2], f"out of order: {r}"
            last[at[0], at[1], r["_key"]] = at[2]
        self.statuses = statuses


def main():
    with tempfile.TemporaryDirectory(prefix="exhaust.") as directory:
        rounds = Rounds(directory, os.path.abspath(sys.argv[2]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
        try:
            rounds.measure()
            for index in range(int(sys.argv[3])):
                rounds.round(index)
            rounds.finish()
        finally:
            rounds.sandbox.close()
        failed = sum(rounds.endings.values())
        print(f"{rounds.allocations[True]} allocations in a round from the start, {rounds.allocations[False]} in its work; {failed} workers with a failed allocation: {dict(rounds.endings)}; {rounds.unfailed} with fewer allocations; "
              f"{len(rounds.requests.sent)} requests, one result each: {dict(rounds.statuses)}; calls made twice: 0")
        assert not rounds.bad, f"{rounds.bad} workers ended as none should"
        assert failed >= SHARE * (failed + rounds.unfailed), "too few rounds in which an allocation failed"


if __name__ == "__main__":
    main()
