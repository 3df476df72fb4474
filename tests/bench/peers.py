"""What is compared: each peer is a command and an environment; and how the peers, the stub and the load generator are built."""
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
TOKEN, APP = "akwiKeKEKG01kfas63910IRJL6ask38fKF6", "774e5e14a0874r725bfb90351f1e84f677"
ID_MEMBER = {"worker": "requestId"}  # where the result carries the request's id; Caller with the others
NAMES = ("worker", "floor", "threads", "pc-vertx", "pc-core", "pc-tx")


def usual():
    """Those of a bench that was not told: Confluent's, where there is what builds it."""
    return ["worker", "floor", "threads"] + ["pc-vertx"] * bool(shutil.which("java") and shutil.which("mvn"))


class Peers:
    def __init__(self, build, out):
        self.build, self.out = build, out
        java = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Xmx1g", "-cp", f"{out}/classes:{out}/jars/*", "bench.Peer"]
        self.commands = {
            "worker": self.worker,
            "floor": lambda e: ([f"{out}/floor"], {}),
            "threads": lambda e: ([f"{out}/threads"], {}),
            "pc-vertx": lambda e: (java, {"MODE": "vertx", "ORDER": "KEY"}),
            "pc-core": lambda e: (java, {"MODE": "core", "ORDER": "KEY"}),
            "pc-tx": lambda e: (java, {"MODE": "core-tx", "ORDER": "KEY", "TXID": f"pc-{e['INSTANCE']}"}),
        }

    def worker(self, e):
        settings = {
            "kafka.bootstrap.servers": e["BROKERS"], "kafka.group.id": e["GROUP"], "instance.id": e["INSTANCE"],
            "topic.call.requests": e["IN"], "topic.call.results": e["OUT"], "topic.recording.requests": "",
            "topic.dead.letters": e["DEAD"], "platform.url": f"{e['SCHEME']}://{e['HTTP_HOST']}:{e['HTTP_PORT']}",
            "platform.token": TOKEN, "platform.app.id": APP, "platform.max.in.flight": e["INFLIGHT"],
            "kafka.session.timeout.ms": "10000", "kafka.heartbeat.interval.ms": "1000", "call.max.age.ms": "0",
            "http.listen": f"127.0.0.1:{e['METRICS_PORT']}", "log.level": "warn", "log.format": "json"}
        settings.update({"platform.ca.file": e["CA"]} if e["SCHEME"] == "https" else {"platform.allow.http": "true"})
        command = [f"{self.build}/privacy-call-worker"]
        for key, value in settings.items():
            command += ["-o", f"{key}={value}"]
        return command, {}

    def make(self, names):
        def run(*command, **more):
            subprocess.run(command, check=True, **more)

        for part in ("stub", "load"):
            run("go", "build", "-o", f"{self.out}/{part}", ".", cwd=f"{HERE}/{part}")
        if not os.path.exists(f"{self.out}/cert.pem"):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-keyout", f"{self.out}/key.pem", "-out", f"{self.out}/cert.pem", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", stderr=subprocess.DEVNULL)
        for name in {"floor", "threads"} & set(names):
            run("cc", "-O2", "-D_GNU_SOURCE", f"{HERE}/peers/c/{name}.c", "-o", f"{self.out}/{name}", "-lcurl", "-lrdkafka", "-lcrypto",
                "-lpthread")
        if any(name.startswith("pc-") for name in names) and not os.path.isdir(f"{self.out}/jars"):
            run("mvn", "-q", "-B", "-Dstyle.color=never", "-f", f"{HERE}/peers/parallel-consumer/pom.xml", "compile",
                "dependency:copy-dependencies", f"-DoutputDirectory={self.out}/jars", f"-Dbench.classes={self.out}/classes")
