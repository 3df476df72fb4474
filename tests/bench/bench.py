#!/usr/bin/python3
"""Measures the worker beside others: requests a second, CPU a request, memory, and how long a requester waits. See README.md here.

usage: bench.py BUILD_DIRECTORY [--all] [--list] [--tables latency,steady,...] [--peers worker,floor,...] [--pairs N] ...
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "support")]
# A broker that is no bottleneck: more memory and the full compiler, unlike the one of the tests.
os.environ.setdefault("KAFKA_JVM", "-Xms512m -Xmx512m -XX:+UseG1GC")
import kafka as kafka_module  # noqa: E402
import cells as cells_module  # noqa: E402
import machine  # noqa: E402
import page  # noqa: E402
import peers as peers_module  # noqa: E402

LIMIT_SECONDS = 100
WARM_UP = 200  # requests before a steady rate; not counted
METRICS = {"transactions": "privacy_call_transactions_total", "transaction_s": "privacy_call_transaction_duration_seconds_sum",
           "transaction_n": "privacy_call_transaction_duration_seconds_count"}


class Bench:
    """One cluster and what runs on it."""

    def __init__(self, peers, out, kafka, seconds):
        self.peers, self.out, self.kafka, self.seconds = peers, out, kafka, seconds
        self.http, self.stats, self.metrics = kafka_module.free_ports(3)
        self.started = []
        self.serial = 0  # of the run: each has topics of its own
        self.warmed = False

    def topic(self, what):
        return f"{what}-{self.serial}"

    def start(self, command, log, environment=None):
        with open(f"{self.out}/{log}.log", "ab") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **(environment or {})},
                                       start_new_session=True, preexec_fn=kafka_module.end_with_parent)
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
        self.started = [other for other in self.started if other is not process]

    def stop_all(self):
        for process in list(self.started):
            self.stop(process, signal.SIGKILL)

    def mark(self, posts=0):
        return machine.Mark([process.pid for process in self.started] + list(self.kafka.pids.values()), posts)

    def ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stats}/{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def counts(self, name):
        """The worker's own count of its transactions; others tell nothing."""
        if name != "worker":
            return None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {key: sum(map(float, re.findall(rf"^{metric}(?:{{.*?}})? (\S+)$", text, re.M))) for key, metric in METRICS.items()}

    def load(self, verb, *arguments):
        command = [f"{self.out}/load", verb, "-b", self.kafka.bootstrap, "-in", self.topic("requests"), "-out", self.topic("results"),
                   "-dead", self.topic("dead"), *map(str, arguments)]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out) if out else None

    def fill(self, cell, count, *more):
        return self.load("fill", "-n", count, "-v", cell.flat, "-orders", cell.keys, "-size", cell.size, *more)

    def stub(self, cell):
        command = [f"{self.out}/stub", "-latency", f"{cell.latency}ms", "-addr", f"127.0.0.1:{self.http}", "-stats",
                   f"127.0.0.1:{self.stats}", "-cert", f"{self.out}/cert.pem", "-key", f"{self.out}/key.pem"]
        process = self.start(command + ([] if cell.tls else ["-plain"]), "stub")
        for _ in range(100):
            try:
                self.ask("unique")
                return process
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the stub did not start")

    def peer(self, name, cell, group, instance="a"):
        environment = {"BROKERS": self.kafka.bootstrap, "IN": self.topic("requests"), "OUT": self.topic("results"),
                       "DEAD": self.topic("dead"), "GROUP": group,
                       "INFLIGHT": str(cell.in_flight), "INSTANCE": instance, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.http),
                       "SCHEME": "https" if cell.tls else "http", "CA": f"{self.out}/cert.pem", "METRICS_PORT": str(self.metrics)}
        command, more = self.peers.commands[name](environment)
        return self.start(command, name, {**environment, **more})

    def wait_posts(self, process, count, since=None):
        """Waits until the stub has had so many requests. Yields how many so far on the way."""
        since = since or time.time()
        while True:
            posts = self.ask("unique")
            yield posts
            if posts >= count:
                return
            if process.poll() is not None:
                raise RuntimeError(f"it ended with {process.returncode}")
            if time.time() - since > LIMIT_SECONDS:
                raise RuntimeError("out of time")
            time.sleep(0.05)

    def verify(self, name, count, *more):
        return self.load("verify", "-n", count, "-timeout", "15s", "-max", "60s", "-id", peers_module.ID_MEMBER.get(name, "Caller"), *more)

    def wrong(self, verified):
        stats = self.ask("stats")
        found = {"called twice": stats["dup_posts"], "out of order": stats["order_violations"], "side by side": stats["overlaps"],
                 "bad": stats["bad"]}
        if verified:
            found.update({"no result": verified["missing"], "two results": verified["dups"], "bad": stats["bad"] + verified["bad"]})
        return {what: count for what, count in found.items() if count}

    def figures(self, process, begin, end, count):
        """Of the part of a run between two marks, in which so many requests were made."""
        cpu = begin.group_until(end, [process.pid])
        row = {"others_percent": begin.others_until(end), "core_percent": round(100 * cpu / begin.seconds_until(end), 2),
               "peak_mib": round(machine.peak_mib(process.pid))}
        if count:
            kafka = begin.group_until(end, self.kafka.pids.values())
            row.update(cpu_us=round(cpu / count * 1e6, 1), kafka_us=round(kafka / count * 1e6, 1))
        return row

    def transactions(self, before, after, seconds):
        if not before or not after:
            return {}
        grown = {key: after[key] - before[key] for key in before}
        row = {"transactions_s": round(grown["transactions"] / seconds, 1)}
        if grown["transaction_n"]:
            row["transaction_ms"] = round(1000 * grown["transaction_s"] / grown["transaction_n"], 2)
        return row

    def run_backlog(self, name, cell):
        """Between 30 and 90 % of the requests that are looked at: without start and end. A backlog that is larger than that stays."""
        expected = min(cell.in_flight / cell.latency * 1000, 12000)
        looked_at = int(min(cell.backlog or 80000, max(6000, expected * self.seconds)))
        written = self.fill(cell, cell.backlog or looked_at)
        process, marks, counts = self.peer(name, cell, f"{name}-{int(time.time())}"), [], []
        shares = [0.3, 0.9]
        for posts in self.wait_posts(process, looked_at):
            if shares and posts >= shares[0] * looked_at:
                shares.pop(0)
                marks.append(self.mark(posts))
                counts.append(self.counts(name))
        while len(marks) < 2:
            raise RuntimeError("it was over before it could be looked at")
        begin, end = marks
        time.sleep(cell.latency / 1000 + 0.2)
        count = end.posts - begin.posts
        row = {"events": looked_at, "events_s": round(count / begin.seconds_until(end)),
               "ceiling_s": round(written["n"] / (written["max_key_events"] * cell.latency / 1000)),
               **self.figures(process, begin, end, count), **self.transactions(*counts, begin.seconds_until(end))}
        whole = looked_at == written["n"]
        verified = self.verify(name, looked_at) if whole else None
        return {**row, "wrong": self.wrong(verified)}

    def warm(self, name, cell):
        process = self.peer(name, cell, f"{name}-{int(time.time())}")
        self.fill(cell, WARM_UP)
        for _ in self.wait_posts(process, WARM_UP):
            pass
        time.sleep(2)
        return process

    def run_steady(self, name, cell):
        """Requests at a steady rate to a peer that waits for them: what a requester waits for its result."""
        count = int(cell.rate * (30 if cell.rate < 100 else 10))
        process = self.warm(name, cell)
        before, begin = self.counts(name), self.mark()
        self.fill(cell, count, "-rate", cell.rate, "-first", WARM_UP)
        for _ in self.wait_posts(process, count + WARM_UP):
            pass
        end, after = self.mark(), self.counts(name)
        time.sleep(cell.latency / 1000 + 0.5)
        verified = self.verify(name, count + WARM_UP, "-skip", WARM_UP)
        return {"events": count, "events_s": cell.rate, **self.figures(process, begin, end, count),
                **self.transactions(before, after, begin.seconds_until(end)),
                "p50_ms": verified["latency_ms_p50"], "p99_ms": verified["latency_ms_p99"], "wrong": self.wrong(verified)}

    def run_idle(self, name, cell):
        process = self.warm(name, cell)
        time.sleep(3)
        before, begin = self.counts(name), self.mark()
        time.sleep(20)
        end, after = self.mark(), self.counts(name)
        return {"events": 0, **self.figures(process, begin, end, 0), **self.transactions(before, after, begin.seconds_until(end)),
                "wrong": self.wrong(None)}

    def run_killed(self, name, cell):
        """kill -9 half way and a restart: how much is called a second time."""
        self.fill(cell, cell.backlog)
        begin, group = self.mark(), f"{name}-k{int(time.time())}"
        process = self.peer(name, cell, group)
        for _ in self.wait_posts(process, cell.backlog // 2):
            pass
        self.stop(process, signal.SIGKILL)
        process = self.peer(name, cell, group)
        verified = self.verify(name, cell.backlog)
        end = self.mark()
        return {"events": cell.backlog, "others_percent": begin.others_until(end), "called_twice": self.ask("stats")["dup_posts"],
                "wrong": self.wrong(verified)}

    def run(self, name, cell):
        """One run of one peer, as a row of results.jsonl."""
        self.serial += 1
        self.load("topics", "-p", cell.partitions, "-rf", min(cell.brokers, 3))
        try:
            self.stub(cell)
            row = getattr(self, f"run_{cell.mode}")(name, cell)
            for process in reversed(self.started):  # the peer before the stub
                self.stop(process)
            return row
        finally:
            self.stop_all()
            self.load("drop")


COLUMNS = (("others_percent", "others %", 10), ("events_s", "/s", 8), ("cpu_us", "us CPU", 9), ("core_percent", "% core", 8),
           ("peak_mib", "MiB", 7), ("p50_ms", "p50 ms", 8), ("p99_ms", "p99 ms", 8))
HEAD = f"{'cell':<36}{'peer':<10}" + "".join(f"{title:>{width}}" for _, title, width in COLUMNS) + "  wrong"


def show(row):
    wrong = ", ".join(f"{what}: {n}" for what, n in row["wrong"].items()) or "nothing"
    busy = "" if row["others_percent"] < machine.BUSY_PERCENT else "; BUSY: others had much of the machine"
    print(f"{row['cell']:<36}{row['peer']:<10}" + "".join(f"{row.get(key, '-'):>{width}}" for key, _, width in COLUMNS)
          + f"  {wrong}{busy}", flush=True)


def chosen(arguments):
    """The runs, in their order: each pair of one cell has all peers, and every second pair has them the other way round."""
    names = arguments.tables.split(",") if arguments.tables else list(cells_module.TABLES)
    everything = arguments.all or bool(arguments.tables)
    for table in names:
        for cell in cells_module.TABLES[table]:
            if not (everything or arguments.kill and cell.mode == "killed" or cells_module.is_quick(cell)):
                continue
            if arguments.cells and f"{cell.latency}x{cell.in_flight}" not in arguments.cells.split(",") or \
                    arguments.rates and cell.mode == "steady" and str(cell.rate) not in arguments.rates.split(","):
                continue
            peers = cells_module.peers_of(cell, arguments.peers.split(","), everything)
            for pair in range(arguments.pairs):
                for name in peers if pair % 2 == 0 else reversed(peers):
                    yield name, cell


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--all", action="store_true", help="each cell, and each with all peers; without it a quick set")
    parser.add_argument("--tables", help=f"only these, each whole: {','.join(cells_module.TABLES)}")
    parser.add_argument("--peers", default=",".join(peers_module.usual()), help=", ".join(peers_module.NAMES))
    parser.add_argument("--pairs", type=int, default=1, help="runs of each cell, the peers one after another in turns")
    parser.add_argument("--cells", help="only these LATENCYxINFLIGHT")
    parser.add_argument("--rates", help="only these of the steady rates")
    parser.add_argument("--seconds", type=float, default=4, help="of work a cell, at most 80,000 requests")
    parser.add_argument("--kill", action="store_true", help="also kill -9 half way")
    parser.add_argument("--list", action="store_true", help="says what would run")
    arguments = parser.parse_args()
    for given, known in ((arguments.tables, cells_module.TABLES), (arguments.peers, peers_module.NAMES)):
        for name in filter(None, (given or "").split(",")):
            if name not in known:
                parser.error(f"there is no {name}: expected one of {', '.join(known)}")
    return arguments


def measure(runs, bench_of, about, out):
    """Runs them all, shows each and keeps it in results.jsonl. Returns the rows."""
    rows = []
    for name, cell in runs:
        bench = bench_of(cell.brokers)
        try:
            if not bench.warmed:  # a broker that has just started needs several times as much for its first run
                bench.warmed = True
                bench.run(name, cell)
            figures = bench.run(name, cell)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as why:
            print(f"{cell.key():<36}{name:<10} failed: {why}; see {out}/{name}.log", flush=True)
            continue
        rows.append({**about, "cell": cell.key(), "peer": name, **figures})
        show(rows[-1])
        with open(f"{out}/results.jsonl", "a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    return rows


def main():
    arguments = parse()
    runs = list(chosen(arguments))
    if arguments.list:
        for name, cell in runs:
            print(f"{cell.key():<36}{name}")
        return
    build = os.path.abspath(arguments.build)
    out = os.path.join(build, "bench")
    os.makedirs(out, exist_ok=True)
    peers = peers_module.Peers(build, out)
    peers.make({name for name, _ in runs})
    about = {"run": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "commit": machine.commit(ROOT),
             "versions": machine.versions(kafka_module.VERSION)}
    clusters = {}

    def bench_of(brokers):
        if brokers not in clusters:
            close()
            kafka = kafka_module.Kafka(f"{out}/kafka", brokers).start()
            clusters[brokers] = Bench(peers, out, kafka, arguments.seconds)
        return clusters[brokers]

    def close():
        for bench in clusters.values():
            bench.stop_all()
            bench.kafka.close()
        clusters.clear()

    print(HEAD, flush=True)
    try:
        rows = measure(runs, bench_of, about, out)
    finally:
        close()
    print()
    print(page.report(page.summarise(rows)))


if __name__ == "__main__":
    main()
