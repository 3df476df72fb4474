#!/usr/bin/python3
"""Measures the worker against peers: events a second, CPU an event, memory, and how long a requester waits. See README.md here.

usage: bench.py BUILD_DIRECTORY [--peers worker,floor,...] [--cells 10x64,...] [--paced RATE] [--kill] [--seconds S]
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
# A broker that is no bottleneck: more memory and the full compiler, unlike the one of the tests.
os.environ.setdefault("KAFKA_JVM", "-Xms512m -Xmx512m -XX:+UseG1GC")
import kafka as kafka_module  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
CELLS = "50x256,10x256,100x256,10x64,50x64,100x64,10x1000,50x1000,100x1000"
ID_MEMBER = {"worker": "requestId"}  # where the result carries the request's id; Caller with the peers
LIMIT_SECONDS = 100


class Peers:
    """What is compared, each a command and an environment."""

    def __init__(self, build, out):
        self.build, self.out = build, out
        java = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx1g", "-cp", f"{out}/classes:{out}/jars/*", "bench.Peer"]
        self.commands = {
            "worker": self.worker,
            "floor": lambda e: ([f"{out}/floor"], {}),
            "pc-vertx": lambda e: (java, {"MODE": "vertx", "ORDER": "KEY"}),
            "pc-core": lambda e: (java, {"MODE": "core", "ORDER": "KEY"}),
            "pc-tx": lambda e: (java, {"MODE": "core-tx", "ORDER": "KEY", "TXID": f"pc-{e['INSTANCE']}"}),
        }

    def worker(self, e):
        settings = {
            "kafka.bootstrap.servers": e["BROKERS"], "kafka.group.id": e["GROUP"], "instance.id": e["INSTANCE"],
            "topic.call.requests": e["IN"], "topic.call.results": e["OUT"], "topic.recording.requests": "",
            "topic.dead.letters": "dead-letters", "platform.url": f"https://{e['HTTP_HOST']}:{e['HTTP_PORT']}",
            "platform.ca.file": e["CA"], "platform.token": "akwiKeKEKG01kfas63910IRJL6ask38fKF6",
            "platform.app.id": "774e5e14a0874r725bfb90351f1e84f677", "platform.max.in.flight": e["INFLIGHT"],
            "kafka.session.timeout.ms": "10000", "kafka.heartbeat.interval.ms": "1000", "call.max.age.ms": "0", "http.listen": "",
            "log.level": "warn", "log.format": "json"}
        command = [f"{self.build}/privacy-call-worker"]
        for key, value in settings.items():
            command += ["-o", f"{key}={value}"]
        return command, {}

    def make(self, names):
        run = lambda *command, **more: subprocess.run(command, check=True, **more)  # noqa: E731
        for part in ("stub", "load"):
            run("go", "build", "-o", f"{self.out}/{part}", ".", cwd=f"{HERE}/{part}")
        if not os.path.exists(f"{self.out}/cert.pem"):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-keyout", f"{self.out}/key.pem", "-out", f"{self.out}/cert.pem", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", stderr=subprocess.DEVNULL)
        if "floor" in names:
            run("cc", "-O2", "-D_GNU_SOURCE", f"{HERE}/peers/floor/floor.c", "-o", f"{self.out}/floor", "-lcurl", "-lrdkafka", "-lcrypto")
        if any(name.startswith("pc-") for name in names) and not os.path.isdir(f"{self.out}/jars"):
            run("mvn", "-q", "-B", "-Dstyle.color=never", "-f", f"{HERE}/peers/parallel-consumer/pom.xml", "compile", "dependency:copy-dependencies",
                f"-DoutputDirectory={self.out}/jars", f"-Dbench.classes={self.out}/classes")


def processor_seconds(group):
    """CPU time of a process group, its dead children included."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == group:
                total += sum(int(f) for f in fields[11:15])
    return total / TICK


def peak_mib(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return 0


class Bench:
    def __init__(self, arguments, out, kafka):
        self.arguments, self.out, self.kafka = arguments, out, kafka
        self.peers = Peers(arguments.build, out)
        self.http, self.stats = kafka_module.free_ports(2)
        self.started = []

    def start(self, command, log, environment=None):
        with open(f"{self.out}/{log}.log", "ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **(environment or {})},
                                       start_new_session=True,
                                       preexec_fn=kafka_module.end_with_parent)
        self.started.append(process)
        return process

    def stop(self, process, number=signal.SIGTERM, seconds=20):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self):
        for process in self.started:
            self.stop(process, signal.SIGKILL)

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stats}/{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def load(self, verb, *arguments):
        command = [f"{self.out}/load", verb, "-b", self.kafka.bootstrap, *map(str, arguments)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out) if out else None

    def stub(self, latency):
        process = self.start([f"{self.out}/stub", "-latency", f"{latency}ms", "-addr", f"127.0.0.1:{self.http}", "-stats",
                              f"127.0.0.1:{self.stats}", "-cert", f"{self.out}/cert.pem", "-key", f"{self.out}/key.pem"], "stub")
        for _ in range(100):
            try:
                self.ask("unique")
                return process
            except OSError:
                time.sleep(0.05)
        raise SystemExit("the stub did not start")

    def peer(self, name, in_flight, group, instance="a"):
        environment = {"BROKERS": self.kafka.bootstrap, "IN": "call-requests", "OUT": "call-results", "GROUP": group,
                       "INFLIGHT": str(in_flight), "INSTANCE": instance, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.http),
                       "CA": f"{self.out}/cert.pem"}
        command, more = self.peers.commands[name](environment)
        return self.start(command, name, {**environment, **more})

    def wait_posts(self, process, count, since):
        """Waits until the stub has had so many requests. Yields (requests so far, time) on the way."""
        while True:
            posts = self.ask("unique")
            yield posts, time.time()
            if posts >= count:
                return
            if process.poll() is not None:
                raise RuntimeError(f"it ended with {process.returncode}")
            if time.time() - since > LIMIT_SECONDS:
                raise RuntimeError("out of time")
            time.sleep(0.05)

    def verify(self, name, count, *more):
        return self.load("verify", "-n", count, "-timeout", "15s", "-max", "60s", "-id", ID_MEMBER.get(name, "Caller"), *more)

    def row(self, name, latency, in_flight, count, **figures):
        verified = figures.pop("verified")
        stats = self.ask("stats")
        wrong = {what: n for what, n in (
            ("called twice", stats["dup_posts"]), ("out of order", stats["order_violations"]), ("side by side", stats["overlaps"]),
            ("no result", verified["missing"]), ("two results", verified["dups"]), ("bad", stats["bad"] + verified["bad"])) if n}
        return dict(peer=name, latency_ms=latency, in_flight=in_flight, events=count, **figures,
                    p50_ms=verified["latency_ms_p50"], p99_ms=verified["latency_ms_p99"], wrong=wrong)

    def backlog(self, name, latency, in_flight, count):
        """A full topic, as fast as it goes. Rate and CPU between 30 and 90 % of the events: without start and tail."""
        stub = self.stub(latency)
        self.load("topics")
        self.load("fill", "-n", count, "-v", 1000)
        began, marks = time.time(), {}
        process = self.peer(name, in_flight, f"{name}-{int(began)}")
        for posts, now in self.wait_posts(process, count, began):
            for share in (0.3, 0.9):
                if posts >= share * count and share not in marks:
                    marks[share] = (posts, now, processor_seconds(process.pid))
        time.sleep(latency / 1000 + 0.2)
        peak = peak_mib(process.pid)
        verified = self.verify(name, count)
        (p0, t0, c0), (p1, t1, c1) = marks[0.3], marks[0.9]
        row = self.row(name, latency, in_flight, count, events_s=round((p1 - p0) / max(t1 - t0, 0.001)),
                       cpu_us=round((c1 - c0) / max(p1 - p0, 1) * 1e6, 1), peak_mib=round(peak), verified=verified)
        row["p50_ms"] = row["p99_ms"] = None  # the wait in a backlog says nothing
        self.stop(process)
        self.stop(stub)
        return row

    def paced(self, name, latency, in_flight, rate, seconds=10):
        """Requests at a steady rate to a worker that waits for them: what a requester waits for its result."""
        count = rate * seconds
        stub = self.stub(latency)
        self.load("topics")
        began = time.time()
        process = self.peer(name, in_flight, f"{name}-{int(began)}")
        self.load("fill", "-n", 200)  # warms up; its results are not counted
        for _ in self.wait_posts(process, 200, began):
            pass
        time.sleep(2)
        c0 = processor_seconds(process.pid)
        self.load("fill", "-n", count, "-v", 1000, "-rate", rate, "-first", 200)
        for _ in self.wait_posts(process, count + 200, time.time()):
            pass
        cpu = processor_seconds(process.pid) - c0
        time.sleep(latency / 1000 + 0.5)
        peak = peak_mib(process.pid)
        verified = self.verify(name, count + 200, "-skip", 200)
        row = self.row(name, latency, in_flight, count, events_s=rate, cpu_us=round(cpu / count * 1e6, 1), peak_mib=round(peak),
                       verified=verified)
        self.stop(process)
        self.stop(stub)
        return row

    def killed(self, name, latency=50, in_flight=256, count=20000):
        """kill -9 half way and a restart: how much is called a second time."""
        stub = self.stub(latency)
        self.load("topics")
        self.load("fill", "-n", count, "-v", 1000)
        began, group = time.time(), f"{name}-k{int(time.time())}"
        process = self.peer(name, in_flight, group)
        for _ in self.wait_posts(process, count // 2, began):
            pass
        self.stop(process, signal.SIGKILL)
        process = self.peer(name, in_flight, group)
        verified = self.verify(name, count)
        peak = peak_mib(process.pid)
        row = self.row(name, latency, in_flight, count, events_s=None, cpu_us=None, peak_mib=round(peak), verified=verified)
        row["p50_ms"] = row["p99_ms"] = None
        self.stop(process)
        self.stop(stub)
        return row


def show(row):
    cell = lambda value: "-" if value is None else value  # noqa: E731
    wrong = ", ".join(f"{what}: {n}" for what, n in row["wrong"].items()) or "nothing"
    print(f"{row['peer']:<10}{row['latency_ms']:>6}{row['in_flight']:>9}{row['events']:>9}{cell(row['events_s']):>9}{cell(row['cpu_us']):>9}"
          f"{row['peak_mib']:>7}{cell(row['p50_ms']):>8}{cell(row['p99_ms']):>8}  {wrong}", flush=True)


HEAD = (f"{'peer':<10}{'ms':>6}{'at once':>9}{'events':>9}{'/s':>9}{'us CPU':>9}{'MiB':>7}{'p50 ms':>8}{'p99 ms':>8}  wrong\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--peers", default="worker", help="worker, floor, pc-vertx, pc-core, pc-tx")
    parser.add_argument("--cells", default=CELLS, help="LATENCYxINFLIGHT,...")
    parser.add_argument("--seconds", type=float, default=6, help="of work a cell, at most 80,000 events")
    parser.add_argument("--paced", default="500", help="requests a second of the waiting-time cells (50 ms, 256); 0: none")
    parser.add_argument("--kill", action="store_true", help="also kill -9 half way")
    arguments = parser.parse_args()
    out = os.path.join(os.path.abspath(arguments.build), "bench")
    arguments.build = os.path.abspath(arguments.build)
    os.makedirs(out, exist_ok=True)
    names = arguments.peers.split(",")
    Peers(arguments.build, out).make(names)
    with kafka_module.Kafka(f"{out}/kafka") as kafka:
        bench = Bench(arguments, out, kafka)
        runs = []
        for cell in filter(None, arguments.cells.split(",")):
            latency, in_flight = map(int, cell.split("x"))
            count = int(min(80000, max(6000, min(in_flight / latency * 1000, 12000) * arguments.seconds)))
            runs += [(bench.backlog, name, latency, in_flight, count) for name in names]
        for rate in filter(None, map(int, arguments.paced.split(","))):
            runs += [(bench.paced, name, 50, 256, rate) for name in names]
        if arguments.kill:
            runs += [(bench.killed, name) for name in names]
        print(HEAD, end="")
        try:
            for run, *rest in runs:
                try:
                    row = run(*rest)
                except RuntimeError as why:
                    print(f"{rest[0]:<10} {rest[1:]}: {why}; see {out}/{rest[0]}.log", flush=True)
                    bench.stop_all()
                    continue
                show(row)
                with open(f"{out}/results.jsonl", "a") as file:
                    file.write(json.dumps(row) + "\n")
        finally:
            bench.stop_all()


if __name__ == "__main__":
    main()
