#!/usr/bin/env python3
"""The running worker (and the sandbox) as far as it needs no broker: signals, its start, what it keeps to itself. The broker's
address is one where nobody listens.

usage: test_process.py WORKER SANDBOX
"""
import contextlib
import fcntl
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

from process import SETTINGS, Process, worker

WORKER, SANDBOX = os.path.abspath(sys.argv.pop(1)), os.path.abspath(sys.argv.pop(1))
IGNORED = (signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGXCPU, signal.SIGALRM,
           signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR, signal.SIGRTMIN, signal.SIGRTMAX)
NOBODY = 65534
for sanitizer in ("ASAN_OPTIONS", "TSAN_OPTIONS"):  # which limit core dumps themselves
    os.environ[sanitizer] = os.environ.get(sanitizer, "") + ":disable_coredump=0"


def opened_for_reading(path):
    """Waits until somebody reads the FIFO; a descriptor to write to it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.005)
    raise AssertionError("nobody reads it")


class Signals(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def test_what_must_not_end_it(self):
        with worker(WORKER) as process:
            process.wait_for(r"http://127\.0\.0\.1:\d+/")
            process.signal(*IGNORED, *IGNORED)
            process.signal(signal.SIGTERM)
            self.assertEqual(0, process.end(), process.text)
            self.assertIn("SIGTERM: stopping", process.text)

    def at_the_start(self, *numbers):
        """Signals while the configuration is being read; then the start goes on."""
        fifo = f"{self.directory}/worker.conf"
        os.mkfifo(fifo)
        process = worker(WORKER, arguments=("-c", fifo))
        file = opened_for_reading(fifo)
        process.signal(*numbers)
        os.write(file, b"log.level = info\n")
        os.close(file)
        return process

    def test_at_the_start(self):
        with self.at_the_start(*IGNORED) as process:
            process.wait_for(r"http://127\.0\.0\.1:\d+/")
            process.signal(signal.SIGINT)
            self.assertEqual(0, process.end(), process.text)

    def test_a_stop_at_the_start(self):
        with self.at_the_start(signal.SIGTERM) as process:
            self.assertEqual(0, process.end(), process.text)

    def test_sandbox(self):
        ca = f"{self.directory}/ca.pem"
        with Process([SANDBOX, "--kafka", "127.0.0.1:0", "--platform", "127.0.0.1:0", "--ca", ca]) as process:
            process.wait_for("platform https://")
            process.signal(signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)
            process.signal(signal.SIGTERM)
            self.assertEqual(0, process.end(), process.text)


class OpenFiles(unittest.TestCase):
    def test_too_few(self):
        """With any limit of open files it says that it cannot start, or it starts, answers and stops as asked."""
        statuses = set()
        for limit in (*range(8, 44, 6), *range(44, 100, 18)):
            with worker(WORKER, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))) as process:
                said = process.wait_for(r"http://127\.0\.0\.1:\d+/|cannot start|Too many open files|the process ends").group(0)
                if said.startswith("http"):
                    urllib.request.urlopen(f"{said}livez", timeout=10).close()
                process.signal(signal.SIGTERM)
                status = process.end()
                statuses.add(status)
                self.assertIn(status, (0, 1, 2), f"limit {limit}: {process.text}")
        self.assertIn(0, statuses)
        self.assertIn(1, statuses)

    def limit(self, soft, hard, **settings):
        """The limit that the running worker has, and what it wrote."""
        with worker(WORKER, settings={"platform.max.in.flight": "200", **settings},
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))) as process:
            address = process.wait_for(r"http://127\.0\.0\.1:\d+/").group(0)
            with urllib.request.urlopen(f"{address}metrics", timeout=10) as answer:
                limit = re.search(r"^process_max_fds (\d+)", answer.read().decode(), re.M).group(1)
            process.signal(signal.SIGTERM)
            process.end()
            return int(limit), process.text

    def test_the_soft_limit_is_raised(self):
        limit, text = self.limit(100, 400)
        self.assertEqual(400, limit)
        self.assertNotIn("open files", text)

    def test_fewer_than_the_calls_need(self):
        limit, text = self.limit(100, 150)
        self.assertEqual(150, limit)
        self.assertRegex(text, r"warn .*may have 150 open files, and platform\.max\.in\.flight = 200 needs about 328: at most 22 calls")

    def test_fewer_than_it_needs_itself(self):
        file = os.path.abspath(__file__)
        copied = {f"kafka.ssl.{name}.location": file for name in ("ca", "certificate", "key")}
        for settings, needed in ({}, 80), ({"topic.recording.requests": ""}, 56), (copied, 86):
            with worker(WORKER, settings=settings,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))) as process:
                process.wait_for(f"error cannot start: this process may have 48 open files, and needs at least {needed}: allow more")
                self.assertEqual(1, process.end())


class Log(unittest.TestCase):
    def test_nobody_reads_it(self):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        command = [WORKER]
        for key, value in {**SETTINGS, "log.level": "debug", "kafka.debug": "all"}.items():
            command += ["-o", f"{key}={value}"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=writer)
        self.addCleanup(process.kill)
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        seen = b""
        while not (address := re.search(rb"http://127\.0\.0\.1:(\d+)/", seen)):
            seen += os.read(reader, 4096)
        deadline = time.monotonic() + 30
        while select.select([], [writer], [], 0)[1]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        with urllib.request.urlopen(f"http://127.0.0.1:{int(address.group(1))}/livez", timeout=10) as answer:
            self.assertEqual(200, answer.status)
        process.terminate()
        self.assertEqual(0, process.wait(15))


    def test_closed_streams(self):
        """Nothing else gets their numbers: the log would be written into it."""
        def close_all():
            os.closerange(0, 3)
        command = [WORKER]
        for key, value in {**SETTINGS, "core.dumps": "true"}.items():  # else its files are root's to look at
            command += ["-o", f"{key}={value}"]
        process = subprocess.Popen(command, preexec_fn=close_all)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + 30
        while len(os.listdir(f"/proc/{process.pid}/fd")) < 10:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        for fd in range(3):
            self.assertEqual("/dev/null", os.readlink(f"/proc/{process.pid}/fd/{fd}"))


class Secrets(unittest.TestCase):
    def start(self, **more):
        """As an ordinary user, whose processes may look into each other."""
        directory = tempfile.mkdtemp(dir="/tmp")
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        program = shutil.copy(WORKER, directory)
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        unlimited = resource.getrlimit(resource.RLIMIT_CORE)[1]
        process = worker(program, cwd="/", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (unlimited, unlimited)),
                         **more, **user)
        self.addCleanup(process.__exit__)
        process.wait_for(r"http://127\.0\.0\.1:\d+/")
        with open(f"/proc/{process.pid}/limits") as limits:
            soft = re.search(r"Max core file size\s+(\S+)", limits.read()).group(1)
        return soft, os.stat(f"/proc/{process.pid}/environ").st_uid

    def test_no_dump_and_no_looking_in(self):
        soft, owner = self.start()
        self.assertEqual("0", soft)
        self.assertEqual(0, owner, "others of the same user may read its memory and environment")

    def test_where_dumps_are_wanted(self):
        soft, owner = self.start(settings={"core.dumps": "true"})
        self.assertNotEqual(0, owner)
        if resource.getrlimit(resource.RLIMIT_CORE)[1]:
            self.assertNotEqual("0", soft)


if __name__ == "__main__":
    unittest.main()
