"""What the platform's answers become, in whatever form they come; the platform is a script."""
import datetime
import email.utils
import gzip
import json
import os
import re
import time
import zlib

from case import KafkaCase, main
from records import call, caller
from scripted import Scripted

JSON = {"Content-Type": "application/json"}
WAV = b"RIFF" + (36 + 160).to_bytes(4, "little") + b"WAVEfmt " + bytes(20) + b"data" + (160).to_bytes(4, "little") + bytes(160)


def flag(value, **more):
    return json.dumps({"Flag": value, **more})


AUDIO = {"Content-Type": "audio/wav"}
BINARY = {"Content-Type": "application/octet-stream"}
PACKED = gzip.compress(WAV)

# Answers about recordings, by whether the file is kept.
KEPT = {
    "msg": (200, JSON, flag(1, Msg="{url}/f.wav")),
    "nested": (200, JSON, flag(1, Msg="ok", data={"list": [{"u": "{url}/f.wav"}]})),
    "padded": (200, JSON, flag(1, Msg=" \n{url}/f.wav ")),
    "space": (200, JSON, flag(1, Msg="{url}/a b.wav")),
    "moved": (302, {"Location": "/moved"}, ""),
    "moved-space": (302, {"Location": "{url}/a b.wav"}, ""),
    "user": (200, JSON, flag(1, Msg="http://u:p@{host}/f.wav")),
    "packed": (200, JSON, flag(1, Msg="{url}/gz.wav")),
    "packed-file": (200, {**AUDIO, "Content-Encoding": "gzip"}, PACKED),
    "identity-file": (200, {**AUDIO, "Content-Encoding": "none, identity"}, WAV),
    "identity-packed-file": (200, {**AUDIO, "Content-Encoding": "gzip, identity"}, PACKED),
    "identity": (200, JSON, flag(1, Msg="{url}/none.wav")),
    "identity-packed": (200, JSON, flag(1, Msg="{url}/identity-gz.wav")),
}
KEPT_WITHOUT_TYPE = {  # the file's name has no ending
    "answer": (200, BINARY, WAV),
    "deflated-file": (200, {**BINARY, "Content-Encoding": "deflate"}, zlib.compress(WAV)),
    "php": (200, JSON, flag(1, Msg="{url}/f.php")),
}
NOT_KEPT = {  # and the code
    "damaged-file": (200, {**AUDIO, "Content-Encoding": "gzip"}, PACKED[:-9], "download-failed"),
    "not-packed-file": (200, {**AUDIO, "Content-Encoding": "gzip"}, WAV, "unreadable-answer"),
    "none": (200, JSON, flag(1, Msg="ok"), "recording-url-missing"),
    "ftp": (200, JSON, flag(1, Msg="ftp://127.0.0.1/f"), "recording-url-refused"),
    "nowhere": (302, {}, "", "recording-url-missing"),
    "unknown-host": (200, JSON, flag(1, Msg="http://no.such.host.invalid/f"), "download-failed"),
    "port": (200, JSON, flag(1, Msg="http://127.0.0.1:99999/f"), "download-failed"),
}
FILES = {
    "/f.wav": (200, AUDIO, WAV), "/a%20b.wav": (200, AUDIO, WAV), "/f.php": (200, {}, WAV),
    "/gz.wav": (200, {**AUDIO, "Content-Encoding": "gzip"}, PACKED),
    "/none.wav": (200, {**AUDIO, "Content-Encoding": "none"}, WAV),
    "/identity-gz.wav": (200, {**AUDIO, "Content-Encoding": "identity, gzip"}, PACKED),
    "/moved": [(307, {"Location": "{url}/f.wav"}, "")],
}


class Answers(KafkaCase):
    RECORDINGS = True
    PARTITIONS = 2

    def begin(self, platform, **options):
        self.platform = platform
        self.addCleanup(platform.close)
        return self.worker(platform, {"platform.allow.http": "true", "platform.breaker.failures": "1000", **options})

    def call_all(self, names):
        for number, name in enumerate(names):
            self.requests.send(call(number, name), name)
        self.requests.flush()
        return {r["orderId"]: r for r in self.results(len(names))}

    def test_forms(self):
        """The outcome is known whatever the answer is packed in and whatever characters it has."""
        raw = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = flag(1, Msg="8617115230000").encode()
        cases = {
            "gzip": (200, {**JSON, "Content-Encoding": "gzip"}, gzip.compress(body)),
            "x-gzip": (200, {**JSON, "Content-Encoding": "x-gzip"}, gzip.compress(body)),
            "untold": (200, JSON, gzip.compress(body)),
            "deflate": (200, {**JSON, "Content-Encoding": "deflate"}, zlib.compress(body)),
            "raw": (200, {**JSON, "Content-Encoding": "deflate"}, raw.compress(body) + raw.flush()),
            "twice": (200, {**JSON, "Content-Encoding": "gzip, gzip"}, gzip.compress(gzip.compress(body))),
            "lie": (200, {**JSON, "Content-Encoding": "gzip"}, body),
            "bom": (200, JSON, b"\xef\xbb\xbf" + body),
            "utf-16": (200, JSON, body.decode().encode("utf-16")),
            "gbk": (200, {"Content-Type": "application/json;charset=GBK"}, '{"Flag":1,"Msg":"系统"}'.encode("gbk")),
            "gb-untold": (200, JSON, '{"Flag":1,"Msg":"呼叫失败"}'.encode("gb18030")),
            "cut": (200, JSON, '{"Flag":1,"Msg":"成功'.encode()[:-1] + b'"}'),
            "surrogate": (200, JSON, r'{"Flag":"1","Msg":"a\ud83db","x\ud83d":"\u0000"}'),
            "number": (200, JSON, '{"Flag":1e0,"Msg":"008617115230000","id":123456789012345678901234567890,"f":1.10}'),
            "doubled": (200, JSON, '{"Flag":1.0,"Msg":"a","Msg":"b"}'),
        }
        self.begin(Scripted({caller(number): answer for number, answer in enumerate(cases.values())}))
        results = self.call_all(cases)
        for name, result in results.items():
            self.assertEqual(("succeeded", 1), (result["status"], result["Flag"]), (name, result))
        self.assertEqual("系统", results["gbk"]["Msg"])
        self.assertEqual("呼叫失败", results["gb-untold"]["Msg"])
        self.assertEqual("成\ufffd", results["cut"]["Msg"])
        self.assertEqual(("a\ufffdb", "\0"), (results["surrogate"]["Msg"], results["surrogate"]["platform"]["x\ufffd"]))
        self.assertEqual("17115230000", results["number"]["virtualNumber"])
        self.assertEqual(123456789012345678901234567890, results["number"]["platform"]["id"])

    def test_flags(self):
        """Flags that are listed count with any status; another one is a refusal, and a success only with 2xx."""
        cases = {
            "true": ((200, JSON, flag(True)), "refused"), "object": ((200, JSON, flag({"a": 1})), "refused"),
            "text": ((200, JSON, flag("1x")), "refused"), "null": ((200, JSON, flag(None)), "unknown"),
            "array": ((200, JSON, "[1]"), "unknown"), "deep": ((200, JSON, '{"Flag":1,"x":' + "[" * 64 + "]" * 64 + "}"), "unknown"),
            "63": ((200, JSON, '{"Flag":1,"x":' + "[" * 63 + "]" * 63 + "}"), "succeeded"),
            "bomb": ((200, JSON, gzip.compress(b'{"Flag":1}' + b" " * 10_000_000)), "unknown"),
            "one in 404": ((404, JSON, flag(1)), "unknown"), "one in 302": ((302, {"Location": "{url}/x"}, flag(1)), "unknown"),
            "302": ((302, {"Location": "{url}/x"}, ""), "refused"),
            "retry in 403": ([(403, JSON, flag(50)), (200, JSON, flag(1))], "succeeded"),
            "retry in 500": ([(500, JSON, flag("50")), (200, JSON, flag(1))], "succeeded"),
            "auth in 400": ([(400, JSON, flag(40)), (200, JSON, flag(1))], "succeeded"),
        }
        self.begin(Scripted({caller(number): answer for number, (answer, _) in enumerate(cases.values())}),
                   **{"platform.auth.flags": "40", "call.retry.flags": "50", "platform.breaker.open.ms": "100"})
        results = self.call_all(cases)
        self.assertEqual({name: status for name, (_, status) in cases.items()},
                         {name: result["status"] for name, result in results.items()})
        self.assertEqual((True, {"a": 1}), (results["true"]["Flag"], results["object"]["Flag"]))
        self.assertEqual(302, results["302"]["httpStatus"])

    def test_passed_between_tries(self):
        """EndMinute, expiresAt: in time for the first try, and not for the second one, which a date puts off."""
        later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)
        instant = later.strftime("%Y-%m-%dT%H:%M:%SZ")
        wait = [(429, {"Retry-After": email.utils.formatdate(time.time() + 8, usegmt=True)}, ""), (200, JSON, flag(1))]
        self.begin(Scripted({caller(number): wait for number in range(3)}))
        self.requests.send({**call(0), "EndMinute": instant}, "ends")
        self.requests.send({**call(1), "expiresAt": instant}, "expires")
        self.requests.send(call(2), "waits")
        self.requests.flush()
        results = {r["orderId"]: r for r in self.results(3)}
        self.assertEqual({"ends": "invalid", "expires": "expired", "waits": "succeeded"}, {k: r["status"] for k, r in results.items()})
        self.assertRegex(results["ends"]["error"]["message"], "^EndMinute")
        self.assertEqual([1, 1, 2], [self.platform.tries[caller(number)] for number in range(3)])
        letter, = self.dead_letters(1)
        self.assertEqual(b"ends", letter.key())

    def recordings(self, cases, files, **options):
        """All of them asked for, with a store; what is kept, by name."""
        store = f"{self.directory}/store"
        os.mkdir(store)
        self.begin(Scripted(recordings=cases, files=files),
                   **{"recording.store": store, "recording.attempts": "2", **options})
        return self.ask(*cases), sorted(os.listdir(store))

    def test_urls(self):
        """Wherever the URL stands; a redirect is one; each is fetched without credentials, and kept."""
        refusal = (200, {**JSON, "Content-Encoding": "deflate"}, zlib.compress(b'{"Flag":2}'))
        good = {**KEPT, **KEPT_WITHOUT_TYPE}
        results, kept = self.recordings({**good, "packed-answer": refusal, **{name: row[:3] for name, row in NOT_KEPT.items()}}, FILES)
        self.assertEqual(sorted([f"{name}.wav" for name in KEPT] + list(KEPT_WITHOUT_TYPE)), kept)
        for name in good:
            self.assertEqual("succeeded", results[name]["status"], results[name])
        self.assertEqual({len(WAV)}, {results[name]["recording"]["size"] for name in good})
        self.assertEqual(f"{self.platform.url}/a%20b.wav", results["moved-space"]["recording"]["url"])
        self.assertEqual(("refused", 2), (results["packed-answer"]["status"], results["packed-answer"]["Flag"]))
        self.assertEqual({name: ("unavailable", 2, code) for name, (*_, code) in NOT_KEPT.items()},
                         {name: (results[name]["status"], results[name]["attempts"], results[name]["error"]["code"]) for name in NOT_KEPT})
        self.assertFalse(self.platform.credentials)

    def test_named_member(self):
        cases = {"a": (200, JSON, flag(1, help="{url}/help", files=[{"u": "/f"}])), "b": (200, JSON, flag(1, Msg="{url}/f"))}
        results, kept = self.recordings(cases, {"/f": (200, {}, WAV), "/help": (200, {}, WAV)},
                                        **{"recording.url.member": "files[0].u"})
        self.assertEqual((["a"], "recording-url-missing"), (kept, results["b"]["error"]["code"]))
        self.assertEqual(f"{self.platform.url}/f", results["a"]["recording"]["url"])

    def test_no_recording(self):
        """What is behind the URL or sent in the answer and is no audio is never kept, whatever it is called."""
        documents = {
            "json": b'\xef\xbb\xbf {"Flag":0}', "utf16": '{"Flag":0}'.encode("utf-16"), "xml": b"<?xml version='1.0'?><Error/>",
            "html": b"\n\n<!doctype html><p>gone", "text": "没有录音".encode(), "gbk": "没有录音".encode("gbk"),
            "png": b"\x89PNG\r\n\x1a\n" + bytes(100), "pdf": b"%PDF-1.7\n" + bytes(100), "zip": b"PK\3\4" + bytes(100),
            "long": b"[" + b"1," * 50_000 + b"1]"}
        cases = {f"{name}-{i}": (200, JSON, flag(1, Msg="{url}/" + f"{name}-{i}.wav")) for name in documents for i in range(2)}
        types = ["application/octet-stream", "audio/x-wav"]
        files = {f"/{name}-{i}.wav": (200, {"Content-Type": types[i]}, body) for name, body in documents.items() for i in range(2)}
        cases.update({f"direct-{name}": (200, {"Content-Type": "audio/wav"}, body) for name, body in documents.items()
                      if name not in ("json", "utf16")})
        cases["packed"] = (200, JSON, flag(1, Msg="{url}/packed"))
        files["/packed"] = (200, {"Content-Encoding": "deflate"}, zlib.compress(b'{"Flag":0}'))
        cases["direct-refusal"] = (200, {"Content-Type": "audio/wav"}, flag(7))
        results, kept = self.recordings(cases, files)
        self.assertEqual([], kept)
        self.assertEqual("refused", results.pop("direct-refusal")["status"])
        for name, result in results.items():
            code = "unreadable-answer" if name.startswith("direct") else "not-a-recording"
            if name == "direct-long":
                code = "answer-too-large"
            self.assertEqual(("unavailable", 2, code), (result["status"], result["attempts"], result["error"]["code"]), result)

    def test_clocks_that_differ(self):
        """Told by the platform's Date: a metric, and a warning when it is so much that signed times may be refused."""
        def date(seconds):
            return {**JSON, "Date": email.utils.formatdate(time.time() + seconds, usegmt=True)}
        dates = [date(-7200), date(0), {**JSON, "Date": "?"}]
        worker = self.begin(Scripted({caller(number): (200, headers, flag(1)) for number, headers in enumerate(dates)}))
        for number, offset in ((0, 7200), (1, 0), (2, 0)):
            self.requests.send(call(number, f"o{number}"), f"o{number}")
            self.requests.flush()
            self.results(number + 1)
            told = float(re.search(r"(?m)^privacy_call_platform_clock_offset_seconds (\S+)$", worker.get("/metrics")[1])[1])
            self.assertAlmostEqual(offset, told, delta=60)
        worker.wait_log(lambda line: re.search(r"clock is 7\d\d\d s ahead of the platform's", line["message"]))
        worker.wait_log(lambda line: "clock agrees" in line["message"])

    def test_private_addresses(self):
        """Refused without a connection, with the same words for what listens and what does not, after a redirect too."""
        cases = {"open": (200, JSON, flag(1, Msg="{url}/f.wav")), "closed": (200, JSON, flag(1, Msg="http://127.0.0.1:1/f.wav")),
                 "name": (200, JSON, flag(1, Msg="http://localhost/f.wav")), "meta": (200, JSON, flag(1, Msg="http://169.254.169.254/")),
                 "v6": (200, JSON, flag(1, Msg="http://[::ffff:127.0.0.1]/")), "decimal": (200, JSON, flag(1, Msg="http://2130706433/")),
                 "moved": (302, {"Location": "{url}/f.wav"}, "")}
        results, kept = self.recordings(cases, {"/f.wav": (200, {}, WAV)}, **{"recording.url.allow.private": "false"})
        self.assertEqual([], kept)
        self.assertEqual({("unavailable", "recording-url-refused")}, {(r["status"], r["error"]["code"]) for r in results.values()})
        self.assertEqual(1, len({r["error"]["message"] for name, r in results.items() if name != "moved"}), results)
        self.assertNotIn("/f.wav", self.platform.tries)

    def test_identifiers(self):
        """As strings or integers, with as many digits as were sent."""
        number = "65445298527236037121523767083120"
        self.begin(Scripted(recordings={number: (200, JSON, flag(1))}))
        self.requests.send(f'{{"CallIdentifier":{number},"requestId":{number}9}}', "o", topic=self.names["recording.requests"])
        for wrong in ("-0", "1.0", "1e3"):
            self.requests.send(f'{{"CallIdentifier":{wrong}}}', "o", topic=self.names["recording.requests"])
        self.requests.flush()
        first, *others = self.results(4, role="recording.results")
        self.assertEqual(("succeeded", number, f"{number}9"), (first["status"], first["callIdentifier"], first["requestId"]))
        self.assertEqual(["invalid"] * 3, [r["status"] for r in others])


if __name__ == "__main__":
    main()
