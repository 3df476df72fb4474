"""The operator's command `redrive`: dead letters go back to their topics as they were, each once, whatever happens to the command."""
import collections
import contextlib
import os
import signal
import subprocess

from case import BUILD, KafkaCase, main, wait_until
from confluent_kafka.admin import AdminClient, NewPartitions
from records import QUIET, Requests, Topic, call, create_topics, delete_topic, ends, set_topic
from wall import Wall, wall_needed


class Redrive(KafkaCase):
    PARTITIONS = 2

    def arguments(self, *words, **options):
        settings = {"kafka.bootstrap.servers": self.bootstrap, "platform.url": "https://127.0.0.1:1", "platform.token": "t",
                    "platform.app.id": "a", "kafka.group.id": self.group,
                    **{f"topic.{role}": name for role, name in self.names.items()}, **options}
        command = [f"{BUILD}/privacy-call-worker", *words]
        for key, value in settings.items():
            command += ["-o", f"{key}={value}"]
        return command

    def command(self, *words, wait=True, environment=None, **options):
        command = self.arguments("redrive", *words, **options)
        if not wait:
            return self.keep_process(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **(environment or {})})

    def keep_process(self, process):
        def end():
            process.kill()
            process.communicate()
        self.addCleanup(end)
        return process

    def redriven(self, *words, **options):
        """How many the command says that it has redriven."""
        run = self.command(*words, **options)
        self.assertEqual(0, run.returncode, run.stdout + run.stderr)
        return int(run.stdout.split()[1])

    def letters(self, number, reason="invalid", code="bad", topic=None, **more):
        """Writes dead letters, as a worker does, with the numbers as values."""
        for n in number:
            headers = [("mine", b"\x00\xff"), ("dlq.reason", b"the request's own"), ("empty", None), ("dlq.reason", (reason(n) if callable(reason) else reason).encode()),
                       ("dlq.code", code.encode()), ("dlq.topic", (topic or self.names["call.requests"]).encode()),
                       ("dlq.partition", str(n % self.PARTITIONS).encode()), *more.get("headers", [])]
            self.requests.send(more.get("value", str(n).encode()), more.get("key", f"k{n}"), headers=headers,
                               topic=self.names["dead.letters"])
        self.requests.flush()

    def sent(self, count, settle=0.5):
        """What stands in the requests topic."""
        topic = Topic(self.bootstrap, self.names["call.requests"])
        self.addCleanup(topic.close)
        messages = topic.read(count, 30, settle)
        self.assertEqual(count, len(messages))
        return messages

    def test_a_worker_s_letters(self):
        """Byte for byte, to the partition that they came from, and once."""
        sandbox = self.sandbox()
        worker = self.worker(sandbox)
        self.requests.send(b'{"Caller": "x"}', "a", partition=1, headers=[("mine", b"1"), ("none", None)])
        self.requests.send(b"no JSON", None, partition=0)
        self.requests.send(call(1), "b", partition=0)
        self.requests.flush()
        self.dead_letters(2)
        self.results(2)
        self.assertEqual(0, worker.terminate())
        run = self.command("--dry-run")
        self.assertEqual((0, 3), (run.returncode, len(run.stdout.splitlines())), run.stdout + run.stderr)
        self.assertIn("would redrive 2", run.stdout)
        self.assertEqual(2, self.redriven())
        self.assertEqual(0, self.redriven())
        found = collections.Counter((m.partition(), m.key(), m.value(), tuple(m.headers() or [])) for m in self.sent(5))
        self.assertEqual({(1, b"a", b'{"Caller": "x"}', (("mine", b"1"), ("none", None))), (0, None, b"no JSON", ())},
                         {request for request, times in found.items() if times == 2})

    def test_nothing_steers_the_terminal(self):
        hostile = "\x1b[2J\x9b\u202e\u2028"
        self.letters([1], code=hostile, key=f"k{hostile}")
        run = self.command("--dry-run")
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertIn("\\u001b[2J\\u009b\\u202e\\u2028", run.stdout)
        self.assertNotRegex(run.stdout + run.stderr, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]")

    def test_progress(self):
        """On a terminal one line, from the start on and then a few times a second, which is gone at the end; the summary follows it."""
        self.letters(range(2000))
        ours, theirs = os.openpty()
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            command = subprocess.Popen(self.arguments("redrive"), stdout=theirs, stderr=theirs)
            self.addCleanup(command.kill)
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # how a terminal ends
                while more := terminal.read(4096):
                    shown += more
            self.assertEqual(0, command.wait(30))
        lines = shown.decode().split("\r\x1b[K")
        self.assertEqual(("", "redriven 2000\r\n"), (lines[0], lines[-1]))
        self.assertGreater(len(lines), 3)
        self.assertRegex(lines[1], f"^asking Kafka at {self.bootstrap} about topic ")
        for line in lines[2:-1]:
            self.assertRegex(line, r"^\d+ letters seen, \d+ chosen, \d+ redriven$")
        self.assertLess(len(lines), 60, "thousands of letters in seconds")
        self.assertEqual("", self.command().stderr, "no terminal, no progress")

    def test_choice(self):
        self.letters(range(4), code="one")
        self.letters(range(4, 7), code="two")
        self.letters([7], reason="late-outcome", code="late-outcome")
        self.letters([8], topic="another-topic")
        self.letters([9], headers=[("dlq.value.size", b"70000")])
        self.letters([10], key=None, value=b'{"orderId": "o-1", "Caller": "1"}')
        self.letters([11], key=None, headers=[("dlq.key.missing", b"")])
        self.assertEqual(2, self.redriven("--code", "one", "--limit", "2"))
        self.assertEqual(1, self.redriven("--order", "k5"))
        self.assertEqual(1, self.redriven("--order", "o-1"))
        self.assertEqual(0, self.redriven("--since", "2100-01-01T00:00:00Z"))
        self.assertEqual(2, self.redriven("--code=one", "--since", "2020-01-01T00:00:00Z"))
        self.assertEqual(3, self.redriven())
        self.assertEqual(0, self.redriven())
        messages = self.sent(9)
        self.assertEqual(sorted(["0", "1", "2", "3", "4", "5", "6", "11", '{"orderId": "o-1", "Caller": "1"}']),
                         sorted(m.value().decode() for m in messages))
        first = next(m for m in messages if m.value() == b"0")
        self.assertEqual([("mine", b"\x00\xff"), ("dlq.reason", b"the request's own"), ("empty", None)], first.headers())
        self.assertIsNone(next(m for m in messages if m.value() == b"11").key())

    def test_reason_that_no_worker_of_this_version_writes(self):
        """What such a letter means is not known, so it stays: its call may have been made."""
        self.letters(range(5), reason=lambda n: ["answered-late", "", "Invalid", "invalid ", "late-outcomes"][n])
        own = [("dlq.code", b"bad"), ("dlq.topic", self.names["call.requests"].encode()), ("dlq.partition", b"0")]
        for headers in ([], [("dlq.reason", None)], [("dlq.reason", b"invalid"), ("dlq.reason", None)], [("dlq.reason", b"invalid\0x")]):
            self.requests.send(b"{}", "k", headers=[*headers, *own], topic=self.names["dead.letters"])
        self.letters([9])
        for words in ("--dry-run",), ():
            run = self.command(*words)
            self.assertEqual(0, run.returncode, run.stderr)
            self.assertRegex(run.stdout, "(?m)redriv(e|en) 1$")
            self.assertIn("left 9: of another reason than invalid", run.stdout)
        self.assertEqual(b"9", self.sent(1)[0].value())

    def test_letters_that_never_go_take_no_room_in_the_note(self):
        count = 13000  # so many that alternate are more than a note holds
        self.letters(range(count), reason=lambda n: "late-outcome" if n % 2 else "invalid", key="k", value=b"{}")
        self.assertEqual(count // 2, self.redriven())
        self.assertEqual(0, self.redriven())

    def test_refused(self):
        for words in (["--reason", "late-outcome"], ["--reason", "record-gone"], ["--reason", "x"], ["--since", "yesterday"],
                      ["--limit", "0"], ["--limit"], ["--yes"], ["surplus"]):
            self.assertEqual(2, self.command(*words).returncode, words)

    def fails(self, words, *choice, **more):
        """Nothing is redriven, and the command names the cause and what to do."""
        run = self.command(*choice, **more)
        self.assertEqual((1, "redriven 0"), (run.returncode, run.stdout.partition("\n")[0]), run.stderr)
        self.assertIn(words, run.stderr)
        return run.stderr

    def test_request_without_a_key_where_one_is_demanded(self):
        calls = self.names["call.requests"]
        self.letters([0])
        self.letters([1], key=None)
        set_topic(self.bootstrap, calls, cleanup_policy="compact")
        said = self.fails("the topic demands keys (cleanup.policy=compact)")
        self.assertIn(calls, said)
        self.assertIn("the request of the letter at partition 0, offset 1 is refused", said)
        set_topic(self.bootstrap, calls, cleanup_policy="delete")
        self.assertEqual(2, self.redriven())

    def test_requests_that_are_too_large_together(self):
        """Each fits, so each goes; one that does not fit is named."""
        calls = self.names["call.requests"]
        set_topic(self.bootstrap, calls, max_message_bytes=1000)
        self.letters(range(200), value=b"x" * 500)
        self.assertEqual(200, self.redriven())
        self.letters([200, 201], value=b"x" * 500)
        self.letters([202], value=b"x" * 1500)
        self.letters(range(203, 403), value=b"x" * 500)
        said = self.fails("max.message.bytes")
        self.assertIn("the request of the letter at partition 0, offset 202 is refused", said)
        set_topic(self.bootstrap, calls, max_message_bytes=2000)
        self.assertEqual(203, self.redriven())

    # Letters that come one by one, which takes longer than a refusal.
    ONE_BY_ONE = {"kafka.consumer.max.partition.fetch.bytes": "1000", "kafka.consumer.queued.min.messages": "1"}

    def one_that_is_refused(self, **others):
        """The first of ten letters, which are a worker's: written in a transaction."""
        set_topic(self.bootstrap, self.names["call.requests"], max_message_bytes=50000)
        self.requests = Requests(self.bootstrap, self.names["dead.letters"], **{"transactional.id": f"{self.prefix}.letters",
                                                                               "batch.num.messages": 1})
        self.requests.producer.init_transactions(30)
        self.requests.producer.begin_transaction()
        self.letters([0], value=b"x" * 60000)
        self.letters(range(1, 10), value=b"x" * 40000, **others)
        self.requests.producer.commit_transaction(30)

    def refusal_is_told(self, *words):
        said = self.fails("max.message.bytes", *words, **self.ONE_BY_ONE)
        self.assertIn("the request of the letter at partition 0, offset 0 is refused", said)
        self.assertNotIn("Erroneous state", said)
        set_topic(self.bootstrap, self.names["call.requests"], max_message_bytes=100000)

    def test_refusal_that_is_known_before_the_end_is(self):
        self.one_that_is_refused(code="other")
        self.refusal_is_told("--code", "bad")
        self.assertEqual(10, self.redriven())

    def test_refusal_that_is_known_before_the_next_letter_is(self):
        """Not the letter is named that can no longer be written."""
        self.one_that_is_refused()
        self.refusal_is_told()
        self.assertEqual(10, self.redriven())

    def test_transactions_that_end_over_a_slow_line(self):
        """Each request is a batch of its own, of which few are under way: a transaction has so few that it ends in time where a write
        takes 300 ms."""
        count = 500
        self.letters(range(count))
        self.assertEqual(count, self.redriven())
        ends_now = ends(self.bootstrap, self.names["call.requests"])
        self.assertGreaterEqual(sum(ends_now.values()) - count, self.PARTITIONS * count // 100, "a marker for each transaction and partition")

    def test_topic_that_is_not_as_it_was(self):
        """It is gone, or has fewer partitions: that is told at once, and when it is mended the letters go."""
        calls = self.names["call.requests"]
        self.letters([0, 1])
        delete_topic(self.bootstrap, calls)
        self.assertIn(f"topic {calls}, to which the letter at partition 0, offset 0 goes,", self.fails("does not exist: create it"))
        create_topics(self.bootstrap, {calls: 1})
        said = self.fails("add partitions")
        self.assertIn(f"the letter at partition 0, offset 1 goes to partition 1 of topic {calls}, which has 1 partitions now", said)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        admin.create_partitions([NewPartitions(calls, 2)])[calls].result(30)
        wait_until(lambda: self.command().returncode == 0, 30, "the brokers know the new partition")
        self.sent(2)

    @wall_needed
    def test_clock_ahead_of_the_brokers(self):
        self.letters([1])
        clock = Wall(self.directory)
        clock.set_ahead(2 * 3600 * 1000)
        self.fails("set the clocks right", environment=clock.environment)
        self.assertEqual(1, self.redriven())

    def test_batch_that_cannot_be_read(self):
        """It is told at once, and what to do; with a higher limit the letters go."""
        limits = {"kafka.receive.message.max.bytes": "4000000", "kafka.fetch.max.bytes": "3000000", "kafka.message.max.bytes": "2097152"}
        self.requests = Requests(self.bootstrap, self.names["dead.letters"], **{
            "compression.type": "zstd", "linger.ms": 1000, "batch.size": 30000000, "message.max.bytes": 30000000})
        self.letters(range(200), value=b"x" * 60000)
        said = self.fails("set that higher", **limits)
        self.assertIn(f"topic {self.names['dead.letters']}, partition 0 (group {self.group}-redrive): what stands at offset 0", said)
        self.assertIn("kafka.receive.message.max.bytes", said)
        self.assertEqual(200, self.redriven(**{"kafka.receive.message.max.bytes": "100000000"}))

    def late_commit(self, how):
        """The answer to the commit of the first 100 letters comes too late. What is told as redriven is, and the rest goes later."""
        count = 400
        self.letters(range(count))
        run = self.command(environment={"LD_PRELOAD": f"{BUILD}/tests/unheard.so", "COMMIT": how})
        self.assertEqual(1, run.returncode, run.stdout + run.stderr)
        told = int(run.stdout.split()[1])
        self.assertIn(told, {"landed": [100], "lost": [0], "late": [0, 100]}[how], run.stderr)
        self.requests.send(str(count).encode(), "another", partition=0)
        self.requests.flush()
        self.sent(told + 1)  # which an open transaction would hold back
        self.assertEqual(count - told, self.redriven())
        values = sorted(int(m.value()) for m in self.sent(count + 1, settle=2))
        self.assertEqual(list(range(count + 1)), values)

    def test_commit_that_lands_unheard(self):
        self.late_commit("landed")

    def test_commit_that_never_arrives(self):
        self.late_commit("lost")

    def test_commit_under_way(self):
        self.late_commit("late")

    def test_killed_again_and_again(self):
        count = 6000
        self.letters(range(count))
        kills = 0
        while True:
            process = self.command("--limit", "2000", wait=False)
            try:
                self.assertEqual(0, process.wait(0.3 + 0.15 * kills), process.stderr.read())
                out = process.stdout.read()
                if out.split()[1] == "0":
                    break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        self.assertGreater(kills, 0)
        values = sorted(int(m.value()) for m in self.sent(count, settle=2))
        self.assertEqual(list(range(count)), values)

    def test_two_at_once(self):
        count = 4000
        self.letters(range(count))
        processes = [self.command(wait=False), self.command(wait=False)]
        for process in processes:
            process.wait(60)
        self.assertIn(0, [p.returncode for p in processes], [p.stderr.read() for p in processes])
        self.redriven()
        values = sorted(int(m.value()) for m in self.sent(count, settle=2))
        self.assertEqual(list(range(count)), values)


if __name__ == "__main__":
    main()
