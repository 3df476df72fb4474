#!/usr/bin/env python3
"""The worker as a service manager meets it (sd_notify(3)): this test is the manager, with a socket of its own. No broker answers.

usage: test_service.py WORKER
"""
import concurrent.futures
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
import unittest

from process import worker

WORKER = os.path.abspath(sys.argv.pop(1))
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # waitpid's __WALL: threads, too
WATCHDOG_S = 1.5
FROZEN_S = 10  # after so long /livez is 503


class Manager:
    """The socket, and what has come."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name[0] == "@" else name)

    def receive(self, seconds):
        """The next message's lines; None: none came."""
        self.socket.settimeout(max(seconds, 0.001))
        with contextlib.suppress(TimeoutError):
            return self.socket.recv(4096).decode().splitlines()
        return None

    def wait_for(self, word, seconds=30):
        """The message that has a line which begins with it."""
        deadline, seen = time.monotonic() + seconds, []
        while time.monotonic() < deadline:
            lines = self.receive(deadline - time.monotonic())
            if lines and any(line.startswith(word) for line in lines):
                return lines
            seen.append(lines)
        raise AssertionError(f"no {word} within {seconds} s, but {seen}")

    def until_silent(self, word, quiet, seconds):
        """All messages until that word has not come for so long."""
        deadline = last = time.monotonic()
        deadline += seconds
        messages = []
        while time.monotonic() - last < quiet:
            assert time.monotonic() < deadline, f"{word} came all the time"
            lines = self.receive(0.1)
            if lines:
                messages.append(lines)
                last = time.monotonic() if word in lines else last
        return messages


def thread_of(pid, name):
    """The thread's id; None: there is none of that name, yet."""
    for tid in map(int, os.listdir(f"/proc/{pid}/task")):
        with open(f"/proc/{pid}/task/{tid}/comm") as file:
            if file.read().strip() == name:
                return tid
    return None


@contextlib.contextmanager
def frozen(pid, thread):
    """One thread of the process stands still, the others go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    tid, deadline = None, time.monotonic() + 30
    while not tid:
        tid = thread_of(pid, thread)
        assert time.monotonic() < deadline, f"no thread {thread}"
        time.sleep(0.01)

    def trace(request):
        if libc.ptrace(request, tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    try:
        trace(PTRACE_SEIZE)
    except PermissionError as error:
        raise unittest.SkipTest("no process may be traced here") from error
    trace(PTRACE_INTERRUPT)
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        trace(PTRACE_DETACH)


class Service(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def manager(self, name=None):
        manager = Manager(name or f"{self.directory}/notify")
        self.addCleanup(manager.socket.close)
        return manager

    def worker(self, manager, settings=(), watchdog=True, **environment):
        environment = {"NOTIFY_SOCKET": manager if isinstance(manager, str) else manager.name,
                       **({"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))} if watchdog else {}), **environment}
        return worker(WORKER, settings, arguments=(), environment=environment)

    def test_from_start_to_stop(self):
        for name in (None, f"@privacy-call-test-{os.getpid()}"):
            with self.subTest(name):
                manager = self.manager(name)
                with self.worker(manager, {"drain.timeout.ms": 7000}) as process:
                    manager.wait_for("READY=1")
                    self.assertEqual(["STATUS=waiting for Kafka"], manager.wait_for("STATUS="))
                    for _ in range(3):
                        manager.wait_for("WATCHDOG=1", WATCHDOG_S)
                    process.signal(signal.SIGTERM)
                    self.assertEqual(["STOPPING=1", "EXTEND_TIMEOUT_USEC=17000000"], manager.wait_for("STOPPING=1", 5))
                    self.assertEqual(0, process.end(), process.text)
                manager.socket.close()

    def stand_still(self, thread):
        manager = self.manager(f"@privacy-call-test-{os.getpid()}-{thread}")
        with self.worker(manager, {"core.dumps": "true"}) as process:
            manager.wait_for("WATCHDOG=1")
            with frozen(process.pid, thread):
                messages = manager.until_silent("WATCHDOG=1", 2 * WATCHDOG_S, 3 * FROZEN_S)
            told = [lines for lines in messages if "does not turn" in lines[0]]
            self.assertEqual(1, len(told), messages)
            self.assertEqual(1, process.text.count("does not turn: /livez answers 503"), process.text)
            self.assertGreater(messages.count(["WATCHDOG=1"]), FROZEN_S / WATCHDOG_S, "not fed though it was no stand-still yet")
            manager.wait_for("WATCHDOG=1")
            process.signal(signal.SIGTERM)
            self.assertEqual(0, process.end(), process.text)

    def test_loops_that_stand_still(self):
        """Each of the loops: the watchdog is fed while all turn, and again when all do."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in [pool.submit(self.stand_still, thread) for thread in ("kafka-calls", "kafka-records", "calls")]:
                done.result()

    def test_files_read_again(self):
        manager = self.manager()
        token = f"{self.directory}/token"
        with open(token, "w") as file:
            file.write("the-s3cret")
        environment = {"PRIVACY_CALL_PLATFORM_TOKEN_FILE": token}
        with self.worker(manager, {"platform.token": None}, **environment) as process:
            manager.wait_for("READY=1")
            for _ in range(3):
                before = time.clock_gettime(time.CLOCK_MONOTONIC)
                process.signal(signal.SIGHUP)
                lines = manager.wait_for("RELOADING=1")
                at = int(lines[1].removeprefix("MONOTONIC_USEC=")) / 1e6
                self.assertTrue(before - 0.001 <= at <= time.clock_gettime(time.CLOCK_MONOTONIC), lines)
                manager.wait_for("READY=1", 5)
            self.assertEqual(3, process.text.count("reading secrets and certificates again"))

    def test_asked_again_while_files_are_read(self):
        """READY=1 ends the second reading, which alone has seen what was written before the second signal."""
        manager, ca = self.manager(), f"{self.directory}/ca.pem"
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", ca)
        with open(ca) as file:
            first = file.read().partition("-----END CERTIFICATE-----")
        certificate = first[0] + first[1] + "\n"

        def renew():
            os.mkfifo(f"{ca}.new")
            os.rename(f"{ca}.new", ca)

        def serve(pipe):
            """One reading, which opens the file twice: each time another pipe, so that each has its end."""
            pipe.write(certificate)
            renew()
            pipe.close()
            with open(ca, "w") as second:
                second.write(certificate)
                renew()

        with self.worker(manager, {"platform.ca.file": ca}) as process:
            manager.wait_for("READY=1")
            renew()
            unasked = open(ca, "w")  # waits until it is read
            process.signal(signal.SIGHUP)
            manager.wait_for("RELOADING=1")
            process.wait_for("(?s)reading secrets and certificates again")
            serve(unasked)
            one = open(ca, "w")
            process.signal(signal.SIGHUP)
            manager.wait_for("RELOADING=1")
            process.wait_for("(?s)(reading secrets and certificates again.*){2}")
            serve(one)
            other = open(ca, "w")
            self.assertNotIn("READY=1", sum(manager.until_silent("READY=1", 0.5, 5), []))
            serve(other)
            manager.wait_for("READY=1", 5)
            shutil.copy("/etc/ssl/certs/ca-certificates.crt", f"{ca}.new")
            os.rename(f"{ca}.new", ca)

    def test_each_bad_file_is_told(self):
        """At once, whichever other one was told of in the same minute; one that is good again ends no other's trouble."""
        manager = self.manager()
        names = {"platform.token.file": "token", "platform.ca.file": "ca", "kafka.sasl.password.file": "password"}
        paths = {key: f"{self.directory}/{name}" for key, name in names.items()}

        def put(key, text):
            with open(f"{paths[key]}.new", "w") as file:
                file.write(text)
            os.rename(f"{paths[key]}.new", paths[key])
        with open("/etc/ssl/certs/ca-certificates.crt") as file:
            good = {"platform.token.file": "the-s3cret", "platform.ca.file": file.read(), "kafka.sasl.password.file": "secret"}
        for key, text in good.items():
            put(key, text)
        settings = {"platform.token": None, **paths, "kafka.sasl.username": "u", "kafka.sasl.mechanism": "PLAIN",
                    "kafka.security.protocol": "SASL_PLAINTEXT"}
        with self.worker(manager, settings) as process:
            manager.wait_for("READY=1")
            for key in names:
                put(key, "")
                process.wait_for(f"cannot be used, and what was read before stays in force: .*{re.escape(key)}", 20)
            for times in (2, 3):  # who asks has the answer at once, however often
                process.signal(signal.SIGHUP)
                for key in names:
                    process.wait_for(f"(?s)(cannot be used, and what was read before stays in force: [^\n]*{re.escape(key)}.*){{{times}}}", 20)

    def test_another_process_watchdog(self):
        manager = self.manager()
        with self.worker(manager, WATCHDOG_PID="1"):
            manager.wait_for("READY=1")
            manager.wait_for("STATUS=")
            self.assertIsNone(manager.receive(2 * WATCHDOG_S))

    def test_manager_that_takes_nothing(self):
        """Its socket is full: the worker serves, and stops as asked."""
        manager = self.manager()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as filler:
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.sendto(b"X=1", manager.name)
            with self.worker(manager) as process:
                process.wait_for(r"http://127\.0\.0\.1:\d+/")
                process.signal(signal.SIGHUP, signal.SIGTERM)
                self.assertEqual(0, process.end(), process.text)

    def test_manager_that_reads_late(self):
        """Its socket is full when files are read again: it hears of it all the same, which it waits for."""
        manager = self.manager()
        with self.worker(manager, watchdog=False) as process:
            manager.wait_for("READY=1")
            manager.wait_for("STATUS=")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as filler:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        filler.sendto(b"X=1", manager.name)
            process.signal(signal.SIGHUP)
            process.wait_for("reading secrets and certificates again")
            manager.wait_for("RELOADING=1", 5)
            manager.wait_for("READY=1", 5)

    def test_no_manager(self):
        """Whatever the variable says: a worker, without a word or with one line."""
        for name, told in (("", False), (f"{self.directory}/nobody", False), ("relative", True), ("@", True), ("/" + "x" * 200, True),
                           ("vsock:2:9999", True)):
            with self.subTest(name), self.worker(name) as process:
                process.wait_for(r"http://127\.0\.0\.1:\d+/")
                process.signal(signal.SIGTERM)
                self.assertEqual(0, process.end(), process.text)
                self.assertEqual(told, "NOTIFY_SOCKET: " in process.text, process.text)


if __name__ == "__main__":
    unittest.main()
