"""recording.store: a recording's file is in the directory, whole and under its name, before the result says so; whatever happens on
the way leaves nothing else there."""
import contextlib
import hashlib
import os
import re
import signal
import time
from urllib.parse import unquote, urlsplit

from case import KafkaCase, load, main, wait_until
from programs import peak_memory
from records import call

# What becomes of the file behind the URL in the answer, by the identifier's last part.
NOT_HAD = {"status": "status=404", "denied": "status=401", "throttled": "status=429", "error": "status=500", "lost": "status=302",
           "reset": "reset", "close": "close", "cut": "cut-body", "hang": "hang", "slow": "slow-body=1000s"}
LIMIT = 100000
PATIENCE_MS = 1500 * 100 // load(100)
OWN_PART = r"\.w\.\d+\.part$"


def of_file(fault, identifier, **more):
    matches = {"endpoint": "file", "id": identifier, **more}
    return f"{fault}?{'&'.join(f'{k}={v}' for k, v in matches.items())}"


def open_parts(process):
    found = []
    for fd in os.listdir(f"/proc/{process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.append(os.readlink(f"/proc/{process.pid}/fd/{fd}"))
    return [path for path in found if ".part" in path]


class RecordingStore(KafkaCase):
    PARTITIONS = 2
    RECORDINGS = True

    def begin(self, *faults, **options):
        self.platform = self.sandbox(*faults)
        self.store = f"{self.directory}/the store"
        os.mkdir(self.store)
        return self.start(**options)

    def start(self, **options):
        """With core.dumps, as a user may look into such a process only (open_parts)."""
        settings = {"recording.store": "the store", "kafka.group.instance.id": "w", "core.dumps": "true", **options}
        return self.worker(self.platform, settings, name="w")

    def order(self, *identifiers):
        """Asks for recordings without waiting for them."""
        for identifier in identifiers:
            self.requests.send({"CallIdentifier": identifier}, identifier, topic=self.names["recording.requests"])
        self.requests.flush()

    def files(self, pattern="."):
        return sorted(name for name in os.listdir(self.store) if re.match(pattern, name))

    def wait_files(self, count, pattern="."):
        wait_until(lambda: len(self.files(pattern)) >= count, 30, lambda: f"{count} files like {pattern}: {self.files()}")

    def check_kept(self, result, size=1644, name=None):
        """The file is there, absolutely named, of that size, whole by its own head, and as the result describes it."""
        recording = result["recording"]
        uri = urlsplit(recording["uri"])
        self.assertEqual(("succeeded", "file", ""), (result["status"], uri.scheme, uri.netloc), result)
        self.assertTrue(os.path.samefile(self.store, os.path.dirname(unquote(uri.path))), result)
        self.assertEqual(f"{name or result['callIdentifier']}.wav", os.path.basename(uri.path))
        self.assertNotIn(" ", recording["uri"])
        self.assertNotIn("error", result)
        with open(unquote(uri.path), "rb") as file:
            data = file.read()
        self.assertEqual({"size": size, "sha256": hashlib.sha256(data).hexdigest(), "contentType": "audio/wav"},
                         {k: v for k, v in recording.items() if k not in ("uri", "url")})
        self.assertEqual((size, size - 44), (len(data), int.from_bytes(data[40:44], "little")))

    def check_not_kept(self, result, code, attempts=2):
        self.assertEqual(("unavailable", attempts, code), (result["status"], result["attempts"], result["error"]["code"]), result)
        self.assertTrue(result["error"]["message"])
        self.assertNotIn("recording", result)

    def check_store(self, *identifiers):
        """Nothing else is there."""
        self.assertEqual(sorted(f"{identifier}.wav" for identifier in identifiers), self.files())

    def test_kept(self):
        self.begin()
        kept = ["audio1", "json-2", "json-moved-3", "json-moved-moved-4"]
        results = self.ask(*kept, "none-5")
        for identifier in kept:
            self.check_kept(results[identifier])
            url = results[identifier]["recording"].get("url", "")
            self.assertEqual(identifier != "audio1", url.endswith(f"/sandbox/recordings/{identifier}.wav"), url)
        self.assertEqual(4, len({results[identifier]["recording"]["sha256"] for identifier in kept}), "not each has a file of its own")
        self.assertEqual("refused", results["none-5"]["status"])
        self.check_store(*kept)
        self.assertEqual(0, self.platform.stats()["violations"]["count"], self.platform.stats())

    def test_asked_for_twice(self):
        """Two requests for one recording, and both files are on their way at the same time."""
        self.begin("slow-body=1s?id=twin")
        for key in ("k1", "k2"):
            self.requests.send({"CallIdentifier": "twin"}, key, topic=self.names["recording.requests"])
        self.requests.flush()
        self.wait_files(2, OWN_PART)
        for result in self.results(2, role="recording.results"):
            self.check_kept(result)
        self.check_store("twin")

    def test_large(self):
        """A file is never in memory as a whole."""
        worker = self.begin()
        self.ask("audio", "json-url")
        before, size = peak_memory(worker), 32 << 20
        results = self.ask(f"size-{size}", f"json-size-{size}")
        self.assertLess(peak_memory(worker) - before, size // 2)
        for identifier in (f"size-{size}", f"json-size-{size}"):
            self.check_kept(results[identifier], size + 44)
        self.check_store("audio", "json-url", f"size-{size}", f"json-size-{size}")

    def test_not_had(self):
        """What cannot be fetched, is too large, or finds no place to stay is unavailable; it says nothing about the platform."""
        worker = self.begin(*(of_file(fault, f"json-{name}") for name, fault in NOT_HAD.items()),
                            of_file("status=503", "json-once", times=1), "cut-body?endpoint=recording&id=half",
                            **{"recording.attempts": "2", "recording.max.bytes": str(LIMIT), "recording.timeout.ms": str(PATIENCE_MS),
                               "platform.breaker.failures": "3"})
        lost = [f"json-{name}" for name in NOT_HAD] + ["json-closed-1"]
        exact, larger = f"size-{LIMIT - 44}", f"size-{LIMIT - 43}"
        kept = ["json-once", exact, f"json-{exact}"]
        results = self.ask(*lost, *kept, larger, f"json-{larger}", settle=0)
        for identifier in lost:
            self.check_not_kept(results[identifier], "download-failed")
        for identifier in (larger, f"json-{larger}"):
            self.check_not_kept(results[identifier], "answer-too-large", attempts=1)
        self.check_kept(results["json-once"])
        self.assertEqual(2, results["json-once"]["attempts"])
        for identifier in kept[1:]:
            self.check_kept(results[identifier], LIMIT)
        self.assertEqual("unavailable", self.ask("half", settle=0)["half"]["status"])
        self.check_store(*kept)
        os.rename(self.store, f"{self.store}.aside")
        gone = ["audio", "json-url"]
        results = self.ask(*gone, settle=0)
        with open(self.store, "x"):
            results = {**results, **self.ask("a-file", "json-a-file", settle=0)}
        for identifier in (*gone, "a-file", "json-a-file"):
            self.check_not_kept(results[identifier], "store-failed")
        os.unlink(self.store)
        os.rename(f"{self.store}.aside", self.store)
        self.check_kept(self.ask("back", settle=0)["back"])
        self.check_store(*kept, "back")
        self.requests.send(call(1), "k")
        self.requests.flush()
        self.assertEqual("succeeded", self.results(1)[0]["status"])
        self.assertRegex(worker.get("/metrics")[1], r"(?m)^privacy_call_breaker_state\S* 0$")
        self.assertEqual([], [e for e in worker.events() if re.search("pause", e.get("message", ""))], "the breaker was open")

    def test_store_that_comes_back(self):
        self.begin(**{"recording.attempts": "1000"}).wait_assigned()
        os.rename(self.store, f"{self.store}.aside")
        self.order("c")
        wait_until(lambda: len(self.platform.posts()) >= 2, 30, "a second try")
        os.rename(f"{self.store}.aside", self.store)
        result, = self.results(1, role="recording.results")
        self.check_kept(result)
        self.assertGreaterEqual(result["attempts"], 2)
        self.check_store("c")

    def test_killed(self):
        """kill -9 in the middle of files: the next start removes what its name has left, and nothing of others, and asks again."""
        worker = self.begin("slow-body=1000s?id=direct&times=1", of_file("slow-body=1000s", "json-behind", times=1))
        of_others = [".other.7.part", ".w.1.7.part", ".w.part", ".w.7.part.wav", "notes.part"]
        for name in of_others:
            open(f"{self.store}/{name}", "x").close()
        self.order("direct", "json-behind")
        self.wait_files(2, OWN_PART)
        worker.kill()
        self.assertEqual(2, len(self.files(OWN_PART)))
        open(f"{self.store}/.w.123456789.part", "x").close()  # whatever the next process numbers its own
        self.start()
        results = self.results(2, role="recording.results")
        for result in results:
            self.check_kept(result)
        self.assertEqual(sorted([*of_others, "direct.wav", "json-behind.wav"]), self.files())
        self.wait_idle("recording.requests")
        self.assertEqual(2, len(self.results(2, role="recording.results")))

    def test_thawed(self):
        """One that was frozen in the middle of a file goes on when another process has its name: it spoils none of that one's."""
        frozen = self.begin("slow-body=1s?id=x&times=1", "slow-body=1000s?id=y")
        self.ask("first")
        self.order("x")
        self.wait_files(1, OWN_PART)
        frozen.signal(signal.SIGSTOP)
        self.start()
        results = self.results(2, role="recording.results")
        self.assertEqual([], self.files(OWN_PART))
        self.order("y")
        self.wait_files(1, OWN_PART)
        of_y = self.files(OWN_PART)
        self.assertTrue(open_parts(frozen), "the frozen one had no file open")
        frozen.signal(signal.SIGCONT)
        wait_until(lambda: not open_parts(frozen), 30, "it has ended its file")
        frozen.kill()
        for result in results:
            self.check_kept(result)
        # What the frozen one began anew before it was killed is left beside them, until its name starts again.
        self.assertLessEqual(set(of_y), set(self.files(OWN_PART)))
        self.assertEqual(sorted(["first.wav", "x.wav"]), sorted(set(self.files()) - set(self.files(OWN_PART))))

    def test_stopped(self):
        """SIGTERM in the middle of files: those that end within the drain stay, the others are the next worker's."""
        worker = self.begin("slow-body=1s?id=within", "slow-body=1000s?id=beyond&times=1",
                            of_file("slow-body=1000s", "json-beyond", times=1), **{"drain.timeout.ms": "1500"})
        self.order("within", "beyond", "json-beyond")
        self.wait_files(3)
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        self.assertEqual(0, worker.wait())
        self.assertLess(time.monotonic() - began, 1.5 + 5 + 3)
        self.check_store("within")
        self.check_kept(self.results(1, role="recording.results")[0])
        self.start()
        for result in self.results(3, role="recording.results"):
            self.check_kept(result)
        self.check_store("within", "beyond", "json-beyond")


if __name__ == "__main__":
    main()
