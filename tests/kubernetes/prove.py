#!/usr/bin/python3
"""docker/kubernetes proven on the cluster that kubectl points at; `make kubernetes` runs it.

    IMAGE=registry/privacy-call-worker:1  KAFKA=broker:9092  prove.py [STEP...]

IMAGE          the worker's image, as the nodes pull it
KAFKA          Kafka as the pods reach it, without TLS; topics of the run's own are made there, and taken away again
KAFKA_HERE     the same Kafka as this program reaches it (default: KAFKA)
SANDBOX_IMAGE  the simulated platform's image (default: IMAGE, if it holds privacy-call-sandbox)
KAFKA_TLS      optional: the same Kafka with TLS and SCRAM-SHA-512, as pods and KEDA reach it (and PLAIN, for a worker with librdkafka before 2.6.1)
KAFKA_TLS_LOGINS  with KAFKA_TLS: a folder with kafka-ca.pem and keda-password, for a user keda that may DESCRIBE the topics and groups whose names begin
               with pcw-test-, and with the folders worker-1 and worker-2, each with kafka-username and kafka-password, for users with a worker's rights on
               such topics, groups and transactional ids
KAFKA_LOGIN    optional: a command that takes the login $1 away from Kafka, once no connection has it any longer ($2: off), and gives it back (on)
KILL           optional: a command that kills the container of the pod $1 by SIGKILL, on its node
HPA            optional, not empty: scales by a HorizontalPodAutoscaler on the external metric `kafka-lag` (tests/kubernetes/local/lag), not by KEDA
RATE           requests a second while something happens (default 40)
KEEP           not empty: leaves the namespace as it is

It works in two namespaces of its own (privacy-call-test, and privacy-call-test-monitoring in the place of Prometheus's), and beside them only
cordons one node for a moment, for the drain of its own pods.
"""
import os
import re
import subprocess
import sys
import threading
import time

from cluster import NAME, ROOT, SELECTOR, Cluster, Problem, is_ready, until
from load import Load, drop_topics, make_topics
from network import Network
from stage import TOKENS, Stage

BUILD = os.environ.get("BUILD_DIR", "build")
HPA = os.environ.get("HPA")
CALM = "latency=50-250ms"
RATE = float(os.environ.get("RATE", "40"))


def check(true, what):
    if not true:
        raise Problem(what)


class Proof:
    def __init__(self):
        environment = os.environ
        missing = [n for n in ("IMAGE", "KAFKA") if not environment.get(n)]
        if missing:
            sys.exit(f"{' and '.join(missing)} must be set: the worker's image as the nodes pull it, and Kafka's address as pods reach it\n\n{__doc__}")
        try:
            version = Cluster("default").run("version")
        except (Problem, OSError) as problem:
            sys.exit(f"kubectl reaches no cluster (set KUBECONFIG, or a context): {problem}")
        print(version.strip().replace("\n", ", "))
        self.prefix = f"pcw-test-{os.getpid()}"
        self.stage = Stage(os.path.join(BUILD, "kubernetes"), "privacy-call-test", environment["IMAGE"],
                           environment.get("SANDBOX_IMAGE") or environment["IMAGE"], environment["KAFKA"], self.prefix)
        self.cluster = self.stage.cluster
        self.kafka = environment.get("KAFKA_HERE") or environment["KAFKA"]
        self.begun = time.monotonic()
        self.failed, self.passed, self.skipped = [], [], []
        self.load = None

    def say(self, text):
        print(f"[{time.monotonic() - self.begun:5.0f} s] {text}", flush=True)

    def under_load(self, action, rate=RATE, before=2.0, after=3.0):
        """Requests at a steady rate while action() runs; waits for their results and returns (what became of them, what action returned)."""
        first = self.load.mark()
        self.load.rate = rate
        try:
            time.sleep(before)
            value = action()
            time.sleep(after)
        finally:
            self.load.rate = 0
        return self.load.window(first), value

    def whole(self, window, unknown=0):
        """A window in which nothing was lost, doubled or called twice, and at most so many are in doubt."""
        self.say(f"    {window}")
        check(not window.lost, f"lost: {window.lost[:5]}")
        check(not window.twice, f"two results: {window.twice[:5]}")
        check(window.unknown <= unknown, f"unknown {window.unknown}, at most {unknown} expected")
        check(window.statuses["succeeded"] + window.unknown == window.count, f"{dict(window.statuses)}")
        check(self.cluster.platform()["rung"]["duplicates_caller_callee"] == 0, "the platform was asked twice for one call")

    # ---- the steps, in order ---------------------------------------------------------------------------------------------

    def validation(self):
        """each object of both overlays is valid: the server's own check, strictly"""
        for overlay in ("minimal", "production"):
            if overlay == "production" and not (self.stage.keda and self.stage.monitoring):
                raise Problem("the cluster knows no ScaledObject, PodMonitor or PrometheusRule: install KEDA and the Prometheus operator (their CRDs suffice for this step)")
            objects = self.cluster.render(self.stage.overlay("dry-" + overlay, {}, resources=["overlays/" + overlay]))
            # The generated ConfigMap of each is new; the namespace is there already.
            out = self.cluster.apply(objects, dry=True)
            self.say(f"    {overlay}: {len(out.splitlines())} objects: " + ", ".join(line.split()[0].split("/")[0].split(".")[0] for line in out.splitlines()))
            check(len(out.splitlines()) == len(objects), out)
        broken = [dict(o) for o in self.cluster.render(os.path.join(self.stage.folder, "dry-minimal")) if o["kind"] == "Deployment"]
        broken[0]["spec"]["replica"] = 1
        try:
            self.cluster.apply(broken, dry=True)
        except Problem as problem:
            check("unknown field" in str(problem), str(problem))
        else:
            raise Problem("the server took a misspelt field: its validation is not strict")

    def rollout(self):
        """rollout; user 10001, read-only root, no token of the API server, secrets for the group only"""
        self.stage.apply()
        self.stage.rollout()
        self.cluster.ready(1)
        pod = self.cluster.pods()[0]["metadata"]["name"]
        out = self.cluster.run("exec", pod, "-c", "worker", "--", "sh", "-c",
                               "id -u; touch /x 2>&1; ls -d /var/run/secrets/kubernetes.io 2>&1; ls -lL /run/secrets/privacy-call-worker/platform-token; grep -i '^cap[eb]' /proc/1/status || true")
        check(out.startswith("10001\n") and "Read-only" in out and "No such file" in out and "r--r-----" in out, out)

    def requests(self):
        """requests are answered; `ledger` in the pod says so, too"""
        first = self.load.mark()
        self.load.burst(200)
        self.whole(self.load.window(first))
        ledger = self.cluster.run("exec", f"deployment/{NAME}", "-c", "worker", "--", NAME, "ledger", "-c", "/etc/privacy-call-worker/worker.conf")
        check(f"{self.prefix}-call-requests" in ledger, ledger)

    def network(self):
        """NetworkPolicy: out to name servers, Kafka and the platform, in from Prometheus's namespace to the page; nothing else, either way"""
        network = Network(self.stage)
        leaks = network.tried()
        if len(leaks) == len(network.shut):
            raise Skip("this cluster does not enforce NetworkPolicy: the worker reaches the API server and other pods, and is reached by them")
        check(not leaks, f"open, and should be shut: {', '.join(leaks)}")
        check("platform" in network.name(), "no name server answers the worker")
        check("\nprivacy_call_" in network.scrape(), "the page has no metrics for Prometheus")
        self.say(f"    open: {', '.join(network.open)}, names, a scrape; shut: {', '.join(network.shut)}")

    def rolling(self):
        """a rolling update under load: unknown 0, lost 0"""
        self.cluster.scale(2)
        self.cluster.spread(2, self.stage.topics)

        def update():
            self.stage.settings["log.level"] = "debug"
            self.stage.apply()
            self.stage.rollout()
        window, _ = self.under_load(update)
        self.whole(window)
        config = {v["configMap"]["name"] for p in self.cluster.pods() for v in p["spec"]["volumes"] if "configMap" in v}
        check(len(config) == 1, f"pods have the configurations {config}")

    def scaling(self):
        """1 -> 4 -> 1 under load: unknown 0, and the partitions are spread evenly"""
        def there_and_back():
            self.cluster.scale(1)
            self.cluster.scale(4)
            counts = self.cluster.spread(4, self.stage.topics)
            self.say(f"    partitions of calls and recordings by pod: {list(counts.values())}; by node: {by_node(self.cluster.pods())}")
            self.cluster.scale(1)
            self.cluster.spread(1, self.stage.topics)
        window, _ = self.under_load(there_and_back)
        self.whole(window)

    def kill(self):
        """a pod killed under load: one result each, unknown only what was under way"""
        self.cluster.scale(2)
        self.cluster.spread(2, self.stage.topics)
        pod = self.cluster.pods()[0]
        name = pod["metadata"]["name"]
        command = os.environ.get("KILL")

        def killed():
            flight = self.cluster.worker(name)["inFlight"]
            if command:
                subprocess.run([*command.split(), name], check=True, timeout=30, env={**os.environ, "NAMESPACE": self.cluster.namespace})
                until(60, lambda: self.cluster.get("pod", name)["status"]["containerStatuses"][0]["restartCount"] > 0, "the container's restart")
            else:  # SIGTERM and, two seconds later, SIGKILL: sooner than the calls end
                subprocess.run(["kubectl", "-n", self.cluster.namespace, "delete", "pod", name, "--force", "--grace-period=0"], check=True, timeout=60,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.cluster.ready(2)
            self.cluster.spread(2, self.stage.topics)
            return flight
        if not command:
            self.cluster.faults("latency=4000-5000ms")
        try:
            window, flight = self.under_load(killed, after=5.0)
        finally:
            if not command:
                self.cluster.faults(CALM)
        self.say(f"    in flight just before it: {flight}")
        # What began after that figure was read counts, too: at most the slots, twice (interface of platform.max.in.flight).
        self.whole(window, unknown=512)
        check(set(window.codes) <= {"worker-died"}, f"{dict(window.codes)}")

    def drain(self):
        """a node drained under load, against the disruption budget: never fewer than all but one ready, unknown 0"""
        nodes = [n for n in self.cluster.get("nodes") if not n["spec"].get("unschedulable") and not n["spec"].get("taints")]
        if len(nodes) < 2:
            raise Skip("the cluster has one node that takes pods: what is drained could go nowhere")
        self.cluster.scale(4)
        self.cluster.spread(4, self.stage.topics)
        before = by_node(self.cluster.pods())
        node = max(before, key=lambda n: (before[n], n))
        least = [4]
        watching = threading.Event()

        def watch():
            while not watching.is_set():
                least[0] = min(least[0], sum(map(is_ready, self.cluster.get("pods", selector=SELECTOR))))
                time.sleep(0.3)

        def drained():
            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                run = subprocess.run(["kubectl", "drain", node, f"--pod-selector={SELECTOR}", "--ignore-daemonsets", "--timeout=180s"], text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=200, check=False)
                check(run.returncode == 0, run.stdout)
                self.cluster.ready(4)
            finally:
                watching.set()
                watcher.join(5)
                self.cluster.run("uncordon", node)
            return run.stdout
        try:
            window, out = self.under_load(drained)
        finally:
            self.cluster.run("uncordon", node)
        self.say(f"    {before[node]} of 4 were on {node}; ready at least {least[0]}; evictions put off by the budget: {out.count('disruption budget')}")
        self.whole(window)
        check(least[0] >= 3, f"only {least[0]} of 4 were ready")
        check(before[node] < 2 or "disruption budget" in out, "no eviction was put off, though several pods stood on the node")
        self.cluster.scale(2)

    def secret(self):
        """a secret rotated: no restart, and the new token is used"""
        started = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["restartCount"] for p in self.cluster.pods()}
        before = {p: self.cluster.metric(p, "privacy_call_reloads_total") for p in started}
        begun = time.monotonic()
        self.stage.token(TOKENS[1])
        until(150, lambda: all(self.cluster.metric(p, "privacy_call_reloads_total") > before[p] for p in started), "the new token read by each worker")
        self.say(f"    read by {len(started)} workers within {time.monotonic() - begun:.0f} s of the change")
        self.stage.platform(TOKENS[1])
        first = self.load.mark()
        self.load.burst(100)
        self.whole(self.load.window(first))
        after = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["restartCount"] for p in self.cluster.pods()}
        check(after == started, f"pods before {started}, after {after}")

    def configuration(self):
        """a wrong configuration stops its rollout, and the good pods go on; undone, it is gone"""
        good = {p["metadata"]["uid"] for p in self.cluster.pods()}

        def broken():
            self.stage.settings["call.max.age"] = "900"
            self.stage.apply()
            until(60, lambda: any(c["restartCount"] > 0 and "terminated" in (c.get("lastState") or {}) for p in self.cluster.pods(ready=False)
                                  for c in p["status"].get("containerStatuses", ()) if p["metadata"]["uid"] not in good), "the new pod's failure")
            time.sleep(5)
            check(good == {p["metadata"]["uid"] for p in self.cluster.pods()}, "a good pod was replaced")
            bad = [p["metadata"]["name"] for p in self.cluster.pods(ready=False) if p["metadata"]["uid"] not in good]
            log = self.cluster.run("logs", bad[0], "-c", "worker")
            self.say(f"    {log.strip().splitlines()[0]}")
            check("call.max.age" in log, log)
            self.cluster.run("rollout", "undo", f"deployment/{NAME}")
            del self.stage.settings["call.max.age"]
            self.stage.rollout()
            check(good == {p["metadata"]["uid"] for p in self.cluster.pods()}, "undoing it replaced good pods")
        window, _ = self.under_load(broken)
        self.whole(window)

    def autoscaling(self):
        """scaled up by a backlog, and down after it: unknown 0"""
        if not self.stage.keda:
            raise Skip("the cluster has no KEDA")
        self.scaled_by(self.hpa if HPA else self.unpause, "a HorizontalPodAutoscaler on the lag" if HPA else "KEDA")

    def login(self):
        """the worker logs in by TLS and SASL, from its Secret: a wrong password stops the rollout, and another user's login is read without a restart"""
        address = os.environ.get("KAFKA_TLS")
        if not address:
            raise Skip("KAFKA_TLS names no Kafka with TLS and SASL")
        self.cluster.scale(2)
        pod = self.cluster.pods()[0]["metadata"]["name"]
        settings = self.cluster.run("exec", pod, "-c", "worker", "--", NAME, "-c", "/etc/privacy-call-worker/worker.conf", "--print-config")
        self.stage.login = {"kafka.bootstrap.servers": address}
        if "kafka.enable.metrics.push" not in settings:  # which came with what SCRAM takes, librdkafka 2.6.1: docs/kafka.md
            self.stage.login["kafka.sasl.mechanism"] = "PLAIN"
        try:
            self.encrypted()
        except BaseException:
            self.stage.login = {}
            self.stage.apply()
            raise

    def encrypted(self):
        good = {p["metadata"]["uid"] for p in self.cluster.pods()}
        command = os.environ.get("KAFKA_LOGIN")
        self.worker_secret("worker-1", password="not-the-password")

        def repaired():
            self.stage.apply()
            until(60, lambda: "uthentication" in self.newest_log(good), "the worker's error about a password that Kafka refuses")
            time.sleep(5)
            check(good == {p["metadata"]["uid"] for p in self.cluster.pods()}, "a good pod was replaced")
            self.worker_secret("worker-1", rotate=True)
            until(300, lambda: len(self.cluster.pods()) == 2 and not good & {p["metadata"]["uid"] for p in self.cluster.pods()}, "two workers logged in")
            self.cluster.ready(2)
        window, _ = self.under_load(repaired)
        self.whole(window)

        before = {p["metadata"]["name"]: (p["status"]["containerStatuses"][0]["restartCount"], self.reloads(p)) for p in self.cluster.pods()}

        def rotated():
            begun = time.monotonic()
            self.worker_secret("worker-2", rotate=True)
            until(150, lambda: all(self.reloads(p) > before[p["metadata"]["name"]][1] for p in self.cluster.pods()), "the new login read by each worker")
            self.say(f"    read by {len(before)} workers within {time.monotonic() - begun:.0f} s of the change")
            if command:
                subprocess.run([*command.split(), "worker-1", "off"], check=True, timeout=120)
                time.sleep(25)
        try:
            window, _ = self.under_load(rotated)
            self.whole(window)
        finally:
            if command:
                subprocess.run([*command.split(), "worker-1", "on"], check=True, timeout=120)
        after = {p["metadata"]["name"]: p["status"]["containerStatuses"][0]["restartCount"] for p in self.cluster.pods()}
        check(after == {name: restarts for name, (restarts, _) in before.items()}, f"pods before {before}, after {after}")
        self.requests()

    def newest_log(self, old):
        """The log of a pod that is none of the old ones."""
        pods = [p for p in self.cluster.pods(ready=False) if p["metadata"]["uid"] not in old]
        return self.cluster.run("logs", pods[0]["metadata"]["name"], "-c", "worker") if pods else ""

    def reloads(self, pod):
        return self.cluster.metric(pod["metadata"]["name"], "privacy_call_reloads_total")

    def worker_secret(self, user, password=None, rotate=False):
        """The worker's Secret, made or rotated by the commands of docs/kubernetes.md."""
        logins, folder = os.environ["KAFKA_TLS_LOGINS"], os.path.join(self.stage.folder, "secret")
        os.makedirs(folder, exist_ok=True)
        files = {"platform-token": self.stage.used, "platform-ca.pem": self.stage.ca}
        for name in ("kafka-ca.pem", f"{user}/kafka-username", f"{user}/kafka-password"):
            with open(os.path.join(logins, name)) as file:
                files[os.path.basename(name)] = file.read()
        if password:
            files["kafka-password"] = password
        for name, text in files.items():
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        if not rotate:
            self.cluster.run("delete", "secret", NAME)
        command = documented(NAME)[rotate].replace("-n privacy-call ", f"-n {self.cluster.namespace} ")
        # The simulated platform has an authority of its own.
        subprocess.run(["sh", "-c", command.replace("--from-file=platform-token", "--from-file=platform-token --from-file=platform-ca.pem")],
                       cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL)

    def keda_login(self):
        """KEDA logs in by TLS and SASL, too, as a user with DESCRIBE only; a wrong password is seen at the ScaledObject"""
        address, folder = os.environ.get("KAFKA_TLS"), os.environ.get("KAFKA_TLS_LOGINS")
        if not self.stage.keda or HPA or not address:
            raise Skip("the cluster has no KEDA, or KAFKA_TLS names no Kafka with TLS and SASL")
        self.stage.keda_kafka = address
        secret = NAME + "-keda"
        with open(os.path.join(folder, "kafka-ca.pem")) as file:
            self.stage.secret(secret, {"username": "keda", "password": "wrong", "kafka-ca.pem": file.read()})
        try:
            self.stage.apply()
            self.cluster.run("annotate", "scaledobject", NAME, "autoscaling.keda.sh/paused-", "--overwrite")
            until(60, lambda: self.condition("Ready") == "False", "the ScaledObject not ready, because KEDA's password is wrong")
            self.cluster.run("delete", "secret", secret)
            command = documented(secret)[0].replace("-n privacy-call ", f"-n {self.cluster.namespace} ")
            subprocess.run(["sh", "-c", command], cwd=folder, check=True, timeout=60)
            self.scaled_by(self.unpause, "KEDA, logged in")
        finally:
            self.stage.keda_kafka = None

    def scaled_by(self, start, who):
        """A backlog, and what becomes of the number of workers. start(): from then on they are scaled."""
        self.cluster.scale(1)
        self.cluster.faults("latency=2000-3000ms")
        first = self.load.mark()
        begun = time.monotonic()
        start()
        try:
            self.load.burst(12000)
            self.cluster.ready(4)
            up = time.monotonic() - begun
            self.cluster.faults(CALM)
            window = self.load.window(first, seconds=240)
            self.whole(window)
            self.cluster.ready(1, seconds=180)
            self.say(f"    by {who}: 4 workers after {up:.0f} s, 1 again after {time.monotonic() - begun:.0f} s")
            first = self.load.mark()
            self.load.burst(50)
            self.whole(self.load.window(first))
        finally:
            self.cluster.run("annotate", "scaledobject", NAME, "autoscaling.keda.sh/paused=true", "--overwrite")
            self.cluster.run("delete", "hpa", NAME, "--ignore-not-found")
            self.cluster.faults(CALM)

    def unpause(self):
        self.cluster.run("annotate", "scaledobject", NAME, "autoscaling.keda.sh/paused-", "--overwrite")
        until(60, lambda: self.condition("Ready") == "True", "the ScaledObject ready")

    def condition(self, name):
        """The status of one of the ScaledObject's conditions, or None."""
        conditions = self.cluster.get("scaledobject", NAME).get("status", {}).get("conditions", ())
        return next((c["status"] for c in conditions if c["type"] == name), None)

    def hpa(self):
        """What KEDA would make of the ScaledObject, on the metric of tests/kubernetes/local/lag."""
        spec = self.cluster.get("scaledobject", NAME)["spec"]
        metrics = [{"type": "External", "external": {
            "metric": {"name": "kafka-lag", "selector": {"matchLabels": {k: t["metadata"][k] for k in ("consumerGroup", "topic")}}},
            "target": {"type": t["metricType"], "averageValue": t["metadata"]["lagThreshold"]}}} for t in spec["triggers"]]
        self.cluster.apply([{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": NAME}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}, "minReplicas": spec["minReplicaCount"],
            "maxReplicas": spec["maxReplicaCount"], "metrics": metrics, "behavior": spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]}}])

    STEPS = ("validation", "rollout", "requests", "network", "rolling", "scaling", "kill", "drain", "secret", "configuration", "autoscaling", "login",
             "keda_login")

    def run(self, steps):
        topics = self.stage.topics + self.stage.answers
        make_topics(self.kafka, topics)
        try:
            self.stage.close()
            self.stage.start()
            self.load = Load(self.kafka, topics[0][0], topics[2][0], 8)
            for step in steps:
                self.step(step)
        finally:
            if self.load:
                self.load.close()
            if not os.environ.get("KEEP"):
                self.stage.close()
                drop_topics(self.kafka, topics)
        self.say(f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped")
        return 1 if self.failed else 0

    def step(self, name):
        method = getattr(self, name)
        try:
            method()
        except Skip as reason:
            self.skipped.append(name)
            self.say(f"skipped: {name}: {reason}")
        except (Problem, subprocess.SubprocessError) as problem:
            self.failed.append(name)
            self.say(f"FAILED: {name}: {problem}")
        else:
            self.passed.append(name)
            self.say(f"ok: {name}: {method.__doc__}")


class Skip(Exception):
    """Why this cluster cannot show it."""


def documented(secret):
    """The commands of docs/kubernetes.md that create a secret and, for the worker's, replace it."""
    with open(os.path.join(ROOT, "docs", "kubernetes.md")) as file:
        return re.findall(rf"^ *(kubectl -n privacy-call create secret generic {secret} (?:.*\\\n)*.*)$", file.read(), re.MULTILINE)


def by_node(pods):
    nodes = {}
    for pod in pods:
        nodes[pod["spec"].get("nodeName")] = nodes.get(pod["spec"].get("nodeName"), 0) + 1
    return nodes


if __name__ == "__main__":
    sys.exit(Proof().run(sys.argv[1:] or Proof.STEPS))
