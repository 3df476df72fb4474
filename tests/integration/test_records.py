"""Members of requests and results, headers, expiry, and recordings."""
import json
import os
import re
import socket
import threading
import time

from case import TOKEN, KafkaCase, load, main, wait_until
from programs import peak_memory
from records import call, caller, create_topics

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Calls(KafkaCase):
    def test_result(self):
        worker = self.worker(self.sandbox())
        before = time.time()
        self.requests.send(dict(call(1), VirtualNum="17118230000", requestId="r-7"), "o-1001",
                           headers=[("traceparent", TRACE.encode()), ("tracestate", b"a=1,b=2"), ("other", b"x")])
        sent, = self.requests.flush()
        r, = self.results(1)
        self.assertEqual(b"o-1001", r["_key"])
        self.assertEqual(("o-1001", "r-7", "succeeded", 1, "8617118230000", "17118230000", 1),
                         tuple(r[k] for k in ("orderId", "requestId", "status", "Flag", "Msg", "virtualNumber", "attempts")))
        self.assertEqual({"topic": self.names["call.requests"], "partition": sent.partition(), "offset": sent.offset()}, r["source"])
        self.assertRegex(r["platform"]["CallIdentifier"], r"^\d+$")
        self.assertNotIn("error", r)
        for member in ("startedAt", "finishedAt"):
            self.assertRegex(r[member], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertLessEqual(r["startedAt"], r["finishedAt"])
        self.assertLessEqual(abs(time.mktime(time.strptime(r["finishedAt"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - before), 60)
        id = f"{self.group}/{self.names['call.requests']}/{sent.partition()}/{sent.offset()}"
        self.assertEqual({"ce_id": id, "ce_type": "privacycall.call.result.v1", "ce_subject": "o-1001", "ce_specversion": "1.0",
                          "ce_source": f"/privacy-call-worker/{self.group}", "ce_time": r["finishedAt"],
                          "content-type": "application/json", "traceparent": TRACE, "tracestate": "a=1,b=2"}, r["_headers"])
        line = worker.wait_log("^call .*: try 1, answered")
        self.assertEqual((self.names["call.requests"], sent.partition(), sent.offset(), "o-1001", TRACE.split("-")[1]),
                         tuple(line[k] for k in ("kafka.topic", "kafka.partition", "kafka.offset", "order.id", "trace.id")))

    def test_default_request_id(self):
        self.worker(self.sandbox())
        self.requests.send(call(1), "k")
        sent, = self.requests.flush()
        r, = self.results(1)
        self.assertEqual(f"{self.names['call.requests']}/{sent.partition()}/{sent.offset()}", r["requestId"])
        self.assertNotIn("traceparent", r["_headers"])

    def test_expired(self):
        sandbox = self.sandbox()
        self.worker(sandbox)
        hours_ago = int(time.time() * 1000) - 2 * 3600 * 1000
        self.requests.send(dict(call(1), expiresAt="2020-01-01T00:00:00Z"), "expiresAt")
        self.requests.send(dict(call(2), expiresAt="2020-01-01T08:00:00.5+08:00"), "zone")
        self.requests.send(call(3), "old", timestamp=hours_ago)
        self.requests.send(dict(call(4), expiresAt="2999-01-01T00:00:00Z"), "later")
        self.requests.send(call(5), "future", timestamp=int(time.time() * 1000) + 3600 * 1000)
        self.requests.flush()
        results = {r["orderId"]: r for r in self.results(5)}
        for key in ("expiresAt", "zone", "old"):
            self.assertEqual(("expired", 0), (results[key]["status"], results[key]["attempts"]), results[key])
            self.assertTrue(results[key]["error"]["code"])
            self.assertNotIn("startedAt", results[key])
        self.assertEqual(["succeeded"] * 2, [results[k]["status"] for k in ("later", "future")])
        self.assertEqual({caller(4), caller(5)}, set(sandbox.calls()))
        self.wait_idle()

    def test_no_age_limit(self):
        self.worker(self.sandbox(), {"call.max.age.ms": "0"})
        self.requests.send(call(3), "old", timestamp=1500000000000)
        self.requests.flush()
        self.assertEqual("succeeded", self.results(1)[0]["status"])

    def test_cloud_events(self):
        sandbox = self.sandbox()
        self.worker(sandbox)
        self.requests.send(call(1), "binary", headers=[("ce_specversion", b"1.0"), ("ce_id", b"event-1"), ("ce_type", b"t"),
                                                       ("ce_source", b"/s"), ("content-type", b"application/json")])
        structured = {"specversion": "1.0", "id": "event-2", "type": "t", "source": "/s", "subject": "from-subject",
                      "datacontenttype": "application/json", "data": call(2)}
        self.requests.send(structured, None, headers=[("content-type", b"application/cloudevents+json; charset=utf-8")])
        self.requests.send(call(3), None, headers=[("ce_specversion", b"1.0"), ("ce_id", b"event-3"), ("ce_type", b"t"),
                                                   ("ce_source", b"/s"), ("ce_subject", b"binary-subject")])
        self.requests.flush()
        results = {r["orderId"]: r for r in self.results(3)}
        self.assertEqual({"binary": "event-1", "from-subject": "event-2", "binary-subject": "event-3"},
                         {k: r["requestId"] for k, r in results.items()})
        self.assertEqual({"succeeded"}, {r["status"] for r in results.values()})

    def test_older_than_the_group(self):
        """A group without committed offsets is warned of the requests that it finds, not of those that come later."""
        def warned(worker):  # one line for all that were found together
            lines = [e["message"] for e in worker.events() if "older than the group" in e["message"]]
            return [int(number) for line in lines for number in re.search(r"call-requests \(([\d, ]+)\)", line)[1].split(", ")]

        def lags(worker):
            return re.findall(r"(?m)^privacy_call_consumer_lag\{.* (\d+)$", worker.get("/metrics")[1])
        sandbox = self.sandbox()
        first = self.worker(sandbox)
        wait_until(lambda: lags(first) == ["0"] * self.PARTITIONS, what="each partition was found empty")
        self.requests.send(call(1), "a", partition=2)
        self.requests.send(call(2), "b", partition=5)
        self.requests.flush()
        self.results(2)
        self.assertEqual(0, first.terminate())
        self.assertEqual([], warned(first))
        self.group += ".other"
        second = self.worker(sandbox)
        self.results(4)
        self.assertEqual(0, second.terminate())
        self.assertEqual([2, 5], sorted(warned(second)))

    def test_metrics_and_pages(self):
        """Each page answers, the metrics have the right names and values, and no page has a secret."""
        worker = self.worker(self.sandbox()).wait_assigned()
        wait_until(lambda: worker.get("/readyz")[0] == 200, 10, "ready")
        self.requests.send_calls(range(10))
        self.requests.send(b"bad", "bad")
        self.requests.flush()
        self.results(11)
        # The partitions' figures are renewed each second.
        wait_until(lambda: "consumer_lag{" in worker.get("/metrics")[1], 10, "the lag is known")
        metrics = self.check_metrics(worker)
        self.assertEqual(200, worker.get("/livez")[0])
        status, text = worker.get("/status")
        self.assertEqual(200, status)
        self.assertIsInstance(json.loads(text), dict)
        status, page = worker.get("/")
        self.assertEqual(200, status)
        self.assertIn("<html", page.lower())
        self.assertEqual(404, worker.get("/no-such-page")[0])
        for text in (metrics, text, page):
            self.assertNotRegex(text, r"(?<![\d.])1[38]\d{9}(?!\d)")
            self.assertNotIn(TOKEN, text)

    def check_metrics(self, worker):
        """Ten calls have succeeded, and one request was invalid. Returns the text."""
        status, metrics = worker.get("/metrics")
        self.assertEqual(200, status)
        samples = re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", metrics, re.MULTILINE)
        names = {name for name, _ in samples}
        self.assertEqual([], [n for n in names if not n.startswith(("privacy_call_", "process_"))])
        for word in ("requests", "results", "in_flight", "lanes", "transaction", "aborted", "doubt", "retries", "breaker",
                     "dead_letters", "late", "lag", "ledger", "rebalances", "build_info"):
            self.assertTrue([n for n in names if word in n], f"no metric for {word}")
        self.check_process(worker, {name: float(value) for name, value in samples if name.startswith("process_")})
        self.assertRegex(metrics, r'(?m)^privacy_call_results\w*\{.*status="succeeded".*\} 10$')
        self.assertRegex(metrics, r'(?m)^privacy_call_results\w*\{.*status="invalid".*\} 1$')
        return metrics

    def check_process(self, worker, process):
        """The figures about the process are those of the operating system."""
        folder = f"/proc/{worker.process.pid}"
        self.assertAlmostEqual(len(os.listdir(f"{folder}/task")), process["process_threads"], delta=2)
        self.assertAlmostEqual(len(os.listdir(f"{folder}/fd")), process["process_open_fds"], delta=5)
        self.assertAlmostEqual(time.time(), process["process_start_time_seconds"], delta=300)
        self.assertGreater(process["process_cpu_seconds_total"], 0)
        self.assertGreater(process["process_max_fds"], process["process_open_fds"])
        self.assertGreater(process["process_virtual_memory_bytes"], process["process_resident_memory_bytes"])
        self.assertGreater(process["process_resident_memory_bytes"], 5 << 20)

    def test_pages_under_load(self):
        """Pages are asked for all the time, well and badly, while calls are made and until the process has gone."""
        events = load(1500)
        sandbox = self.sandbox("latency=5-20ms")
        worker = self.worker(sandbox).wait_assigned()
        visitors = [Visitor(worker, kind) for kind in ("/metrics", "/status", "/", "/readyz", "/livez", "POST", "LONG", "HALF")]
        sent = self.requests.send_calls(range(events))
        self.check_run(sent, self.results(events, seconds=180), sandbox)
        self.wait_idle()
        wait_until(lambda: all(v.answered >= 5 for v in visitors), 30, lambda: [(v.kind, v.answered) for v in visitors])
        self.assertEqual(0, worker.terminate())
        for visitor in visitors:
            visitor.thread.join(20)
            self.assertFalse(visitor.thread.is_alive(), visitor.kind)
            self.assertEqual([], visitor.wrong, visitor.kind)

    def test_topic_that_comes_later(self):
        """A topic that does not exist yet is waited for, and the log says so."""
        later = f"{self.prefix}.later"
        sandbox = self.sandbox()
        worker = self.worker(sandbox, {"topic.call.requests": later})
        worker.wait_log(lambda e: later in e.get("message", "") + e.get("kafka.topic", "") and e["log.level"] in ("warn", "error"))
        create_topics(self.bootstrap, {later: 2})
        self.requests.send(call(1), "k", topic=later)
        self.requests.flush()
        self.assertEqual("succeeded", self.results(1, seconds=90)[0]["status"])


class Memory(KafkaCase):
    """A backlog that is far larger than the process may be."""
    PARTITIONS = 32
    EACH, SIZE, PEAK = 60, 80000, 150 * 2**20

    def test_backlog_of_large_requests(self):
        for number in range(self.EACH * self.PARTITIONS):
            value = call(number, f"k{number}", filler="x" * self.SIZE)
            self.requests.send(value, f"k{number}", partition=number % self.PARTITIONS)
        sent = self.requests.flush()
        sandbox = self.sandbox("latency=20ms")
        worker = self.worker(sandbox, {"memory.max.bytes": 16 * 2**20, "log.level": "info"})
        results = self.results(len(sent))
        peak = peak_memory(worker.process)
        self.check_run(sent, results, sandbox)
        self.assertLess(peak, self.PEAK, f"of {self.EACH * self.PARTITIONS * self.SIZE} bytes in {self.PARTITIONS} partitions")
        self.assertEqual(0, worker.terminate())


class Visitor:
    """Asks for one page again and again until the worker has gone: with GET, with a body (POST), with a head that is too large
    (LONG), or with half a head (HALF)."""

    REQUESTS = {"POST": (b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n123456789", (405,)),
                "LONG": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40000 + b"\r\n\r\n", (413, 414, 431)),
                "HALF": (b"GET /status HTT", ())}

    def __init__(self, worker, kind):
        self.worker, self.kind, self.answered, self.wrong = worker, kind, 0, []
        host, port = re.search(r"http://([\d.]+):(\d+)/", worker.wait_log(r"http://127\.0\.0\.1:\d+/")["message"]).groups()
        self.address = host, int(port)
        get = f"GET {kind} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode(), (200, 503)
        self.request, self.good = self.REQUESTS.get(kind, get)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while self.worker.alive():
            try:
                answer = self._ask()
            except OSError:
                continue  # it ends, or has let the other side hang up on what was too large
            status = int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None
            if status is not None and status not in self.good:
                self.wrong.append(answer[:200])
            self.answered += status is not None or not self.good

    def _ask(self):
        with socket.create_connection(self.address, 10) as connection:
            connection.sendall(self.request)
            if not self.good:
                return b""
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer


class Recordings(KafkaCase):
    PARTITIONS = 2
    RECORDINGS = True

    def test_without_store(self):
        sandbox = self.sandbox()
        self.worker(sandbox)
        results = self.ask("audio1", "json-2")
        recording = results["audio1"]["recording"]
        self.assertEqual("succeeded", results["audio1"]["status"])
        self.assertEqual("audio/wav", recording["contentType"])
        self.assertEqual(64, len(recording["sha256"]))
        self.assertGreater(recording["size"], 1000)
        self.assertNotIn("uri", recording)
        self.assertEqual(["url"], list(results["json-2"]["recording"]))
        self.assertEqual({"recording"}, {post["endpoint"] for post in sandbox.posts()}, "a file was fetched that nobody keeps")

    def test_retried(self):
        """Reading a recording has no effect, so it is tried again."""
        sandbox = self.sandbox("status=503?id=a&times=2", "reset?id=b&times=1", "broken-json?id=c")
        self.worker(sandbox, {"recording.attempts": "4"})
        results = self.ask("a", "b", "c")
        self.assertEqual([("succeeded", 3), ("succeeded", 2), ("unavailable", 4)],
                         [(results[i]["status"], results[i]["attempts"]) for i in "abc"])

    def test_invalid(self):
        self.worker(self.sandbox())
        for value in ({}, {"CallIdentifier": "../etc/passwd"}, {"CallIdentifier": ""}, {"CallIdentifier": "x" * 129}):
            self.requests.send(value, "k", topic=self.names["recording.requests"])
        self.requests.flush()
        results = self.results(4, role="recording.results")
        self.assertEqual({"invalid": 4}, self.statuses(results))

    def test_topics_that_all_come_later(self):
        """Each missing topic is named at once, not one after the other as they are made, and one of them by /readyz."""
        roles = ("call.requests", "call.results", "recording.requests", "recording.results", "dead.letters")
        for role in roles:
            self.names[role] += ".later"
        worker = self.worker(self.sandbox())
        for role in roles:
            worker.wait_log(rf"{re.escape(self.names[role])} does not exist yet: create it")
            why = worker.get("/readyz")[1]
            self.assertTrue([name for name in self.names.values() if f"topic {name} does not exist yet" in why], why)
        create_topics(self.bootstrap, {self.names[role]: 2 for role in roles})
        self.requests.send(call(1), "k", topic=self.names["call.requests"])
        self.requests.flush()
        self.assertEqual("succeeded", self.results(1, seconds=90)[0]["status"])

    def test_missing_topic_holds_no_calls_back(self):
        """Recordings wait for a topic of theirs that does not exist yet; calls, and the readiness of the worker, do not."""
        sandbox = self.sandbox()
        for number, role in enumerate(("recording.requests", "recording.results")):
            self.names[role] += ".later"
            worker = self.worker(sandbox)
            worker.wait_log(f"{role.replace('.', '-')}.later.*does not exist yet")
            self.requests.send(call(number), "k")
            self.requests.flush()
            self.results(number + 1)
            wait_until(lambda: worker.get("/readyz")[0] == 200, 10, "it is ready")
            self.assertEqual([("calls", True, False), ("recordings", False, True)],
                             [(j["job"], j["inGroup"], j["lacksTopic"]) for j in worker.status()["jobs"]])
            create_topics(self.bootstrap, {self.names[role]: 2})
            self.opened.pop("recording.results", None)
            self.asked = 0
            self.assertEqual("succeeded", self.ask(f"r{number}")[f"r{number}"]["status"])
            wait_until(lambda: not worker.status()["jobs"][1]["lacksTopic"], 10, "nothing is missing any more")
            self.assertEqual(0, worker.terminate())

    def test_switched_off(self):
        """An empty requests topic switches that job off."""
        sandbox = self.sandbox()
        self.worker(sandbox, {"topic.recording.requests": ""})
        self.requests.send({"CallIdentifier": "c"}, "k", topic=self.names["recording.requests"])
        self.requests.send(call(1), "k")
        self.requests.flush()
        self.results(1)
        self.assertEqual(["call"], [post["endpoint"] for post in sandbox.posts()])


if __name__ == "__main__":
    main()
