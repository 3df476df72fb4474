"""The sandbox and the worker as processes that a test starts, watches and ends.

Nothing sleeps here: what a program says is awaited line by line, what it does is awaited by wait_until().
"""
import itertools
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

from kafka import end_with_parent

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD_DIR", f"{ROOT}/build")
TOKEN = "akwiKeKEKG01kfas63910IRJL6ask38fKF6"
APP_ID = "774e5e14a0874r725bfb90351f1e84f677"


def wait_until(condition, seconds=30, what=None):
    """Returns the condition's first true value; fails after so many seconds. The condition costs little."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise AssertionError(f"not within {seconds} s: {what or condition.__doc__ or condition}")
        time.sleep(0.02)


def peak_memory(process):
    """The most that was resident at any time, in bytes."""
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024


def whole_lines(file):
    """The lines of a file that is being written. The last one may not be whole yet, and what follows it is no line of its own."""
    return itertools.takewhile(lambda line: line.endswith(b"\n"), file)


class Program:
    """A process whose standard error and output are kept in files and read line by line."""

    def __init__(self, command, directory, name, environment=None):
        self.name = name
        self.lines = {"stdout": [], "stderr": []}
        self.changed = threading.Condition()
        env = {k: v for k, v in os.environ.items() if not k.startswith("PRIVACY_CALL_")}
        env.update(environment or {})
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                                        cwd=directory, preexec_fn=end_with_parent)
        self.pid = self.process.pid
        self.threads = [threading.Thread(target=self._read, args=(s, f"{directory}/{name}.{s}"), daemon=True) for s in self.lines]
        for thread in self.threads:
            thread.start()

    def _read(self, stream, path):
        with open(path, "ab") as copy:
            for raw in getattr(self.process, stream):
                copy.write(raw)
                copy.flush()
                with self.changed:
                    self.lines[stream].append(raw.decode(errors="replace").rstrip("\n"))
                    self.changed.notify_all()

    def wait_line(self, stream, match, seconds=30, after=0):
        """The first line from number `after` on for which match(line) is true: what match returned."""
        deadline = time.monotonic() + seconds
        with self.changed:
            at = after
            while True:
                for at in range(at, len(self.lines[stream])):
                    found = match(self.lines[stream][at])
                    if found:
                        return found
                at = len(self.lines[stream])
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not any(t.is_alive() for t in self.threads)):
                    raise AssertionError(f"{self.name} did not say it (status {self.process.poll()}); its last lines:\n"
                                         + "\n".join(self.lines["stderr"][-15:]))
                self.changed.wait(min(left, 0.2))

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=40):
        """Waits for the end; the exit status (negative: the signal that ended it)."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds} s; its last lines:\n"
                                 + "\n".join(self.lines["stderr"][-15:])) from None
        for thread in self.threads:
            thread.join(10)
        return status

    def terminate(self, seconds=40):
        """SIGTERM and the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """kill -9."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def close(self):
        if self.alive():
            self.signal(signal.SIGCONT)
            self.kill()
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()


class Sandbox(Program):
    """The simulated platform (and, on request, the embedded broker)."""

    def __init__(self, directory, faults=(), kafka=False, address="127.0.0.1:0", name="sandbox", options=()):
        self.record = f"{directory}/{name}.posts"
        self.ca = f"{directory}/{name}.ca.pem"
        command = [f"{BUILD}/privacy-call-sandbox", "--platform", address, "--log", self.record,
                   "--ca", self.ca, *options]
        command += ["--kafka", "127.0.0.1:0"] if kafka else ["--no-kafka"]
        for fault in faults:
            command += ["--fault", fault]
        super().__init__(command, directory, name)
        if kafka:
            self.bootstrap = self.wait_line("stdout", lambda line: re.match(r"kafka (\S+:\d+)$", line)).group(1)
        self.url, self.ca = self.wait_line("stdout", lambda line: re.match(r"platform (https://\S+) (\S+)$", line)).groups()
        self.posts_seen, self.posts_read = [], 0
        context = ssl.create_default_context(cafile=self.ca)
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))

    def posts(self):
        """Every POST that arrived, in the order of arrival: dicts with time, Caller, Callee, CallIdentifier, endpoint, fault.
        And every GET of a recording's file, whose endpoint is "file"."""
        if os.path.exists(self.record):
            with open(self.record, "rb") as file:
                file.seek(self.posts_read)
                for line in whole_lines(file):
                    self.posts_seen.append(json.loads(line))
                    self.posts_read += len(line)
        return self.posts_seen

    def calls(self):
        """The Caller of each call that arrived, in the order of arrival."""
        return [post["Caller"] for post in self.posts() if post["endpoint"] == "call"]

    def wait_calls(self, count, seconds=60):
        wait_until(lambda: len(self.calls()) >= count, seconds, lambda: f"{count} calls (there are {len(self.calls())})")
        return self.calls()

    def add_fault(self, spec):
        self._ask("PATCH", "/sandbox/faults", spec.encode())

    def lift_faults(self):
        self.signal(signal.SIGUSR1)  # works when connections are refused, too

    def stats(self):
        return json.loads(self._ask("GET", "/sandbox/stats"))

    def _ask(self, method, path, data=None):
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with self.opener.open(request, timeout=10) as answer:
            return answer.read()


class Worker(Program):
    """The worker, started as a user starts it: the configuration file that is shipped, and options."""

    COUNT = 0

    def __init__(self, directory, bootstrap, url, ca, options=None, name=None, environment=None, arguments=(), launcher=()):
        Worker.COUNT += 1
        settings = {"kafka.bootstrap.servers": bootstrap, "platform.url": url, "platform.ca.file": ca, "platform.token": TOKEN,
                    "platform.app.id": APP_ID, "instance.id": name or f"worker-{Worker.COUNT}",
                    "log.format": "json", "log.level": "debug", "http.listen": "127.0.0.1:0", "kafka.session.timeout.ms": "6000",
                    "kafka.heartbeat.interval.ms": "1000",
                    "recording.url.allow.private": "true",  # the sandbox is on this machine
                    "platform.connect.timeout.ms": "10000"}  # a busy machine is slow at TLS, too, which is nobody's trouble here
        settings.update(options or {})
        command = [*launcher, f"{BUILD}/privacy-call-worker", *arguments, "-c", f"{ROOT}/config/privacy-call-worker.conf"]
        for key, value in settings.items():
            if value is not None:
                command += ["-o", f"{key}={value}"]
        super().__init__(command, directory, name or f"worker-{Worker.COUNT}", environment)

    def events(self):
        """What it has logged: a list of dicts. A line that is no JSON object is a failure."""
        events = []
        for line in list(self.lines["stderr"]):
            event = json.loads(line)
            assert isinstance(event, dict), line
            events.append(event)
        return events

    def wait_log(self, match, seconds=30, after=0):
        """The first log event from number `after` on for which match(event) is true; match may be a regular expression for
        the message."""
        if isinstance(match, str):
            pattern = re.compile(match, re.IGNORECASE)
            matches = lambda event: pattern.search(event.get("message", ""))  # noqa: E731
        else:
            matches = match

        def read(line):
            try:
                event = json.loads(line)
            except ValueError:
                return None
            return event if matches(event) else None
        return self.wait_line("stderr", read, seconds, after)

    def logged(self):
        """How many log events there are, for wait_log(after=)."""
        return len(self.lines["stderr"])

    def address(self):
        """Where it serves its pages: http://127.0.0.1:PORT."""
        message = self.wait_log(r"http://127\.0\.0\.1:\d+/")["message"]
        return re.search(r"http://127\.0\.0\.1:\d+", message).group()

    def get(self, path):
        """(status, text) of a page of its own."""
        address = self.address()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        """What /status says."""
        return json.loads(self.get("/status")[1])

    def wait_assigned(self, seconds=40, after=0):
        """Waits until it has partitions (or, where there are more members than partitions, none of them)."""
        self.wait_log("^assigned: ", seconds, after)
        return self
