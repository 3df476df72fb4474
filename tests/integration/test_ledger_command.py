"""The operator's command `ledger`, and `ledger repair`."""
import json
import subprocess
import zlib

from case import BUILD, KafkaCase, main, wait_until
from records import call, caller, create_topics
from refuser import LIST_GROUPS, OFFSET_COMMIT, OFFSET_FETCH, Refuser


class LedgerCommand(KafkaCase):
    PARTITIONS = 2

    def command(self, *words, options=None):
        return subprocess.run(self.arguments(*words, options=options), capture_output=True, text=True, timeout=60)

    def arguments(self, *words, options=None):
        settings = {"kafka.bootstrap.servers": self.bootstrap, "platform.url": "https://127.0.0.1:1", "platform.token": "t",
                    "platform.app.id": "a", "kafka.group.id": self.group, "topic.recording.requests": "",
                    **{f"topic.{role}": name for role, name in self.names.items() if role != "recording.requests"}, **(options or {})}
        command = [f"{BUILD}/privacy-call-worker", *words]
        for key, value in settings.items():
            command += ["-o", f"{key}={value}"]
        return command

    def ledger(self, status=0):
        """The partitions of the calls' group by number."""
        run = self.command("ledger", "--json")
        self.assertEqual(status, run.returncode, run.stderr)
        self.shown = json.loads(run.stdout)
        job = self.shown["jobs"][0]
        self.assertEqual(("calls", self.names["call.requests"], self.group), (job["job"], job["topic"], job["group"]))
        self.members = job["members"]
        return {p["partition"]: p for p in job["partitions"]}

    def repair(self, *words):
        return self.command("ledger", "repair", "--topic", self.names["call.requests"], *words)

    def wait_stopped(self):
        wait_until(lambda: self.ledger(status=self.halted) and not self.members, 60, "the group is empty")

    halted = 0

    def test_shows_a_working_and_a_stopped_group(self):
        found = self.ledger()
        self.assertEqual((-1, 0, 0, False), tuple(found[0][k] for k in ("base", "end", "lag", "halted")))
        sandbox = self.sandbox(f"hang?caller={caller(1)}")
        worker = self.worker(sandbox, {"platform.timeout.ms": "60000"})
        self.requests.send(call(1), "a", partition=0)
        for number in range(2, 6):
            self.requests.send(call(number), f"k{number}", partition=0)
        self.requests.flush()
        self.results(4)
        found = self.ledger()
        self.assertEqual(1, self.members)
        row = found[0]
        self.assertEqual((0, 5, 5, 1, 4, worker.name), tuple(row[k] for k in ("base", "end", "lag", "started", "done", "owner")))
        self.assertGreater(row["sequence"], 0)
        self.assertLess(row["oldestAgeMs"], 60000)
        run = self.command("ledger")
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertIn(worker.name, run.stdout)
        worker.kill()  # and its open call, if any, is nobody's business
        found = self.ledger()
        self.assertEqual(1, found[0]["started"])

    def test_repairs_only_what_is_halted_and_stopped(self):
        self.halted = 1
        for number in range(4):
            self.requests.send(call(number), f"k{number}", partition=number % 2)
        self.requests.flush()
        offsets = self.offsets()
        offsets.commit(self.names["call.requests"], 1, 1, "consumed by another program")
        sandbox = self.sandbox()
        worker = self.worker(sandbox)
        self.results(2)
        found = self.ledger(status=1)
        self.assertEqual((False, True), (found[0]["halted"], found[1]["halted"]))
        self.assertIn("metadata", found[1]["reason"])
        self.assertIn("HALTED", self.command("ledger").stdout)
        run = self.repair("--partition", "1", "--yes")
        self.assertEqual(1, run.returncode, run.stdout)
        self.assertIn("member", run.stderr)
        self.assertEqual(0, worker.terminate())
        self.wait_stopped()
        run = self.repair("--partition", "0", "--yes")
        self.assertEqual(1, run.returncode, run.stdout)
        self.assertIn("not halted", run.stderr)
        run = self.repair("--partition", "1")
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertIn("offset 1 to 1", run.stdout)
        self.assertIn("--yes", run.stdout)
        self.assertEqual((1, "consumed by another program"), offsets.read(self.names["call.requests"], [1])[1], "it wrote without --yes")
        self.assertEqual(1, self.repair("--partition", "1", "--offset", "9", "--yes").returncode)
        run = self.repair("--partition", "1", "--yes")
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertEqual((1, ""), offsets.read(self.names["call.requests"], [1])[1])
        self.worker(sandbox, name="next")
        self.results(3)

    def test_a_committed_offset_that_the_log_does_not_have(self):
        self.halted = 1
        offsets = self.offsets()
        offsets.commit(self.names["call.requests"], 1, 7, "")
        found = self.ledger(status=1)
        self.assertIn("log ends", found[1]["reason"])
        run = self.repair("--partition", "1", "--yes")
        self.assertEqual(1, run.returncode, run.stdout)
        self.assertIn("--offset", run.stderr)
        run = self.repair("--partition=1", "--offset=0", "--yes")
        self.assertEqual(0, run.returncode, run.stderr)
        self.halted = 0
        self.assertEqual(0, self.ledger()[1]["base"])

    def test_recordings_do_not_ring(self):
        topic = self.names["recording.requests"]
        self.requests.send({"CallIdentifier": "x"}, "x", partition=1, topic=topic)
        self.requests.flush()
        self.offsets("recording.requests").commit(topic, 1, 0, "consumed by another program")
        run = self.command("ledger", "repair", "--topic", topic, "--partition", "1", options={"topic.recording.requests": topic})
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertNotRegex(run.stdout, "rings? twice|call.max.age")
        self.assertIn("offset 0 to 0 are then performed, whatever their age", run.stdout)

    def test_marks_that_the_log_does_not_have(self):
        """The log of a topic made anew, whose base alone would do: the worker halts it, and says that this command mends it."""
        self.halted = 1
        self.requests.send(call(0), "k0", partition=1)
        self.requests.flush()
        offsets = self.offsets()
        body = "rs5d"
        metadata = f"pcw1:3::{zlib.crc32(f'pcw1:0:3::{body}'.encode()):08x}:{body}"
        offsets.commit(self.names["call.requests"], 1, 0, metadata)
        found = self.ledger(status=1)
        self.assertEqual((5, True), (found[1]["started"], found[1]["halted"]))
        self.assertIn("up to 6", found[1]["reason"])
        run = self.repair("--partition", "1", "--yes")
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertIn("offset 0 to 0", run.stdout)
        self.assertEqual((0, ""), offsets.read(self.names["call.requests"], [1])[1])
        self.assertFalse(self.ledger()[1]["halted"])

    def test_a_second_site(self):
        """As docs/kafka.md has it: offsets are translated there, and metadata copied, so each such partition halts and nothing is called.
        After the repair, requests from the chosen offset on are called, and those before are not."""
        self.halted = 1
        first, topic = self.group, self.names["call.requests"]
        sandbox = self.sandbox(f"hang?caller={caller(3)}")
        worker = self.worker(sandbox, {"platform.timeout.ms": "60000", "drain.timeout.ms": "1000"})
        for number in range(8):
            self.requests.send(call(number), f"k{number}", partition=0)
        self.requests.flush()
        self.results(7)
        base, metadata = self.offsets().read(topic, [0])[0]
        self.assertEqual(3, base)
        worker.kill()
        self.group, self.names["call.requests"] = f"{first}.second", f"{topic}.second"
        topic = self.names["call.requests"]
        create_topics(self.bootstrap, {topic: 2})
        for number in range(2, 8):  # the first two had been deleted when it was mirrored
            self.requests.send(call(number), f"k{number}", partition=0, topic=topic)
        self.requests.flush()
        offsets, called = self.offsets(), len(sandbox.calls())
        offsets.commit(topic, 0, base - 2, metadata)
        worker = self.worker(sandbox, name="second")
        event = worker.wait_log(lambda e: e["log.level"] == "error" and e.get("kafka.partition") == 0)
        self.assertIn("ledger repair", event["message"])
        self.assertTrue(self.ledger(status=1)[0]["halted"])
        self.assertEqual(0, worker.terminate())
        self.wait_stopped()
        self.assertEqual((base - 2, metadata), offsets.read(topic, [0])[0], "the copied ledger was touched")
        self.assertEqual(called, len(sandbox.calls()), "it called for a ledger that is not its own")
        run = self.repair("--partition", "0", "--offset", "4", "--yes")
        self.assertEqual(0, run.returncode, run.stderr)
        self.worker(sandbox, name="third")
        results = [r for r in self.results(9) if r["source"]["topic"] == topic]
        self.assertEqual([(4, "k6"), (5, "k7")], [(r["source"]["offset"], r["orderId"]) for r in results])
        self.assertEqual({f"/privacy-call-worker/{self.group}"}, {r["_headers"]["ce_source"] for r in results})
        self.assertEqual([caller(6), caller(7)], sandbox.calls()[called:])

    def test_no_room_for_a_worker_s_name(self):
        """The worker halts such a partition and names this command, which sees it, too, and mends it."""
        for number in range(11940):
            self.requests.send(b"x", f"k{number}", partition=1)
        end = len(self.requests.flush())
        body = "b" + "Zm" * 1990  # started and done, in turn
        metadata = f"pcw1:3::{zlib.crc32(f'pcw1:0:3::{body}'.encode()):08x}:{body}"
        self.offsets().commit(self.names["call.requests"], 1, 0, metadata)
        worker = self.worker(self.sandbox(), name="a-name")
        worker.wait_log(lambda e: e["log.level"] == "error" and "ledger repair" in e["message"] and "characters" in e["message"])
        self.assertEqual(0, worker.terminate())
        run = self.command("ledger", "--json", options={"instance.id": "a-name"})
        self.assertEqual(1, run.returncode, run.stdout)
        self.assertIn("a worker's name of 6 characters", json.loads(run.stdout)["jobs"][0]["partitions"][1]["reason"])
        wait_until(lambda: self.repair("--partition", "1", "--offset", str(end), "--yes").returncode == 0, 60, "it is repaired")
        self.assertFalse(self.ledger()[1]["halted"])

    def test_a_job_that_cannot_be_read_does_not_hide_the_other(self):
        run = self.command("ledger", "--json", options={"topic.recording.requests": "no-such-topic"})
        self.assertEqual(1, run.returncode)
        calls, recordings = json.loads(run.stdout)["jobs"]
        self.assertEqual([0, 1], [p["partition"] for p in calls["partitions"]])
        self.assertIn("no-such-topic", recordings["error"])
        self.assertIn("no-such-topic", run.stderr)

    def test_a_coordinator_that_moves(self):
        """A broker that has just become a group's coordinator, or ceased to be it, refuses for a moment: each command asks again."""
        not_coordinator, loading = 16, 14
        refuser = Refuser(self.bootstrap)
        self.addCleanup(refuser.close)
        self.requests.send(call(0), "k0", partition=0)
        self.requests.flush()
        repair = ("ledger", "repair", "--topic", self.names["call.requests"], "--partition", "0", "--yes")
        for kind, error, words in ((LIST_GROUPS, loading, ("ledger",)), (OFFSET_FETCH, not_coordinator, ("ledger",)),
                                   (OFFSET_FETCH, not_coordinator, ("redrive",)), (OFFSET_COMMIT, not_coordinator, repair)):
            if words == repair:
                self.offsets().commit(self.names["call.requests"], 0, 0, "no ledger")
            with self.subTest(kind=kind, words=words):
                refuser.refused, refuser.errors[kind] = 0, error
                command = subprocess.Popen(self.arguments(*words, options={"kafka.bootstrap.servers": refuser.address}),
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.addCleanup(command.kill)
                wait_until(lambda command=command: refuser.refused > 1 or command.poll() is not None, 30, "it asks again, or ends")
                refuser.errors.clear()
                out, said = command.communicate(timeout=60)
                self.assertEqual(0, command.returncode, out + said)
                self.assertGreater(refuser.refused, 0, "nothing was refused")

    def test_bad_usage(self):
        self.assertEqual(2, self.command("ledger", "repair").returncode)
        self.assertEqual(2, self.command("ledger", "--yes").returncode)
        self.assertEqual(2, self.command("ledger", "repair", "--topic", "x", "--partition").returncode)
        self.assertEqual(2, self.command("ledger", "repair", "--topic", "x", "--partition", "0").returncode)
        self.assertEqual(1, self.repair("--partition", "2").returncode)
        for wrong in ("-1", "x", "1.0", "99999999999"):
            self.assertEqual(2, self.repair("--partition", wrong).returncode, wrong)
            self.assertEqual(2, self.repair("--partition", "0", "--offset", wrong if wrong != "99999999999" else "9" * 20).returncode, wrong)


if __name__ == "__main__":
    main()
