"""The cluster that kubectl points at, seen through kubectl alone, and the test's own namespace in it."""
import json
import os
import ssl
import subprocess
import time
import urllib.request

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MANIFESTS = os.path.join(ROOT, "docker", "kubernetes")
NAME = "privacy-call-worker"
SELECTOR = f"app.kubernetes.io/name={NAME}"


class Problem(Exception):
    """Why a step failed, in words for whoever runs it."""


def until(seconds, condition, what):
    """Waits until condition() is true and returns what it returned. Raises Problem."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            problem = None
        except Problem as raised:
            value, problem = None, raised
        if value:
            return value
        if time.monotonic() > end:
            raise Problem(f"{what}: not within {seconds} s" + (f" ({problem})" if problem else ""))
        time.sleep(0.5)


class Cluster:
    """namespace: the test's own. Everything goes there but what kubectl drain does to a node."""

    def __init__(self, namespace):
        self.namespace = namespace

    def run(self, *arguments, feed=None, seconds=120):
        """Runs kubectl in the namespace and returns its output; warnings of the server count as errors."""
        run = subprocess.run(["kubectl", "-n", self.namespace, *arguments], input=feed, text=True, timeout=seconds,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if run.returncode or "Warning:" in run.stderr:
            raise Problem(f"kubectl {' '.join(arguments[:6])}: {run.stderr.strip() or run.stdout.strip()}")
        return run.stdout

    def get(self, kind, name=None, selector=None):
        """Objects as kubectl get -o json has them; a list without a name."""
        arguments = ["get", kind, "-o", "json"] + ([name] if name else []) + (["-l", selector] if selector else [])
        answer = json.loads(self.run(*arguments))
        return answer if name else answer["items"]

    def has(self, resource):
        """Whether the API server knows a resource such as scaledobjects.keda.sh."""
        return subprocess.run(["kubectl", "get", resource, "-A"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def apply(self, objects, dry=False):
        """Applies objects with strict validation by the server; dry: lets it validate them only."""
        feed = yaml.safe_dump_all(objects)
        return self.run("apply", "--validate=strict", *(["--dry-run=server"] if dry else []), "-f", "-", feed=feed)

    def render(self, folder):
        """What kustomize makes of a folder."""
        return [o for o in yaml.safe_load_all(self.run("kustomize", folder)) if o]

    def pods(self, ready=True):
        """The worker's pods that are not on their way out."""
        return [p for p in self.get("pods", selector=SELECTOR)
                if "deletionTimestamp" not in p["metadata"] and (not ready or is_ready(p))]

    def ask(self, pod, path):
        """What a worker answers, asked for inside of its pod: no network policy stands in the way. Raises Problem."""
        script = f"exec 3<>/dev/tcp/127.0.0.1/9464; printf 'GET {path} HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; cat <&3"
        return self.run("exec", pod, "-c", "worker", "--", "bash", "-c", script).partition("\n\n")[2]

    def worker(self, pod):
        """/status of one pod."""
        try:
            return json.loads(self.ask(pod, "/status"))
        except json.JSONDecodeError as problem:
            raise Problem(f"{pod}/status: {problem}") from problem

    def metric(self, pod, name):
        """The value of a metric without labels."""
        for line in self.ask(pod, "/metrics").splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise Problem(f"{pod} has no metric {name}")

    def sandbox(self, method, path, body=None):
        """Asks the simulated platform, by way of kubectl port-forward."""
        forward = subprocess.Popen(["kubectl", "-n", self.namespace, "port-forward", "service/platform", ":8443"], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            line = forward.stdout.readline()
            if "127.0.0.1:" not in line:
                raise Problem(f"kubectl port-forward service/platform said: {line!r}")
            port = line.split("127.0.0.1:")[1].split()[0]
            request = urllib.request.Request(f"https://127.0.0.1:{port}{path}", method=method, data=body and body.encode())
            with urllib.request.urlopen(request, timeout=20, context=ssl._create_unverified_context()) as answer:
                return answer.read().decode()
        except OSError as problem:
            raise Problem(f"the platform, {path}: {problem}") from problem
        finally:
            forward.terminate()
            forward.wait(10)
            forward.stdout.close()

    def platform(self):
        """What the simulated platform has counted."""
        return json.loads(self.sandbox("GET", "/sandbox/stats"))

    def faults(self, spec):
        """Replaces the platform's faults."""
        self.sandbox("POST", "/sandbox/faults", spec)

    def scale(self, count, kind="deployment"):
        self.run("scale", f"{kind}/{NAME}", f"--replicas={count}")
        self.ready(count)

    def ready(self, count, seconds=120):
        """Waits until so many workers, and no more, are there and ready."""
        return until(seconds, lambda: len(self.pods()) == count == len(self.get("pods", selector=SELECTOR)), f"{count} workers ready")

    def spread(self, count, topics, seconds=60):
        """Waits until the partitions of each topic are spread over all workers, at most one apart. Returns the counts by pod."""
        counts = {}

        def even():
            counts.clear()
            for pod in self.pods():
                owned = self.worker(pod["metadata"]["name"])["partitions"]
                counts[pod["metadata"]["name"]] = [sum(p["topic"] == t and p["state"] == "active" for p in owned) for t, _ in topics]
            return len(counts) == count and all(
                sum(c[i] for c in counts.values()) == n and max(c[i] for c in counts.values()) - min(c[i] for c in counts.values()) <= 1
                for i, (_, n) in enumerate(topics))
        try:
            until(seconds, even, f"partitions spread evenly over {count} workers")
        except Problem as problem:
            raise Problem(f"{problem}; last seen {counts}") from problem
        return counts


def is_ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
