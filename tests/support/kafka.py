#!/usr/bin/python3
"""A throw-away Apache Kafka (KRaft) on free loopback ports, straight from the jars.

As a module: with Kafka(directory, brokers=1) as kafka: kafka.bootstrap, kafka.kill(1), kafka.restart(1), ...
As a program, for whoever wants one to stay: kafka.py start DIRECTORY [BROKERS] | stop DIRECTORY | jars
and kafka.py with DIRECTORY COMMAND..., which runs a command with KAFKA_BOOTSTRAP set to one that was started.
The jars come from $KAFKA_HOME/libs, or are fetched once by Maven (pom.xml beside this file) into the user's cache.
"""
import ctypes
import errno
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

from proxy import Network

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "4.1.0"
JVM = os.environ.get("KAFKA_JVM", "-Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1").split()
START_SECONDS = 90


class Unavailable(Exception):
    """Why there can be no Kafka on this machine."""


def cache():
    return f"{os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')}/privacy-call-worker"


def jars():
    """The folder of Kafka's jars. Raises Unavailable."""
    if not shutil.which("java"):
        raise Unavailable("Java is missing (Debian: default-jre-headless)")
    home = os.environ.get("KAFKA_HOME")
    if home:
        if not glob.glob(f"{home}/libs/kafka_2*.jar"):
            raise Unavailable(f"KAFKA_HOME is {home}, but there is no libs/kafka_2*.jar in it")
        return f"{home}/libs"
    folder = f"{cache()}/kafka-{VERSION}"
    if os.path.isdir(folder):
        return folder
    return fetch(folder)


def fetch(folder):
    """Lets Maven put the jars into the folder."""
    if not shutil.which("mvn"):
        raise Unavailable("neither KAFKA_HOME is set nor is there a Maven to fetch the jars (Debian: maven)")
    print(f"fetching Apache Kafka {VERSION} by Maven into {folder} (once)", file=sys.stderr, flush=True)
    aside = f"{folder}.{os.getpid()}"
    command = ["mvn", "-q", "-B", "-Dstyle.color=never", "-f", f"{HERE}/pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={aside}"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if run.returncode:
        shutil.rmtree(aside, ignore_errors=True)
        raise Unavailable("Maven could not fetch the jars of Kafka:\n" + run.stdout[-2000:])
    try:
        os.rename(aside, folder)
    except OSError:  # somebody else was faster
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def classes(libs):
    """The file for the classes of these jars as this Java has loaded them: a broker that maps it starts with half the CPU."""
    java = os.path.realpath(shutil.which("java"))
    of = f"{libs} {os.path.getmtime(libs)} {java} {os.path.getmtime(java)} {JVM}"
    return f"{cache()}/kafka-{VERSION}-{hashlib.sha256(of.encode()).hexdigest()[:12]}.jsa"


def keep_classes(directory):
    """Makes that file by a broker that starts and ends, once. Without it all is the same, but slower."""
    kept = classes(jars())
    if os.path.exists(kept):
        return
    aside = f"{kept}.{os.getpid()}"
    try:
        os.makedirs(cache(), exist_ok=True)
        with Kafka(directory, java=[f"-XX:ArchiveClassesAtExit={aside}"]) as kafka:
            kafka.stop()
        if kafka.processes[-1].wait() != 128 + signal.SIGTERM:  # Java crashes with a file that is not whole
            raise RuntimeError("the broker that makes it did not end in good order")
        os.rename(aside, kept)
    except (OSError, RuntimeError) as problem:
        print(f"brokers start without a file of their classes: {problem}", file=sys.stderr)
        if os.path.exists(aside):
            os.unlink(aside)


def free_ports(count):
    """Ports that are free now; all different. The system gives them to nobody who asks for any port, so that they stay free while a
    broker is away, whatever other tests connect to meanwhile."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as limits:
        first = int(limits.read().split()[0])
    sockets = []
    while len(sockets) < count:
        try:
            sockets.append(socket.create_server(("127.0.0.1", random.randrange(10000, first) if first > 20000 else 0)))
        except OSError as problem:
            if problem.errno != errno.EADDRINUSE:
                raise
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def end_with_parent():
    """In a child, before its program begins: it is killed when the test ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def running(pid):
    """Whether the process lives (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


LOG4J = """status = error
appender.f.type = File
appender.f.name = F
appender.f.fileName = ${sys:broker.log}
appender.f.layout.type = PatternLayout
appender.f.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.f.ref = F
"""

PROPERTIES = """process.roles={roles}
node.id={node}
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXIED:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
log.dirs={directory}/{node}/data
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
message.max.bytes=2097152
"""


class Kafka:
    """One to nine brokers; the first three are controllers too. Their data lives in the directory until close(). proxied: a
    client that begins at proxied_bootstrap reaches them through `network` (proxy.Network) only. settings: more lines of the
    brokers' server.properties; what is changed in them counts from a restart on. format_options: for the tool that makes the storage.
    java: the brokers' options of Java instead of what shares their classes."""

    def __init__(self, directory, brokers=1, outlives=False, proxied=False, settings=None, format_options=(), java=None):
        self.outlives = outlives
        self.settings = settings or {}
        self.format_options = format_options
        self.directory = os.path.abspath(directory)
        self.brokers = brokers
        self.libs = jars()
        if java is None:  # Java that is told of a file which does not exist shares not even its own classes
            java = [f"-XX:SharedArchiveFile={file}" for file in (classes(self.libs),) if os.path.exists(file)]
        self.java = java
        self.pids, self.processes = {}, []
        ports = free_ports(3 * brokers)
        self.ports = {n: ports[3 * n - 3] for n in self.numbers()}
        self.controllers = {n: ports[3 * n - 2] for n in self.numbers() if n <= 3}
        self.bootstrap = ",".join(f"127.0.0.1:{p}" for p in self.ports.values())
        self.network = None
        if proxied:
            self.behind = {n: ports[3 * n - 1] for n in self.numbers()}
            self.network = Network(self.behind.values())
            self.proxied_bootstrap = ",".join(f"127.0.0.1:{p}" for p in self.network.ports)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def numbers(self):
        return range(1, self.brokers + 1)

    def start(self):
        try:
            self._format()
            for n in self.numbers():
                self._launch(n)
            for n in self.numbers():
                self._wait_ready(n)
        except BaseException:
            self.close()
            raise
        return self

    def kill(self, n=1):
        """kill -9."""
        os.kill(self.pids[n], signal.SIGKILL)
        self._wait_gone(n)

    def stop(self, n=1):
        """SIGTERM, and waits for the end: the broker hands over in an orderly way."""
        os.kill(self.pids[n], signal.SIGTERM)
        self._wait_gone(n)

    def pause(self, n=1):
        os.kill(self.pids[n], signal.SIGSTOP)

    def resume(self, n=1):
        os.kill(self.pids[n], signal.SIGCONT)

    def restart(self, *numbers):
        """Starts brokers that were stopped or killed (the first one, if none is named), with the data and the ports that they
        had."""
        for n in numbers or (1,):
            self._launch(n)
        for n in numbers or (1,):
            self._wait_ready(n)

    def set_quota(self, client_id, **rates):
        """Limits the clients of that id, in bytes a second (as producer_byte_rate)."""
        command = self._java(1, "kafka.admin.ConfigCommand", "quota.log", "--bootstrap-server", self.bootstrap, "--alter", "--add-config",
                             ",".join(f"{name}={rate}" for name, rate in rates.items()), "--entity-type", "clients", "--entity-name", client_id)
        if command.wait(START_SECONDS):
            raise RuntimeError(f"the quota could not be set: {self._tail(1, 'out')}")

    def alive(self, n=1):
        return n in self.pids and running(self.pids[n])

    def close(self):
        alive = [n for n in self.numbers() if self.alive(n)]
        for n in alive:
            os.kill(self.pids[n], signal.SIGCONT)
            os.kill(self.pids[n], signal.SIGKILL)  # nobody needs the data any more
        for n in alive:
            self._wait_gone(n)
        if self.network:
            self.network.close()
            self.network = None
        for n in self.numbers():
            shutil.rmtree(f"{self.directory}/{n}/data", ignore_errors=True)

    def _format(self):
        os.makedirs(self.directory, exist_ok=True)
        for data in glob.glob(f"{self.directory}/*/data"):
            shutil.rmtree(data)
        with open(f"{self.directory}/log4j2.properties", "w") as file:
            file.write(LOG4J)
        formats = [self._java(n, "kafka.tools.StorageTool", "format.log", "format", "-t", "privacycallworkertestsA", "-c",
                              self._properties(n), *self.format_options) for n in self.numbers()]
        for n, process in enumerate(formats, 1):
            if process.wait(START_SECONDS):
                raise RuntimeError(f"the storage of broker {n} could not be made: {self._tail(n, 'out')}")

    def _properties(self, n):
        os.makedirs(f"{self.directory}/{n}", exist_ok=True)
        listeners = advertised = f"BROKER://127.0.0.1:{self.ports[n]}"
        if self.network:
            listeners += f",PROXIED://127.0.0.1:{self.behind[n]}"
            advertised += f",PROXIED://127.0.0.1:{self.network.ports[n - 1]}"
        if n in self.controllers:
            listeners += f",CONTROLLER://127.0.0.1:{self.controllers[n]}"
        voters = ",".join(f"{i}@127.0.0.1:{p}" for i, p in self.controllers.items())
        path = f"{self.directory}/{n}/server.properties"
        with open(path, "w") as file:
            file.write(PROPERTIES.format(
                roles="broker,controller" if n in self.controllers else "broker", node=n, listeners=listeners,
                advertised=advertised, voters=voters, directory=self.directory, replicas=min(self.brokers, 3),
                in_sync=1 if self.brokers < 3 else 2))
            file.writelines(f"{key}={value}\n" for key, value in self.settings.items())
        return path

    def _java(self, n, main, log, *arguments):
        command = ["java", *JVM, *self.java, "-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={self.directory}/log4j2.properties",
                   f"-Dbroker.log={self.directory}/{n}/{log}", "-cp", f"{self.libs}/*", main, *arguments]
        with open(f"{self.directory}/{n}/out", "wb") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                    preexec_fn=None if self.outlives else end_with_parent)

    def _launch(self, n):
        log = f"{self.directory}/{n}/server.log"
        if os.path.exists(log):
            os.replace(log, f"{log}.before")  # for whoever asks what the last one did
        open(log, "w").close()
        process = self._java(n, "kafka.Kafka", "server.log", self._properties(n))
        self.processes.append(process)
        self.pids[n] = process.pid

    def _wait_ready(self, n):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if not self.alive(n):
                raise RuntimeError(f"broker {n} ended while starting: {self._tail(n, 'out')}")
            with open(f"{self.directory}/{n}/server.log", errors="replace") as log:
                if "Kafka Server started" in log.read():
                    return
            time.sleep(0.05)
        raise RuntimeError(f"broker {n} was not ready in {START_SECONDS} s: {self._tail(n, 'server.log')}")

    def _wait_gone(self, n):
        deadline = time.monotonic() + 60
        while self.alive(n):
            for process in self.processes:
                process.poll()
            if time.monotonic() > deadline:
                raise RuntimeError(f"broker {n} does not end")
            time.sleep(0.02)
        del self.pids[n]

    def _tail(self, n, name):
        with open(f"{self.directory}/{n}/{name}", errors="replace") as file:
            return file.read()[-2000:]

    def save(self):
        with open(f"{self.directory}/state.json", "w") as file:
            json.dump({"brokers": self.brokers, "pids": self.pids, "bootstrap": self.bootstrap}, file)


def state(directory):
    """What `start` has left for others: {"bootstrap": ..., "pids": ...} of a Kafka that runs, {"unavailable": why}, or None."""
    try:
        with open(f"{directory}/state.json") as file:
            found = json.load(file)
    except OSError:
        return None
    if "unavailable" in found or all(running(pid) for pid in found["pids"].values()):
        return found
    return None


def command_start(directory, brokers="1"):
    command_stop(directory)
    os.makedirs(directory, exist_ok=True)
    try:
        keep_classes(directory)
        # Nobody stops it. Where many tests run at once, it may get no CPU for the 9 s after which its partitions would have no leader.
        kafka = Kafka(directory, int(brokers), outlives=True, settings={"broker.session.timeout.ms": 120000}).start()
    except Unavailable as why:
        with open(f"{directory}/state.json", "w") as file:
            json.dump({"unavailable": str(why)}, file)
        print(f"\n*** NO APACHE KAFKA HERE, so every test that needs it is skipped: {why}\n", flush=True)
        return 1 if os.environ.get("CI") == "true" else 0
    kafka.save()
    print(kafka.bootstrap, flush=True)
    os._exit(0)  # without the warning that the broker still runs


def command_stop(directory):
    found = state(directory) or {}
    for pid in found.get("pids", {}).values():
        os.kill(pid, signal.SIGKILL)
        while running(pid):
            time.sleep(0.02)
    for data in glob.glob(f"{directory}/*/data"):
        shutil.rmtree(data, ignore_errors=True)
    if os.path.exists(f"{directory}/state.json"):
        os.unlink(f"{directory}/state.json")
    return 0


def command_with(directory, *command):
    found = state(directory) or {"unavailable": f"none was started in {directory}"}
    if "unavailable" in found:
        print(f"*** SKIPPED: no Apache Kafka here: {found['unavailable']}")
        return 1 if os.environ.get("CI") == "true" else 77
    os.environ["KAFKA_BOOTSTRAP"] = found["bootstrap"]
    os.execvp(command[0], command)


def command_jars():
    print(jars())
    return 0


if __name__ == "__main__":
    commands = {"start": command_start, "stop": command_stop, "with": command_with, "jars": command_jars}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]](*sys.argv[2:]))
