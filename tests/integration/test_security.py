"""TLS, SASL/SCRAM and ACLs: the documented minimum suffices, and each right taken away is named, shows, and can be given back."""
import json
import os
import re
import shutil
import struct
import subprocess
import time
import unittest

import kafka as kafka_module
from case import BUILD, KafkaCase, main, wait_until
from programs import ROOT
from records import _Answer, _ask, _string, call

USER, PASSWORD = "worker", "sasl-secret"
SECOND_USER, BRIEF_SECONDS = "worker-2", 2
TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5  # kinds of resources, as the protocol numbers them
READ, WRITE, DESCRIBE, LITERAL, PREFIXED = 3, 4, 8, 3, 4

# Listeners. What a test changes, it changes on a listener of its own, so that it need not change it back.
SASL = ("SECURE", "PASSWORD", "AUTHORITY", "BRIEF")
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{{}}";'

SETTINGS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",  # the tests themselves and the broker, without TLS
    "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,MUTUAL:SSL," + ",".join(f"{name}:SASL_SSL" for name in SASL),
    "listener.name.secure.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
    "listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    **{f"listener.name.{name.lower()}.plain.sasl.jaas.config": PLAIN.format(PASSWORD) for name in SASL},
    **{f"listener.name.{name.lower()}.sasl.enabled.mechanisms": "PLAIN" for name in SASL[1:]},
    "listener.name.brief.plain.sasl.jaas.config": PLAIN.format(PASSWORD)[:-1] + f' user_{SECOND_USER}="another-secret";',
    "listener.name.brief.plain.connections.max.reauth.ms": str(BRIEF_SECONDS * 1000),
    "listener.name.mutual.ssl.truststore.type": "PEM",
    "listener.name.mutual.ssl.client.auth": "required",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",  # so long a broker that was killed must wait at its next start
}


def make_certificates(directory):
    """ca.pem; broker.pem, with key and certificate for 127.0.0.1; and a worker's certificate and key."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=directory, capture_output=True)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA")
    put(f"{directory}/san", "subjectAltName=IP:127.0.0.1\n")
    for who in ("broker", USER):
        openssl("req", *curve, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{who}.crt",
                "-days", "2", "-extfile", "san")
    put(f"{directory}/broker.pem", "".join(read(f"{directory}/{part}") for part in ("broker.key", "broker.crt", "ca.pem")))


def put(path, text):
    """In one step, as Kubernetes does."""
    with open(path + ".new", "w") as out:
        out.write(text)
    os.rename(path + ".new", path)


def read(path):
    with open(path) as file:
        return file.read()


class Security(KafkaCase):
    PARTITIONS = 2

    @classmethod
    def setUpClass(cls):
        directory = os.path.join(BUILD, "tests", "runs", "kafka-Security")
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        make_certificates(directory)
        cls.other = f"{directory}/other"  # of another authority
        os.mkdir(cls.other)
        make_certificates(cls.other)
        put(f"{directory}/both.pem", read(f"{directory}/ca.pem") + read(f"{cls.other}/ca.pem"))
        try:
            cls.kafka = kafka_module.Kafka(directory, format_options=("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"))
        except kafka_module.Unavailable as why:
            raise unittest.SkipTest(f"no Apache Kafka here: {why}") from None
        names = (*SASL, "MUTUAL")
        cls.address = {name: f"127.0.0.1:{port}" for name, port in zip(names, kafka_module.free_ports(len(names)))}
        listeners = ",".join([f"BROKER://127.0.0.1:{cls.kafka.ports[1]}", *(f"{name}://{at}" for name, at in cls.address.items())])
        cls.kafka.settings = {**SETTINGS, "listener.name.mutual.ssl.truststore.location": f"{directory}/both.pem",
                              "listeners": f"{listeners},CONTROLLER://127.0.0.1:{cls.kafka.controllers[1]}",
                              "advertised.listeners": listeners}
        for name in names:
            cls.kafka.settings[f"listener.name.{name.lower()}.ssl.keystore.type"] = "PEM"
            cls.kafka.settings[f"listener.name.{name.lower()}.ssl.keystore.location"] = f"{directory}/broker.pem"
        cls.addClassCleanup(cls.kafka.close)
        cls.kafka.start()
        cls.bootstrap = cls.kafka.bootstrap
        cls.ca, cls.first = f"{directory}/ca.pem", directory

    def setUp(self):
        super().setUp()
        self.sent = 0
        self.principal = f"User:{USER}"
        topics = self.names
        self.rights = {
            "requests": (TOPIC, topics["call.requests"], LITERAL, READ),
            "results": (TOPIC, topics["call.results"], LITERAL, WRITE),
            "dead letters": (TOPIC, topics["dead.letters"], LITERAL, WRITE),
            "group": (GROUP, self.group, LITERAL, READ),
            "transactions": (TRANSACTIONAL_ID, self.group, PREFIXED, WRITE),
        }
        self.more_for_redrive = {
            "letters": (TOPIC, topics["dead.letters"], LITERAL, READ),
            "note": (GROUP, f"{self.group}-redrive", LITERAL, READ),
            "calls": (TOPIC, topics["call.requests"], LITERAL, WRITE),
        }
        self.recordings = {
            "recording requests": (TOPIC, topics["recording.requests"], LITERAL, READ),
            "recording results": (TOPIC, topics["recording.results"], LITERAL, WRITE),
            "recording group": (GROUP, f"{self.group}-recordings", LITERAL, READ),
        }
        self.literal = {name: (TRANSACTIONAL_ID, f"{self.group}:{name}", LITERAL, WRITE) for name in ("one", "two")}

    def acl(self, key, version_one, *names):
        """CreateAcls (30) or DeleteAcls (31), spoken by hand as Debian's confluent-kafka cannot."""
        body = struct.pack(">i", len(names))
        for name in names:
            kind, resource, pattern, right = self.right(name)
            body += struct.pack(">b", kind) + _string(resource) + struct.pack(">b", pattern) + _string(self.principal) + _string("*")
            body += struct.pack(">bb", right, 3)
        answer = _Answer(_ask(self.bootstrap, key, version_one, body))
        answer.int32()
        for _ in range(answer.int32()):
            error, text = answer.int16(), answer.string()
            self.assertEqual(0, error, text)
            if key == 31:
                self.assertEqual(1, answer.int32(), "not one ACL was deleted")
                break

    def right(self, name):
        return {**self.rights, **self.more_for_redrive, **self.recordings, **self.literal}[name]

    def known_rights(self):
        """What the broker lets the principal do, by DescribeAcls (29): it learns of a change a moment after the controller."""
        any_name = struct.pack(">h", -1)
        body = struct.pack(">b", 1) + any_name + struct.pack(">b", 1) + _string(self.principal) + any_name + struct.pack(">bb", 1, 1)
        answer = _Answer(_ask(self.bootstrap, 29, 1, body))
        answer.int32()
        error, text = answer.int16(), answer.string()
        self.assertEqual(0, error, text)
        known = set()
        for _ in range(answer.int32()):
            resource = answer.int8(), answer.string(), answer.int8()
            for _ in range(answer.int32()):
                answer.string(), answer.string()
                known.add((*resource, answer.int8()))
                answer.int8()
        return known

    def give(self, *names):
        self.acl(30, 1, *names)
        given = {self.right(name) for name in names}
        wait_until(lambda: given <= self.known_rights(), 30, f"the broker does not know that {names} are given")

    def take(self, name):
        self.acl(31, 1, name)
        wait_until(lambda: self.right(name) not in self.known_rights(), 30, f"the broker does not know that {name} is taken away")

    def secure_settings(self):
        return {"kafka.bootstrap.servers": self.address["SECURE"], "kafka.security.protocol": "SASL_SSL", "kafka.ssl.ca.location": self.ca,
                "kafka.sasl.mechanism": "PLAIN", "kafka.sasl.username": USER, "kafka.sasl.password": PASSWORD}

    def secured(self, sandbox, options=None, **more):
        return self.worker(sandbox, {**self.secure_settings(), **(options or {})}, **more)

    def ask_and_wait(self, sandbox, count=4, seconds=60):
        self.requests.send_calls(range(self.sent, self.sent + count), partitions=2)
        self.sent += count
        sandbox.wait_calls(self.sent, seconds)
        self.assertEqual({"succeeded": self.sent}, self.statuses(self.topic("call.results").results(self.sent, seconds)))

    def wait_ready(self, worker, ready, seconds=30):
        wait_until(lambda: (worker.get("/readyz")[0] == 200) == ready, seconds, f"ready: {ready}")

    def wait_named(self, worker, right, what, seconds=40, after=0):
        """One error line names the right and what it is on."""
        return worker.wait_log(lambda e: e["log.level"] == "error" and right in e["message"] and what in e["message"], seconds, after)

    def test_the_page_gives_these_rights(self):
        """The commands of docs/kafka.md give what is tried here, for both jobs, and nothing else."""
        kinds, rights, told = {"topic": TOPIC, "group": GROUP, "transactional-id": TRANSACTIONAL_ID}, {"Read": READ, "Write": WRITE}, set()
        for command in re.findall(r"(?m)^acl (--.*)$", read(f"{ROOT}/docs/kafka.md")):
            pattern = PREFIXED if "--resource-pattern-type prefixed" in command else LITERAL
            right = rights[re.search(r"--operation (\w+)", command).group(1)]
            told |= {(kinds[kind], name, pattern, right) for kind, name in re.findall(r"--(topic|group|transactional-id) (\S+)", command)}
        names = {self.names["call.requests"]: ("call-requests", "recording-requests"), self.names["dead.letters"]: ("privacy-call-dead-letters",),
                 self.names["call.results"]: ("call-results", "recording-results"), f"{self.group}-redrive": ("privacy-call-worker-redrive",)}
        tried = {(kind, name, pattern, right) for kind, here, pattern, right in (*self.rights.values(), *self.more_for_redrive.values())
                 for name in names.get(here) or ("privacy-call-worker", *(["privacy-call-worker-recordings"] if kind == GROUP else []))}
        self.assertEqual(tried, told)

    def test_the_minimum_suffices(self):
        """A takeover too: the dead owner's transactional id begins with the group."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        worker = self.secured(sandbox, name="one")
        self.ask_and_wait(sandbox)
        self.requests.send(b"no JSON", None)
        self.requests.flush()
        self.dead_letters(1)
        worker.kill()
        worker = self.secured(sandbox, name="two")
        self.ask_and_wait(sandbox)
        errors = [e["message"] for e in worker.events() if e["log.level"] == "error"]
        self.assertEqual([], errors)
        self.assertEqual(0, worker.terminate())

    def test_what_redrive_needs(self):
        self.give(*self.rights, *self.more_for_redrive)
        worker = self.secured(self.sandbox(), name="one")
        self.requests.send(b"no JSON", "k")
        self.requests.flush()
        self.dead_letters(1)
        self.assertEqual(0, worker.terminate())
        command = [f"{BUILD}/privacy-call-worker", "redrive"]
        for key, value in {**self.secure_settings(), "platform.url": "https://p", "platform.token": "t", "platform.app.id": "a",
                           "kafka.group.id": self.group, **{f"topic.{role}": name for role, name in self.names.items()}}.items():
            command += ["-o", f"{key}={value}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual((0, "redriven 1\n"), (run.returncode, run.stdout), run.stderr)

    def test_scram(self):
        """Works from librdkafka 2.6.1 on (whose metrics can be pushed); before, the error says that it cannot."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        worker = self.secured(sandbox, {"kafka.sasl.mechanism": "SCRAM-SHA-512"})
        show = [f"{BUILD}/privacy-call-worker", "--print-config"]
        for key, value in {"kafka.bootstrap.servers": "k:1", "platform.url": "https://p", "platform.token": "t", "platform.app.id": "a"}.items():
            show += ["-o", f"{key}={value}"]
        if "kafka.enable.metrics.push" in subprocess.run(show, capture_output=True, text=True, check=True).stdout:
            self.ask_and_wait(sandbox)
        else:
            worker.wait_log(lambda e: e["log.level"] == "error" and "librdkafka before 2.6.1" in e["message"])
            self.assertEqual(503, worker.get("/readyz")[0])

    def test_missing_from_the_start(self):
        """Each is named once, the worker is not ready, and goes on as soon as it has the right."""
        sandbox = self.sandbox()
        names = {"requests": ("READ", self.names["call.requests"]), "results": ("WRITE", self.names["call.results"]),
                 "dead letters": ("WRITE", self.names["dead.letters"]), "group": ("READ", self.group),
                 "transactions": ("WRITE", "transactional ids")}
        self.give(*names)
        for number, (missing, (right, what)) in enumerate(names.items()):
            with self.subTest(missing):
                self.take(missing)
                worker = self.secured(sandbox, name=f"worker-{number}")
                self.wait_named(worker, right, what)
                self.check_unready(worker)
                self.give(missing)
                self.wait_ready(worker, True)
                self.ask_and_wait(sandbox)
                said = [e for e in worker.events() if e["log.level"] == "error"]
                self.assertLessEqual(len(said), 2, said)
                self.assertEqual(0, worker.terminate())

    def test_what_both_jobs_lack_is_said_once(self):
        self.give(*(name for name in self.rights if name != "dead letters"), *self.recordings)
        worker = self.secured(self.sandbox(), {"topic.recording.requests": self.names["recording.requests"]})
        self.wait_named(worker, "WRITE", self.names["dead.letters"])
        self.give("dead letters")
        self.wait_ready(worker, True)
        self.assertEqual(1, len([e for e in worker.events() if e["log.level"] == "error"]))
        self.assertEqual(0, worker.terminate())

    def test_what_can_be_found_may_not_be_written(self):
        """Metadata that can be read, and dead letters that are taken, prove no right to write results: not ready until it is given."""
        self.rights["found"] = (TOPIC, self.names["call.results"], LITERAL, DESCRIBE)
        self.give("requests", "dead letters", "group", "transactions", "found")
        sandbox = self.sandbox()
        worker = self.secured(sandbox)
        self.requests.send(b"no JSON", "k9", partition=0)  # a result and a dead letter
        self.requests.send(call(0, "k0"), "k0", partition=0)
        self.requests.flush()
        self.wait_named(worker, "WRITE", self.names["call.results"])
        other = worker.wait_log("Operation not attempted")  # which is no fault of the other topic
        self.assertEqual(("debug", True), (other["log.level"], self.names["dead.letters"] in other["message"]))
        self.wait_ready(worker, False)
        self.requests.send(b"no JSON", None, partition=1)  # is not held up
        self.requests.flush()
        self.dead_letters(1)
        self.stay_unready(6, worker)
        self.give("results")
        self.wait_ready(worker, True)
        self.assertEqual({"invalid": 1, "succeeded": 1}, self.statuses(self.topic("call.results").results(2, 60)))
        self.assertEqual(0, worker.terminate())

    def test_taken_away_while_it_runs(self):
        sandbox = self.sandbox()
        self.give(*self.rights)
        worker = self.secured(sandbox, {"kafka.topic.metadata.refresh.interval.ms": "1000"})
        self.ask_and_wait(sandbox)
        group = ("group", "READ", f"group {self.group}")
        for missing, right, what, busy in (("requests", "READ", self.names["call.requests"], False), (*group, False), (*group, True)):
            if busy:  # another process, as one says it once a minute
                self.assertEqual(0, worker.terminate())
                worker = self.secured(sandbox)
                self.wait_ready(worker, True)
            with self.subTest(missing, busy=busy):
                at = worker.logged()
                self.take(missing)
                if busy:
                    self.ask_without_waiting(2)
                self.wait_named(worker, right, what, after=at)
                self.check_unready(worker)
                if not busy:  # nothing makes it blink, not even that the partitions are lost
                    wait_until(lambda: self.check_unready(worker) or self.said_lost(worker, at), what="the partitions are lost")
                    self.check_unready(worker)
                said = [e["message"] for e in worker.events()[at:] if e["log.level"] == "error"]
                self.assertEqual([], [message for message in said if right not in message or what not in message])
                self.give(missing)
                self.wait_ready(worker, True, 60)  # though nothing is there to be read
                self.ask_and_wait(sandbox, seconds=90)
        self.assertEqual(0, worker.terminate())

    def check_unready(self, worker):
        """What the log says, /readyz says at once."""
        self.assertEqual((503, "Kafka refuses a right that the worker needs; the log says which\n"), worker.get("/readyz"))

    def said_lost(self, worker, after):
        return any(e["message"].startswith("lost: ") for e in worker.events()[after:])

    def test_an_idle_member_that_may_not_read_its_group(self):
        """It looks no longer ready long before its session is over, and goes on as the member that it was."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        worker = self.secured(sandbox, {"kafka.session.timeout.ms": "60000"})
        self.ask_and_wait(sandbox)
        at = worker.logged()
        self.take("group")
        self.wait_named(worker, "READ", f"group {self.group}", after=at)
        self.check_unready(worker)
        self.give("group")
        self.wait_ready(worker, True)
        self.ask_and_wait(sandbox)
        self.assertFalse(self.said_lost(worker, at))
        self.assertEqual(0, worker.terminate())

    def test_wrong_password_and_wrong_ca(self):
        """Said in the broker's or the library's words, once for all clients of both jobs, without the secret; not ready. A password is
        the worker's: what each of several brokers refuses is said once. The right CA in the same file is enough: each client takes it."""
        sandbox = self.sandbox()
        path = f"{self.directory}/kafka-ca.pem"
        put(path, read(sandbox.ca))
        jobs = {"topic.recording.requests": self.names["recording.requests"]}
        wrong = self.secured(sandbox, {**jobs, "kafka.sasl.password": "not-the-password",
                                       "kafka.bootstrap.servers": f"{self.address['SECURE']},{self.address['PASSWORD']}"}, name="wrong")
        foreign = self.secured(sandbox, {**jobs, "kafka.ssl.ca.location": path}, name="foreign")
        for worker, words in ((wrong, "uthentication"), (foreign, "; see kafka.ssl.ca.location")):
            said = worker.wait_log(lambda e: e["log.level"] == "error" and words in e["message"])
            self.assertNotIn("not-the-password", json.dumps(said))
        self.stay_unready(8, wrong, foreign)  # each client has tried by then, also those that only read
        for worker in (wrong, foreign):
            said = [(e["log.level"], e["message"]) for e in worker.events() if e["log.level"] in ("warn", "error")]
            self.assertEqual(["error"], [level for level, _ in said], said)
        self.give(*self.rights, *self.recordings)
        put(path, read(self.ca))
        self.ask_and_wait(sandbox)
        self.assertEqual(0, foreign.terminate())

    def stay_unready(self, seconds, *workers):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for worker in workers:
                self.assertEqual(503, worker.get("/readyz")[0])
            time.sleep(0.05)

    def restart_broker(self, settings):
        """kill -9, which cuts all connections, and a start with other settings."""
        self.kafka.kill()
        self.kafka.settings = {**self.kafka.settings, **settings}
        self.kafka.restart()

    def failures(self, worker):
        return float(next(line for line in worker.get("/metrics")[1].splitlines()
                          if line.startswith("privacy_call_reload_failures_total")).split()[-1])

    def ask_without_waiting(self, count):
        self.requests.send_calls(range(self.sent, self.sent + count), partitions=2)
        self.sent += count

    def test_another_password(self):
        """Changed in its file and at the broker: further connections are made with it, without a restart and without a doubt."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        path = f"{self.directory}/password"
        put(path, f"{PASSWORD}\n")
        worker = self.secured(sandbox, {"kafka.bootstrap.servers": self.address["PASSWORD"], "kafka.sasl.password": None,
                                        "kafka.sasl.password.file": path})
        self.ask_and_wait(sandbox)
        self.ask_without_waiting(4)
        put(path, "another-secret\n")
        self.restart_broker({"listener.name.password.plain.sasl.jaas.config": PLAIN.format("another-secret")})
        self.ask_and_wait(sandbox, seconds=90)
        put(path, "")  # what cannot be used changes nothing
        worker.wait_log(lambda e: e["log.level"] == "error" and "kafka.sasl.password.file" in e["message"])
        self.assertGreaterEqual(self.failures(worker), 1)
        self.ask_and_wait(sandbox)
        self.assertEqual(self.sent, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())
        self.assertNotIn("another-secret", "\n".join(worker.lines["stderr"]))

    def test_another_user(self):
        """Kafka keeps one SCRAM password for each user, so a login is rotated by a second user. Here a login counts for 2 s, and then the broker cuts
        the connections of a client that does not log in again: nothing is refused or in doubt. At the end the first user has no rights any more."""
        self.give(*self.rights)
        self.principal = f"User:{SECOND_USER}"
        self.give(*self.rights)
        sandbox = self.sandbox("latency=100-300ms")
        login = f"{self.directory}/login"
        logins = {USER: PASSWORD, SECOND_USER: "another-secret"}
        for user, password in logins.items():
            os.mkdir(f"{login}-{user}")
            put(f"{login}-{user}/user", f"{user}\n")
            put(f"{login}-{user}/password", f"{password}\n")
        os.symlink(f"{login}-{USER}", login)
        worker = self.secured(sandbox, {"kafka.bootstrap.servers": self.address["BRIEF"], "kafka.sasl.username": None, "kafka.sasl.password": None,
                                        "kafka.sasl.username.file": f"{login}/user", "kafka.sasl.password.file": f"{login}/password"})
        self.ask_for(2 * BRIEF_SECONDS, sandbox)
        os.symlink(f"{login}-{SECOND_USER}", f"{login}.new")  # both files at once, as Kubernetes does
        os.rename(f"{login}.new", login)
        worker.wait_log(lambda e: "new user and password" in e["message"])
        self.ask_for(2 * BRIEF_SECONDS, sandbox)
        self.principal = f"User:{USER}"
        for name in self.rights:
            self.take(name)
        self.ask_for(2 * BRIEF_SECONDS, sandbox)
        self.assertEqual(self.sent, len(sandbox.calls()))
        self.assertEqual([], [e["message"] for e in worker.events()
                              if e["log.level"] == "error" and re.search("uthenti|uthoriz|permission", e["message"])])
        self.assertEqual(0, worker.terminate())

    def ask_for(self, seconds, sandbox):
        """Requests all the time, so that connections are in use when their logins end."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.ask_without_waiting(2)
            time.sleep(0.1)
        self.ask_and_wait(sandbox)

    def test_another_authority(self):
        """A file that librdkafka reads: the clients are made anew in good order, once a minute at most, and never with what is no use."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        path, other = f"{self.directory}/kafka-ca.pem", self.other
        put(path, read(self.ca))
        worker = self.secured(sandbox, {"kafka.bootstrap.servers": self.address["AUTHORITY"], "kafka.ssl.ca.location": path})
        self.ask_and_wait(sandbox)
        at = worker.logged()
        put(path, read(self.ca) + read(f"{other}/ca.pem"))
        self.ask_without_waiting(20)
        worker.wait_log("with new clients", after=at)
        self.ask_without_waiting(20)
        worker.wait_assigned(after=at)
        self.ask_and_wait(sandbox)
        self.restart_broker({"listener.name.authority.ssl.keystore.location": f"{other}/broker.pem"})
        self.ask_and_wait(sandbox, seconds=90)
        at = worker.logged()
        put(path, read(f"{other}/ca.pem"))
        worker.wait_log("files of kafka", after=at)
        put(path, read(self.ca)[:200])
        worker.wait_log(lambda e: e["log.level"] == "error" and "ssl.ca.location" in e["message"])
        self.ask_and_wait(sandbox)
        self.assertEqual(1, len([e for e in worker.events() if "with new clients" in e["message"]]))
        self.assertEqual(self.sent, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def said_of_files(self, worker):
        return [e["message"] for e in worker.events() if e["log.level"] == "error" and "a file that has changed cannot be used" in e["message"]]

    def test_client_certificates(self):
        """The certificate's name has the rights. Another authority, key and certificate: nothing is lost or doubtful, and what is
        half done or no use is one error that names the file."""
        self.principal = f"User:CN={USER}"
        self.give(*self.rights)
        sandbox = self.sandbox()
        other = self.other
        paths = {key: f"{self.directory}/{key}.pem" for key in ("ca", "certificate", "key")}
        first = {"ca": read(self.ca), "certificate": read(f"{self.first}/{USER}.crt"), "key": read(f"{self.first}/{USER}.key")}
        for key, path in paths.items():
            put(path, first[key])
        worker = self.worker(sandbox, {"kafka.bootstrap.servers": self.address["MUTUAL"], "kafka.security.protocol": "SSL",
                                       **{f"kafka.ssl.{key}.location": path for key, path in paths.items()}})
        self.ask_and_wait(sandbox)
        at = worker.logged()
        put(paths["certificate"], read(f"{other}/{USER}.crt"))  # which the key does not fit yet
        self.ask_without_waiting(4)
        said = worker.wait_log(lambda e: e["log.level"] == "error" and "cannot be used" in e["message"], after=at)
        self.assertIn(paths["key"], said["message"])
        self.assertIn(paths["certificate"], said["message"])
        for bad in (first["certificate"][:200], "", None):  # the old goes on, and a minute has one line
            before = self.failures(worker)
            put(paths["certificate"], bad) if bad is not None else os.unlink(paths["certificate"])
            wait_until(lambda: self.failures(worker) > before, 30, "a failure is counted")
            self.ask_and_wait(sandbox)
        self.assertEqual(1, len(self.said_of_files(worker)), self.said_of_files(worker))
        put(paths["certificate"], read(f"{other}/{USER}.crt"))
        put(paths["ca"], read(f"{self.first}/both.pem"))
        put(paths["key"], read(f"{other}/{USER}.key"))
        self.ask_without_waiting(20)
        worker.wait_log("with new clients", after=at)
        worker.wait_assigned(after=at)
        self.ask_and_wait(sandbox)
        self.restart_broker({"listener.name.mutual.ssl.truststore.location": f"{other}/ca.pem"})  # the first authority counts no more
        self.ask_and_wait(sandbox, seconds=90)
        self.assertEqual(self.sent, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())

    def test_files_that_cannot_be_used_are_named(self):
        """Without a broker: librdkafka names a setting, the error its file too."""
        half = f"{self.directory}/half.pem"
        put(half, read(self.ca)[:200])
        good = {"ca": self.ca, "certificate": f"{self.first}/{USER}.crt", "key": f"{self.first}/{USER}.key"}
        for change in ({"ca": half}, {"certificate": half}, {"key": half}, {"key": f"{self.first}/broker.key"}, {"crl": half}):
            with self.subTest(change):
                command = [f"{BUILD}/privacy-call-worker", "--check"]
                for key, value in {"kafka.bootstrap.servers": "k:1", "platform.url": "https://p", "platform.token": "t", "platform.app.id": "a",
                                   "kafka.security.protocol": "SSL",
                                   **{f"kafka.ssl.{k}.location": path for k, path in {**good, **change}.items()}}.items():
                    command += ["-o", f"{key}={value}"]
                run = subprocess.run(command, capture_output=True, text=True, timeout=60)
                self.assertEqual(2, run.returncode, run.stderr)
                self.assertIn(*change.values(), run.stderr)

    def several(self, **options):
        """Two workers of one group see the same new authorities: each makes its clients anew, and nothing is doubtful."""
        self.give(*self.rights)
        sandbox = self.sandbox()
        path = f"{self.directory}/kafka-ca.pem"
        put(path, read(self.ca))
        workers = [self.secured(sandbox, {"kafka.ssl.ca.location": path,
                                          **{key: value.format(name) for key, value in options.items()}}, name=name)
                   for name in ("one", "two")]
        self.ask_and_wait(sandbox)
        at = [worker.logged() for worker in workers]
        put(path, read(self.ca) * 2)
        self.ask_without_waiting(40)
        for worker, after in zip(workers, at):
            worker.wait_log("with new clients", after=after)
        self.ask_and_wait(sandbox, seconds=90)
        self.assertEqual(self.sent, len(sandbox.calls()))
        for worker in workers:
            self.assertEqual(1, len([e for e in worker.events() if "with new clients" in e["message"]]))
            self.assertEqual([], [e["message"] for e in worker.events() if e["log.level"] == "error"])
            self.assertEqual(0, worker.terminate())

    def test_several_workers(self):
        self.several()

    def test_several_workers_with_eager_assignment(self):
        self.several(**{"kafka.partition.assignment.strategy": "range"})

    def test_several_static_members(self):
        self.several(**{"kafka.group.instance.id": "{}", "kafka.session.timeout.ms": "6000", "kafka.heartbeat.interval.ms": "1000"})

    def command(self, *words):
        command = [f"{BUILD}/privacy-call-worker", *words]
        for key, value in {**self.secure_settings(), "platform.url": "https://p", "platform.token": "t", "platform.app.id": "a",
                           "kafka.group.id": self.group, "topic.recording.requests": "",
                           **{f"topic.{role}": name for role, name in self.names.items() if role != "recording.requests"}}.items():
            command += ["-o", f"{key}={value}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def check_refused(self, right, what, run):
        """Within seconds, in one line, with the right that is missing, what it is on, and what to do."""
        self.assertEqual(1, run.returncode, run.stdout)
        self.assertEqual(1, len(run.stderr.splitlines()), run.stderr)
        self.assertIn("uthorization failed", run.stderr)
        self.assertIn(f"give this user the right {right} on ", run.stderr)
        self.assertIn(what, run.stderr)

    def test_what_ledger_needs(self):
        """READ on the request topic and on the group, and nothing else, to show and to repair. Who may write the topic may find it, so
        that only its records are refused."""
        requests, group = self.names["call.requests"], self.group
        self.give("requests", "group")
        self.requests.send(call(1), "k", partition=0)
        self.requests.flush()
        self.offsets().commit(requests, 1, 0, "consumed by another program")
        run = self.command("ledger")
        self.assertIn("HALTED", run.stdout, run.stderr)
        repair = ("ledger", "repair", "--topic", requests, "--partition", "1", "--yes")
        for missing, what, more in (("requests", requests, ()), ("requests", requests, ("calls",)), ("group", group, ())):
            with self.subTest(missing, more=more):
                self.take(missing)
                self.give(*more)
                runs = self.command("ledger"), self.command(*repair)
                self.give(missing)
                for run in runs:
                    self.check_refused("READ", what, run)
        run = self.command(*repair)
        self.assertEqual(0, run.returncode, run.stderr)
        run = self.command("ledger")
        self.assertEqual(0, run.returncode, run.stderr)

    def test_redrive_names_what_it_lacks(self):
        """Each right, whether the topic that is to be written can be found or not; then it goes on where it was."""
        dead, requests = self.names["dead.letters"], self.names["call.requests"]
        needs = {"letters": ("READ", dead), "note": ("READ", f"{self.group}-redrive"),
                 "transactions": ("WRITE", f"{self.group}-redrive:redrive"), "calls": ("WRITE", f"on topic {requests}")}
        self.give(*self.rights, *self.more_for_redrive)
        worker = self.secured(self.sandbox(), name="one")
        self.requests.send(b"no JSON", "k")
        self.requests.flush()
        self.dead_letters(1)
        self.assertEqual(0, worker.terminate())
        for missing, (right, what) in needs.items():
            with self.subTest(missing):
                self.take(missing)
                run = self.command("redrive")
                self.give(missing)
                self.check_refused(right, what, run)
        for missing in ("calls", "requests"):
            self.take(missing)
        self.check_refused("WRITE", f"on topic {requests}", self.command("redrive"))
        self.give("calls")
        run = self.command("redrive")
        self.assertEqual((0, "redriven 1\n"), (run.returncode, run.stdout), run.stderr)

    def test_a_literal_transactional_id(self):
        """It suffices for the worker of that name. The successor of another name is refused the dead owner's id: one error says so, and
        nothing is called until the right is given; then the takeover ends."""
        self.give("requests", "results", "dead letters", "group", *self.literal)
        sandbox = self.sandbox()
        worker = self.secured(sandbox, name="one")
        self.ask_and_wait(sandbox)
        worker.kill()
        self.take("one")
        worker = self.secured(sandbox, name="two")
        self.ask_without_waiting(4)
        said = self.wait_named(worker, "WRITE", f"{self.group}:one")
        self.assertIn("prefixed", said["message"])
        self.assertEqual(self.sent - 4, len(sandbox.calls()))
        self.assertEqual(1, len([e for e in worker.events() if e["log.level"] == "error"]))
        self.give("transactions")
        self.ask_and_wait(sandbox)
        self.assertEqual(self.sent, len(sandbox.calls()))
        self.assertEqual(0, worker.terminate())


if __name__ == "__main__":
    main()
