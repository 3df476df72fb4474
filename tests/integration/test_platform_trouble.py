"""Whatever the platform does: the status says what is known, a call that may have been placed is not placed again."""
import os
import re
import signal
import time

from case import KafkaCase, main, wait_until
from kafka import free_ports
from programs import TOKEN
from records import call, caller, instant

IN_DOUBT = {"hang": "timeout", "reset": None, "close": None, "status=500": None, "status=503": None, "status=408": None,
            "broken-json": None, "no-flag": None, "big-answer=200000": None, "cut-body": None}
REFUSED = {"status=400": 400, "status=404": 404, "status=302": 302, "flag=1003": None, "flag=0": None, "flag=-5": None}


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


class PlatformTrouble(KafkaCase):
    def test_few_open_files(self):
        """Calls that hang take no file that a probe needs."""
        sandbox = self.sandbox("hang")
        worker = self.worker(sandbox, {"platform.timeout.ms": "60000"}, launcher=("sh", "-c", 'ulimit -n 160; exec "$@"', "sh"))
        for number in range(300):
            self.requests.send(call(number), f"k{number}")
        self.requests.flush()
        sandbox.wait_calls(56)  # of the 160, 40 are its own with one job, and 64 are spared
        self.assertEqual([200] * 20, [worker.get("/livez")[0] for _ in range(20)])
        self.assertIn("privacy_call_calls_in_flight 56\n", worker.get("/metrics")[1])
        worker.kill()

    def test_in_doubt(self):
        """Unknown, never repeated; what comes after is served."""
        faults = [f"{fault}?caller={caller(number)}" for number, fault in enumerate(IN_DOUBT)]
        sandbox = self.sandbox(*faults)
        worker = self.worker(sandbox, {"platform.timeout.ms": "3000"})
        for number, fault in enumerate(IN_DOUBT):
            self.requests.send(call(number, fault), fault)
            self.requests.send(call(number + 100, fault), fault)
        sent = self.requests.flush()
        results = self.results(len(sent))
        self.check_run(sent, results, sandbox)
        for fault in IN_DOUBT:
            first, second = [r for r in results if r["orderId"] == fault]
            self.assertEqual("unknown", first["status"], first)
            self.assertEqual(1, first["attempts"], first)
            self.assertRegex(first["error"]["code"], r"^[a-z0-9]+(-[a-z0-9]+)*$")
            self.assertTrue(first["error"]["message"])
            self.assertEqual("succeeded", second["status"], second)
            if fault in ("hang", "reset", "close", "broken-json"):
                self.assertGreaterEqual(instant(second["startedAt"]) - instant(first["startedAt"]), 3,
                                        f"after {fault} the next call of the order did not wait")
        self.assertEqual(len(sent), len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def test_refused(self):
        faults = [f"{fault}?caller={caller(number)}" for number, fault in enumerate(REFUSED)]
        sandbox = self.sandbox(*faults, f"flag-text=1?caller={caller(50)}", f"flag-text=1004?caller={caller(51)}")
        self.worker(sandbox)
        for number, fault in enumerate(REFUSED):
            self.requests.send(call(number, fault), fault)
        self.requests.send(call(50), "text-1")
        self.requests.send(call(51), "text-1004")
        sent = self.requests.flush()
        results = {r["orderId"]: r for r in self.results(len(sent))}
        self.check_run(sent, results.values(), sandbox)
        for fault, status in REFUSED.items():
            result = results[fault]
            self.assertEqual("refused", result["status"], result)
            self.assertEqual(status, result.get("httpStatus"), result)
            self.assertTrue(result["error"]["code"])
            if fault.startswith("flag="):
                self.assertEqual(int(fault[5:]), result["Flag"])
                self.assertEqual("a failure that was asked for", result["Msg"])
        self.assertEqual(("succeeded", 1), (results["text-1"]["status"], results["text-1"]["Flag"]))
        self.assertEqual(("refused", 1004), (results["text-1004"]["status"], results["text-1004"]["Flag"]))
        self.assertEqual(len(sent), len(sandbox.calls()), "a redirection was followed, or a call repeated")

    def test_idle_connections_that_die(self):
        """A connection that the platform closes between two calls costs nothing and repeats nothing."""
        sandbox = self.sandbox("idle-close=30ms", "reset-before@10%")
        self.worker(sandbox, {"platform.max.in.flight": "4"})
        for number in range(300):
            self.requests.send(call(number, f"k{number % 40}"), f"k{number % 40}")
        sent = self.requests.flush()
        results = self.results(300)
        self.check_run(sent, results, sandbox)

    def test_down_then_up(self):
        """Nothing listens at first: nothing is lost, nothing is in doubt, and the attempts are counted."""
        port = free_ports(1)[0]
        certificate = self.sandbox(name="for-its-certificate")
        certificate.terminate()
        worker = self.worker(None, {"platform.breaker.open.ms": "200"}, url=f"https://127.0.0.1:{port}", ca=certificate.ca)
        sent = self.requests.send_calls(range(20))
        event = worker.wait_log(lambda e: str(port) in e.get("message", "") and e["log.level"] in ("warn", "error"))
        self.assertIn("127.0.0.1", event["message"])
        sandbox = self.sandbox(address=f"127.0.0.1:{port}", name="late", options=["--seed", "2"])
        worker.terminate()
        results = self.topic("call.results").read(0)
        self.assertEqual([], results, "answered although the platform was down")
        worker = self.worker(sandbox, {"platform.breaker.open.ms": "200"})
        results = self.results(20)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 20}, self.statuses(results))

    def test_tries_are_counted_as_in_the_result(self):
        sandbox = self.sandbox("status=429")
        worker = self.worker(sandbox, {"call.deadline.ms": "1500"})
        self.requests.send(call(0), "429 for ever")
        self.requests.flush()
        result, = self.results(1)
        self.assertEqual("unavailable", result["status"], result)
        counted = dict(re.findall(r"(?m)^privacy_call_(tries|retries)_total (\d+)", worker.get("/metrics")[1]))
        self.assertEqual({"tries": str(result["attempts"]), "retries": str(result["attempts"] - 1)}, counted)

    def test_retried_until_it_works(self):
        sandbox = self.sandbox("refuse")
        worker = self.worker(sandbox, {"platform.breaker.open.ms": "200"})
        self.requests.send(call(0), "refused connection")
        self.requests.flush()
        wait_until(lambda: re.search(r"(?m)^privacy_call_retries_total\S* [1-9]", worker.get("/metrics")[1]), what="a try is made again")
        sandbox.lift_faults()
        self.results(1)
        sandbox.add_fault(f"status=429?caller={caller(1)}&times=2")
        self.requests.send(call(1), "429 twice")
        self.requests.flush()
        results = {r["orderId"]: r for r in self.results(2)}
        for result in results.values():
            self.assertEqual("succeeded", result["status"], result)
            self.assertGreater(result["attempts"], 1, result)
            self.assertLess(result["startedAt"], result["finishedAt"])
        self.assertEqual(1, sandbox.calls().count(caller(0)))
        self.assertEqual(3, sandbox.calls().count(caller(1)))

    def test_unavailable(self):
        """Provably not called within call.deadline.ms."""
        sandbox = self.sandbox(f"status=429?caller={caller(1)}")
        self.worker(sandbox, {"call.deadline.ms": "2000", "platform.breaker.failures": "1000"})
        self.requests.send(call(1), "a")
        self.requests.send(call(2), "a")
        self.requests.send(call(3), "b")
        self.requests.flush()
        results = self.results(3)
        statuses = {r["source"]["partition"]: [] for r in results}
        found = {(r["orderId"], r["source"]["offset"]): r for r in results}
        self.assertEqual(3, len(found), statuses)
        first, second = [r for r in results if r["orderId"] == "a"]
        self.assertEqual(("unavailable", "succeeded"), (first["status"], second["status"]))
        self.assertGreater(first["attempts"], 1)

    def test_wrong_credentials(self):
        """401 is no result: the request waits, calls pause, and the log says what is wrong, without the token."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"platform.token": "a-wrong-token", "platform.breaker.open.ms": "300"})
        self.requests.send(call(1), "k")
        sent = self.requests.flush()
        worker.wait_log(lambda e: "401" in e.get("message", "") and e["log.level"] in ("warn", "error"))
        self.assertNotIn("a-wrong-token", "\n".join(worker.lines["stderr"]))
        self.assertEqual(0, worker.terminate())
        self.assertEqual([], self.topic("call.results").read(0))
        tried = len(sandbox.calls())
        self.assertGreater(tried, 0)
        self.worker(sandbox)
        results = self.results(1)
        self.assertEqual("succeeded", results[0]["status"])
        self.check_run(sent, results, sandbox, posts_once=False)
        self.assertEqual(tried + 1, len(sandbox.calls()))

    def test_token_that_changes(self):
        """A 401 waits for the new token, which is read without being asked to; SIGHUP, often, harms nothing."""
        path = os.path.join(self.directory, "token")
        write(path, "an-old-token\n")
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"platform.token": None, "platform.token.file": path, "platform.breaker.open.ms": "60000"})
        self.requests.send(call(1), "k")
        worker.wait_log(lambda e: "401" in e.get("message", ""))
        write(path + ".new", TOKEN)
        os.rename(path + ".new", path)
        result, = self.results(1)
        self.assertEqual("succeeded", result["status"], result)
        for number in range(2, 60):
            self.requests.send(call(number), "k2")
            worker.signal(signal.SIGHUP)
        sent = self.requests.flush()
        results = self.results(len(sent))
        self.assertEqual({"succeeded"}, {r["status"] for r in results})
        self.check_run(sent, results, sandbox, posts_once=False)
        write(path, "")  # what cannot be used changes nothing
        worker.wait_log(lambda e: "platform.token.file" in e.get("message", "") and e["log.level"] == "error")
        self.requests.send(call(61), "k3")
        self.assertEqual({"succeeded"}, {r["status"] for r in self.results(len(self.requests.flush()))})
        self.assertEqual(0, worker.terminate())

    def test_wrong_authority(self):
        """A certificate that the CA in use has not signed: certainly not called, and the log says so."""
        sandbox = self.sandbox()
        other = self.sandbox(name="other")
        worker = self.worker(sandbox, {"call.deadline.ms": "2000", "platform.breaker.open.ms": "200"}, ca=other.ca)
        self.requests.send(call(1), "k")
        self.requests.flush()
        worker.wait_log(lambda e: "certificate" in e.get("message", "").lower() and e["log.level"] in ("warn", "error"))
        result, = self.results(1)
        self.assertEqual("unavailable", result["status"])
        self.assertEqual([], sandbox.calls())

    def test_breaker_pauses_all_calls(self):
        sandbox = self.sandbox("status=503")
        worker = self.worker(sandbox, {"platform.breaker.failures": "5", "platform.breaker.open.ms": "1000",
                                       "platform.max.in.flight": "1"})
        sent = self.requests.send_calls(range(12))
        worker.wait_log(lambda e: e["log.level"] in ("warn", "error") and "pause" in e.get("message", "").lower())
        sandbox.wait_calls(5)
        self.assertLess(len(sandbox.calls()), 12)
        sandbox.lift_faults()
        results = self.results(12)
        self.check_run(sent, results, sandbox)
        statuses = self.statuses(results)
        self.assertGreaterEqual(statuses["unknown"], 5)
        self.assertGreaterEqual(statuses["succeeded"], 1)
        gaps = [b["time"] - a["time"] for a, b in zip(sandbox.posts(), sandbox.posts()[1:])]
        self.assertGreaterEqual(max(gaps), 900, "calls went on without a pause")

    def test_recordings_never_hold_calls_back(self):
        sandbox = self.sandbox("hang?endpoint=recording")
        self.worker(sandbox, {"topic.recording.requests": self.names["recording.requests"], "recording.max.in.flight": "4", "platform.max.in.flight": "8", "platform.timeout.ms": "3000"})
        for number in range(100):
            self.requests.send({"CallIdentifier": f"c{number}"}, f"r{number}", topic=self.names["recording.requests"])
        self.requests.flush()
        wait_until(lambda: len([p for p in sandbox.posts() if p["endpoint"] == "recording"]) >= 4, 30, "recordings are asked for")
        began = time.monotonic()
        self.requests.send_calls(range(20))
        results = self.results(20)
        self.assertEqual({"succeeded": 20}, self.statuses(results))
        self.assertLess(time.monotonic() - began, 20, "the calls waited for the recordings")


if __name__ == "__main__":
    main()
