"""Requests that break the rules: an invalid result, a dead letter byte for byte, and the next request is served."""
import json
import re

from case import KafkaCase, main
from programs import wait_until
from records import call, create_topics

GOOD = call(1)
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def bad_values():
    """What is wrong: (key, value)."""
    def value(**changes):
        return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()
    return {
        "no JSON": (b"k", b"ring ring"),
        "empty": (b"k", b""),
        "null value": (b"k", None),
        "no object": (b"k", b"[1,2,3]"),
        "cut": (b"k", json.dumps(GOOD).encode()[:-1]),
        "more behind it": (b"k", json.dumps(GOOD).encode() + b"{}"),
        "braces": (b"k", b"{" * 1000000),
        "brackets, short": (b"k", b"[" * 60000),
        "long string": (b"k", value(Callee="1" * 70000)),
        "NULs": (b"k", b"\0" * 100),
        "NUL in a string": (b"k", b'{"Caller": "18000\\u0000", "Callee": "13900000000"}'),
        "no UTF-8": (b"k", b'{"Caller": "18000000001", "Callee": "13900000000", "x": "\xff\xfe"}'),
        "member twice": (b"k", b'{"Caller": "18000000001", "Caller": "18000000001", "Callee": "13900000000"}'),
        "member twice, deep": (b"k", b'{"Caller": "18000000001", "Callee": "13900000000", "x": {"a": 1, "a": 2}}'),
        "no Caller": (b"k", value(Caller=...)),
        "no Callee": (b"k", value(Callee=...)),
        "null Caller": (b"k", value(Caller=None)),
        "Caller a number": (b"k", value(Caller=18000000001)),
        "Caller too short": (b"k", value(Caller="12")),
        "Caller too long": (b"k", value(Caller="1" * 21)),
        "Caller with letters": (b"k", value(Caller="1800000000x")),
        "VirtualNum": (b"k", value(VirtualNum="+")),
        "Direct": (b"k", value(Direct="3")),
        "Direct a float": (b"k", value(Direct=1.0)),
        "Direct true": (b"k", value(Direct=True)),
        "EndMinute 0": (b"k", value(EndMinute="0")),
        "EndMinute 61": (b"k", value(EndMinute=61)),
        "EndMinute past": (b"k", value(EndMinute="2016-05-20T23:59:59Z")),
        "Code": (b"k", value(Code="21")),
        "requestId": (b"k", value(requestId="r" * 129)),
        "requestId with a line end": (b"k", value(requestId="a\nb")),
        "expiresAt": (b"k", value(expiresAt="tomorrow")),
        "orderId differs": (b"k", value(orderId="other")),
        "orderId an object": (b"k", value(orderId={})),
    }


LETTERS_ONLY = {  # no order id: a dead letter alone
    "no key, no orderId": (None, json.dumps(GOOD).encode()),
    "empty key, no orderId": (b"", json.dumps(GOOD).encode()),
    "no key, no JSON": (None, b"ring"),
    "no key, no value": (None, None),
    "key too long": (b"k" * 257, json.dumps(dict(GOOD, orderId="o")).encode()),
    "key with NUL": (b"a\0b", json.dumps(dict(GOOD, orderId="o")).encode()),
    "key no UTF-8": (b"\xff\xfe", json.dumps(dict(GOOD, orderId="o")).encode()),
}


class BadInput(KafkaCase):
    PARTITIONS = 2

    def test_all(self):
        sandbox = self.sandbox()
        headers = [("traceparent", TRACE), ("odd", b"\x00\xff"), ("none", None),
                   ("odd", b"twice")]
        bad = {**bad_values(), **LETTERS_ONLY}
        for name, (key, value) in bad.items():
            self.requests.send(value, key, partition=0, headers=headers)
            self.requests.send(call(len(self.requests.sent) + 100), b"k", partition=0)
        for number in range(2000, 2000 + len(bad)):
            self.requests.send(call(number), b"good", partition=0)
        sent = self.requests.flush()
        self.worker(sandbox)
        results = self.results(len(sent) - len(LETTERS_ONLY))
        by_offset = {r["source"]["offset"]: r for r in results}
        letters = {dict(m.headers())["dlq.offset"].decode(): m for m in self.dead_letters(len(bad))}
        wrong = []
        for offset, message in enumerate(sent):
            self.assertEqual(offset, message.offset())
        for at, (name, (key, value)) in enumerate(bad.items()):
            offset = 2 * at
            self.check_letter(name, letters[str(offset)], key, value, headers, offset)
            if name in LETTERS_ONLY:
                self.assertNotIn(offset, by_offset, name)
            elif by_offset[offset]["status"] != "invalid":
                wrong.append((name, by_offset[offset]))
            else:
                self.assertRegex(by_offset[offset]["error"]["code"], r"^[a-z0-9]+(-[a-z0-9]+)*$")
                self.assertEqual(0, by_offset[offset]["attempts"])
            self.assertEqual("succeeded", by_offset[offset + 1]["status"], f"the request after: {name}")
        self.assertEqual([], wrong, "these were not found invalid")
        self.assertEqual(2 * len(bad), len(sandbox.calls()))
        self.wait_idle()

    def check_letter(self, name, letter, key, value, headers, offset):
        self.assertEqual(key, letter.key(), name)
        self.assertEqual(value, letter.value(), name)
        self.assertEqual(headers, letter.headers()[:len(headers)], name)
        given = {k: v.decode() for k, v in letter.headers()[len(headers):]}
        self.assertEqual(("invalid", self.names["call.requests"], "0", str(offset), self.group),
                         (given["dlq.reason"], given["dlq.topic"], given["dlq.partition"], given["dlq.offset"], given["dlq.group"]))
        self.assertRegex(given["dlq.code"], r"^[a-z0-9]+(-[a-z0-9]+)*$")
        self.assertTrue(given["dlq.message"])
        self.assertGreater(int(given["dlq.timestamp"]), 1500000000000)

    def test_error_names_the_member(self):
        self.worker(self.sandbox())
        for member in ("Caller", "Callee", "VirtualNum", "Direct", "EndMinute", "Code", "expiresAt", "requestId"):
            self.requests.send(dict(GOOD, **{member: {"nested": True}}), member)
        self.requests.flush()
        for result in self.results(8):
            self.assertEqual("invalid", result["status"])
            self.assertIn(result["orderId"], result["error"]["message"])

    def test_accepted(self):
        """What looks odd and is allowed."""
        sandbox = self.sandbox()
        self.worker(sandbox)
        good = {
            b"key": call(1),
            b"plus": dict(call(2), Callee="+8613900000000"),
            b"unknown members": dict(call(3), colour="green", deep={"a": [1, {"b": None}]}),
            b"null is absent": dict(call(4), Direct=None, EndMinute=None, Code=None, VirtualNum=None, requestId=None, expiresAt=None),
            b"empty is absent": dict(call(5), Direct="", EndMinute="", Code="", VirtualNum="", requestId="", expiresAt=""),
            b"integers": dict(call(6), Direct=1, EndMinute=60, requestId=7),
            b"strings": dict(call(7), Direct="2", EndMinute="1", Code="021"),
            b"instant": dict(call(8), EndMinute="2999-05-20T23:59:59Z", Code="0755"),
            b"4711": dict(call(9), orderId=4711),
            "bestellung-\u00e4\u4e2d".encode(): call(10),
            b"x" * 256: call(11),
        }
        for key, value in good.items():
            self.requests.send(value, key)
        self.requests.send(dict(call(12), orderId="from the value"), None)
        self.requests.send(dict(call(13), orderId="for an empty key"), b"")
        self.requests.send(b" \n" + json.dumps(call(14)).encode() + b"\r\n\t ", b"white space")
        self.requests.flush()
        results = self.results(len(good) + 3)
        self.assertEqual([], [r for r in results if r["status"] != "succeeded"])
        self.assertEqual(set(good) | {b"from the value", b"for an empty key", b"white space"}, {r["_key"] for r in results})
        for result in results:
            self.assertEqual(result["_key"].decode(), result["orderId"])
        self.assertEqual("7", next(r for r in results if r["orderId"] == "integers")["requestId"])
        self.assertEqual(0, sandbox.stats()["violations"]["count"], sandbox.stats()["violations"])

    def test_too_large_for_the_broker(self):
        """A result or dead letter that the broker does not take is replaced by a smaller one, and nothing else is held up."""
        for role in ("call.results", "dead.letters"):
            self.names[role] += ".small"
            create_topics(self.bootstrap, {self.names[role]: 1}, {"max.message.bytes": "20000"})
        sandbox = self.sandbox(f"big-answer=40000?caller={call(1)['Caller']}")
        worker = self.worker(sandbox)
        self.requests.send(call(1), b"big answer", partition=0)
        self.requests.send(b"{" * 50000, b"big request", partition=0, headers=[("h", b"1")])
        for number in range(2, 20):
            self.requests.send(call(number), f"k{number}", partition=number % 2)
        sent = self.requests.flush()
        results = {r["_key"]: r for r in self.results(len(sent))}
        big = results[b"big answer"]
        self.assertEqual(("succeeded", "result-too-large"), (big["status"], big["error"]["code"]))
        self.assertNotIn("platform", big)
        self.assertEqual(("invalid", "json-invalid"), (results[b"big request"]["status"], results[b"big request"]["error"]["code"]))
        letter, = self.dead_letters(1)
        headers = {k: v.decode() for k, v in letter.headers()}
        self.assertEqual((b"big request", None, "1", "50000"), (letter.key(), letter.value(), headers["h"], headers["dlq.value.size"]))
        self.assertEqual(len(sent) - 1, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def test_refused_in_any_size(self):
        """What the broker does not take even small holds its own partition back, loudly, until it takes it; the others go on."""
        self.names["call.results"] += ".tiny"
        create_topics(self.bootstrap, {self.names["call.results"]: 1}, {"max.message.bytes": "1500"})
        worker = self.worker(self.sandbox(), {"drain.timeout.ms": "2000"})
        self.requests.send(dict(call(1), requestId="r" * 128), "k" * 256, partition=0, headers=[("traceparent", TRACE)])
        for number in range(2, 20):
            self.requests.send(call(number), f"k{number}", partition=1)
        self.requests.flush()
        self.assertEqual({f"k{n}".encode() for n in range(2, 20)}, {r["_key"] for r in self.results(18)})
        event = worker.wait_log("refuses the result of this request even in its smallest form")
        self.assertEqual((self.names["call.requests"], 0, 0), tuple(event[f"kafka.{n}"] for n in ("topic", "partition", "offset")))
        self.assertEqual(TRACE.decode().split("-")[1], event["trace.id"])
        wait_until(lambda: re.search(r"(?m)^privacy_call_partitions_halted 1$", worker.get("/metrics")[1]), 10)
        after = worker.logged()
        self.requests.send(call(20), "k20", partition=1)
        self.requests.flush()
        self.results(19)
        self.assertEqual([], [e for e in worker.events()[after:] if "aborted" in e.get("message", "")])
        self.assertEqual(0, worker.terminate())  # the answer goes to the dead letters, the next owner calls it unknown
        letter, = self.dead_letters(1)
        headers = {k: v.decode() for k, v in letter.headers()}
        self.assertEqual(("late-outcome", "succeeded"), (headers["dlq.reason"], json.loads(headers["dlq.outcome"])["status"]))

    def test_cloud_events(self):
        """A CloudEvent's subject and id are those of its invalid result, whatever its value is."""
        self.worker(self.sandbox())
        structured = [("content-type", b"application/cloudevents+json")]
        bad = {"no JSON": b"ring ring", "null": None, "too large": b"x" * 70000, "no object": b"[]"}
        for name, value in bad.items():
            headers = [("ce_id", f"event of {name}".encode()), ("ce_subject", name.encode())]
            self.requests.send(value, None, headers=headers)
            self.requests.send(value, f"key, {name}", headers=headers)
        twice = b'{"id": "event of twice", "subject": "twice", "data": {"Caller": "123", "Caller": "123", "Callee": "456"}}'
        self.requests.send(twice, None, headers=structured)
        self.requests.send(twice[:-1], None, headers=structured)
        self.requests.flush()
        want = {(order, f"event of {name}", "invalid") for name in bad for order in (name, f"key, {name}")}
        want.add(("twice", "event of twice", "invalid"))
        self.assertEqual(want, {(r["orderId"], r["requestId"], r["status"]) for r in self.results(len(want))})
        self.dead_letters(len(want) + 1)
        self.wait_idle()

    def test_event_max_bytes(self):
        self.worker(self.sandbox(), {"event.max.bytes": "200"})
        self.requests.send(dict(call(1), padding="x" * 200), b"k")
        self.requests.send(call(2), b"k")
        self.requests.flush()
        self.assertEqual(["invalid", "succeeded"], [r["status"] for r in self.results(2)])


if __name__ == "__main__":
    main()
