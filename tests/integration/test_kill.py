"""kill -9 under load: nothing is called twice, everything is answered once, and only what was under way is unknown."""
import json
import signal
import time

from case import KafkaCase, load, main, wait_until
from programs import Worker
from records import call, caller, delete_records, zipf_keys

EVENTS, IN_FLIGHT = load(3000), load(64)


class Kill(KafkaCase):
    def begin(self, latency="20-60ms", options=None, **more):
        self.options = {"platform.max.in.flight": IN_FLIGHT, **(options or {})}
        self.platform = self.sandbox(f"latency={latency}")
        self.send_events()
        return self.worker(self.platform, self.options, **more)

    def send_events(self, first=None):
        """first: where the first of them goes, whose order id no other has"""
        self.requests.send(call(0, "first"), "first", **(first or {}))
        for number, key in enumerate(zipf_keys(EVENTS - 1, keys=1000, exponent=0.3), 1):
            self.requests.send(call(number, key), key)
        self.sent = self.requests.flush()

    def kill_after(self, worker, calls):
        """Kills when so many calls have arrived. Returns the callers of all that it had sent."""
        self.platform.wait_calls(calls)
        worker.kill()
        if len([p for p in self.programs if isinstance(p, Worker) and p.alive()]) == 0:
            wait_until(lambda: self.platform.stats()["connections"]["open"] <= 1, what="the dead worker's connections have ended")
        return set(self.platform.calls())

    def finish(self, deaths, called_before=None):
        results = self.results(EVENTS, seconds=120)
        callers = self.check_run(self.sent, results, self.platform)
        unknown = [r for r in results if r["status"] == "unknown"]
        self.assertEqual({"worker-died"} if unknown else set(), {r["error"]["code"] for r in unknown})
        for r in unknown:
            self.assertNotIn("attempts", r)
            self.assertNotIn("startedAt", r)
        self.assertLessEqual(len(unknown), deaths * 2 * IN_FLIGHT, "more is unknown than can have been under way")
        self.assertGreater(len(unknown), 0, "nothing was under way when the worker was killed")
        if called_before is not None:
            after = set(self.platform.calls()) - called_before
            self.assertEqual(set(), after & {callers[r["source"]["partition"], r["source"]["offset"]] for r in unknown},
                             "called after the last death, and yet unknown")
        self.wait_idle()
        return unknown

    def test_restart_under_the_same_name(self):
        worker = self.begin(name="same", options={"kafka.group.instance.id": "same"})
        before = self.kill_after(worker, EVENTS // 3)
        worker = self.worker(self.platform, self.options, name="same")
        self.finish(1, before)
        self.assertEqual(0, worker.terminate())

    def test_three_deaths(self):
        worker = self.begin(name="often")
        for death in (1, 2, 3):
            before = self.kill_after(worker, death * EVENTS // 5)
            worker = self.worker(self.platform, self.options, name="often")
        self.finish(3, before)
        self.assertEqual(0, worker.terminate())

    def test_another_takes_over(self):
        first = self.begin("100-200ms", name="first", options={"kafka.transaction.timeout.ms": "60000"})
        second = self.worker(self.platform, self.options, name="second")
        second.wait_log("^assigned: [1-9]")
        first.wait_log("^assigned: [1-9]")
        self.kill_after(first, len(self.platform.calls()) + load(200))
        died = time.time()
        unknown = self.finish(1)
        took = min(r["_timestamp"] for r in unknown) / 1000 - died
        self.assertLess(took, 6 + 2 + 8, "the dead worker's partitions waited for its transaction's time-out")
        self.assertEqual(0, second.terminate())

    def test_frozen_and_thawed(self):
        """SIGSTOP beyond the session: what it had started is unknown, and when it goes on it calls nothing of that."""
        self.options = {"platform.max.in.flight": IN_FLIGHT}
        self.platform = self.sandbox("latency=100-200ms", f"hang?caller={caller(0)}")
        frozen = self.worker(self.platform, self.options, name="frozen").wait_assigned()
        other = self.worker(self.platform, self.options, name="other")
        other.wait_log("^assigned: [1-9]")
        partition = frozen.status()["partitions"][0]["partition"]
        self.send_events({"partition": partition})
        self.platform.wait_calls(load(200))
        wait_until(lambda: caller(0) in self.platform.calls(), what="the call that hangs is under way")
        frozen.signal(signal.SIGSTOP)
        self.results(EVENTS, seconds=120)
        frozen.signal(signal.SIGCONT)
        more = [call(EVENTS + i, f"late-{i}") for i in range(200)]
        for i, value in enumerate(more):
            self.requests.send(value, f"late-{i}")
        self.sent = self.requests.flush()
        results = self.results(EVENTS + 200, seconds=60)
        self.check_run(self.sent, results, self.platform)
        late = [r for r in results if r["_key"].startswith(b"late-")]
        self.assertEqual({"succeeded": 200}, self.statuses(late))
        unknown = self.statuses(results).get("unknown", 0)
        self.assertGreater(unknown, 0, "nothing was under way when it froze")
        self.assertLessEqual(unknown, 2 * IN_FLIGHT)
        self.wait_idle()
        self.assertEqual([0, 0], [w.terminate() for w in (frozen, other)])

    def test_late_answer(self):
        """A call is outstanding when its worker freezes beyond the session: the next owner says unknown, and the answer that the
        thawed one finds goes to the dead letters."""
        sandbox = self.sandbox("latency=3s")  # within the freeze
        options = {"platform.timeout.ms": "60000"}
        frozen = self.worker(sandbox, options, name="frozen")
        self.requests.send(call(1, "k"), "k", partition=0, headers=[("h", b"1")])
        sent, = self.requests.flush()
        sandbox.wait_calls(1)
        frozen.signal(signal.SIGSTOP)
        other = self.worker(sandbox, options, name="other")
        result, = self.results(1)
        self.assertEqual(("unknown", "worker-died"), (result["status"], result["error"]["code"]))
        frozen.signal(signal.SIGCONT)
        letter, = self.dead_letters(1)
        self.assertEqual((b"k", sent.value(), ("h", b"1")), (letter.key(), letter.value(), letter.headers()[0]))
        headers = {name: value.decode() for name, value in letter.headers()}
        self.assertEqual(("late-outcome", "late-outcome", "0", str(sent.offset())),
                         tuple(headers[f"dlq.{name}"] for name in ("reason", "code", "partition", "offset")))
        outcome = json.loads(headers["dlq.outcome"])
        self.assertEqual(("k", "succeeded", 1), tuple(outcome[member] for member in ("orderId", "status", "attempts")))
        self.check_run([sent], self.results(1), sandbox)
        self.wait_idle()
        self.assertEqual([0, 0], [w.terminate() for w in (frozen, other)])

    def test_record_gone(self):
        """The broker deletes the record of a started request before the next owner has answered it: a dead letter says so."""
        sandbox = self.sandbox(f"hang?caller={caller(1)}")
        options = {"platform.timeout.ms": "8000", "kafka.group.instance.id": "one"}
        worker = self.worker(sandbox, options, name="one")
        for number in (1, 2):
            self.requests.send(call(number, f"k{number}"), f"k{number}", partition=0)
        self.requests.flush()
        self.results(1, settle=0)
        sandbox.wait_calls(2)
        worker.kill()
        self.requests.send(call(3, "k3"), "k3", partition=0)
        last = self.requests.flush()[-1]
        delete_records(self.bootstrap, self.names["call.requests"], 0, before=last.offset())
        worker = self.worker(sandbox, options, name="one")
        letter, = self.dead_letters(1)
        self.assertEqual((None, None), (letter.key(), letter.value()))
        headers = {name: value.decode() for name, value in letter.headers()}
        self.assertEqual(("record-gone", "record-gone", self.names["call.requests"], "0", "0", self.group),
                         tuple(headers[f"dlq.{name}"] for name in ("reason", "code", "topic", "partition", "offset", "group")))
        self.assertEqual({"k2": "succeeded", "k3": "succeeded"}, {r["orderId"]: r["status"] for r in self.results(2)})
        first, *_, next_one = sandbox.posts()
        self.assertEqual([caller(1), caller(2), caller(3)], sorted(sandbox.calls()))
        self.assertGreaterEqual(next_one["time"] - first["time"], 8000, "of the same order id, for all that is known")
        self.wait_idle()
        self.assertEqual(0, worker.terminate())

    def test_next_of_the_same_key_waits(self):
        """After a call in doubt the next one of its order id waits until the first can no longer be running."""
        sandbox = self.sandbox(f"hang?caller={caller(1)}")
        options = {"platform.timeout.ms": "4000", "kafka.group.instance.id": "one"}
        worker = self.worker(sandbox, options, name="one")
        for number in (1, 2):
            self.requests.send(call(number, "k"), "k")
        self.requests.flush()
        sandbox.wait_calls(1)
        worker.kill()
        self.worker(sandbox, options, name="one")
        first, second = self.results(2)
        self.assertEqual(["unknown", "succeeded"], [first["status"], second["status"]])
        posts = sandbox.posts()
        self.assertEqual([caller(1), caller(2)], sandbox.calls())
        self.assertGreaterEqual(posts[1]["time"] - posts[0]["time"], 4000)

    def test_doubt_outlives_its_process(self):
        """The same when its unknown is published already, and the process that knows it dies and is back at once."""
        sandbox = self.sandbox(f"reset?caller={caller(1)}")
        options = {"platform.timeout.ms": "6000", "kafka.group.instance.id": "one"}
        worker = self.worker(sandbox, options, name="one")
        self.requests.send(call(1, "k"), "k")
        self.requests.flush()
        self.assertEqual("unknown", self.results(1)[0]["status"])
        worker.kill()
        self.requests.send(call(2, "k"), "k")
        self.requests.flush()
        self.worker(sandbox, options, name="one")
        first, second = self.results(2)
        self.assertEqual(["unknown", "succeeded"], [first["status"], second["status"]])
        posts = sandbox.posts()
        self.assertEqual([caller(1), caller(2)], sandbox.calls())
        self.assertGreaterEqual(posts[1]["time"] - posts[0]["time"], 6000)

    def test_a_rate_leaves_little_in_doubt(self):
        """platform.rate.per.second spaces the calls, and what could not begin soon is not started in the ledger."""
        sandbox = self.sandbox()
        options = {"platform.rate.per.second": "20", "kafka.group.instance.id": "one"}
        worker = self.worker(sandbox, options, name="one")
        sent = self.requests.send_calls(range(120))
        sandbox.wait_calls(20)
        worker.kill()
        self.worker(sandbox, options, name="one")
        results = self.results(120)
        self.check_run(sent, results, sandbox)
        self.assertLessEqual(self.statuses(results).get("unknown", 0), 24)
        times = sorted(post["time"] for post in sandbox.posts())
        spans = [later - earlier for earlier, later in zip(times, times[24:])]
        self.assertGreaterEqual(min(spans), 900, "25 calls within a second, at a rate of 20")


if __name__ == "__main__":
    main()
