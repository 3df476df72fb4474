"""The command line and the configuration, without Kafka and platform."""
import os
import pty
import re
import select
import socket
import subprocess

from case import BUILD, ProgramCase, main
from programs import ROOT

GOOD = {"kafka.bootstrap.servers": "127.0.0.1:1", "platform.url": "https://127.0.0.1:1", "platform.token": "a-secret-token",
        "platform.app.id": "an-app"}
KEYS = """kafka.bootstrap.servers kafka.group.id recording.group.id instance.id topic.call.requests topic.call.results topic.recording.requests
topic.recording.results topic.dead.letters kafka.session.timeout.ms kafka.heartbeat.interval.ms kafka.transaction.timeout.ms
partition.window partition.window.bytes memory.max.bytes recording.group.id platform.url platform.version platform.token platform.app.id platform.utc.offset
platform.connect.timeout.ms platform.timeout.ms platform.max.in.flight recording.max.in.flight platform.answer.max.bytes
platform.rate.per.second platform.breaker.failures platform.breaker.open.ms platform.auth.flags event.max.bytes call.max.age.ms
call.deadline.ms call.retry.flags recording.attempts recording.retry.flags recording.url.member
recording.url.hosts recording.url.allow.private recording.url.allow.http recording.store recording.max.bytes
recording.timeout.ms drain.timeout.ms http.listen http.hosts log.level log.format""".split()
DEFAULTS = {"kafka.group.id": "privacy-call-worker", "recording.group.id": "privacy-call-worker-recordings", "topic.call.requests": "call-requests", "topic.call.results": "call-results",
            "topic.dead.letters": "privacy-call-dead-letters", "partition.window": "10000", "partition.window.bytes": "67108864",
            "platform.version": "20171220", "platform.utc.offset": "+08:00",
            "platform.connect.timeout.ms": "3000", "platform.timeout.ms": "10000", "platform.max.in.flight": "256",
            "recording.max.in.flight": "32", "recording.store": "none", "call.max.age.ms": "900000", "call.deadline.ms": "60000", "drain.timeout.ms": "15000",
            "http.listen": "127.0.0.1:9464", "log.level": "info", "event.max.bytes": "65536"}


class CommandLine(ProgramCase):
    def run_worker(self, *arguments, options=GOOD, environment=None, file=None):
        command = [f"{BUILD}/privacy-call-worker", *arguments]
        if file is not None:
            path = f"{self.directory}/worker.conf"
            with open(path, "w") as out:
                out.write(file)
            command += ["-c", path]
        for key, value in (options or {}).items():
            command += ["-o", f"{key}={value}"]
        env = {k: v for k, v in os.environ.items() if not k.startswith("PRIVACY_CALL_")}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env={**env, **(environment or {})}, cwd=self.directory)

    def configuration(self, **more):
        run = self.run_worker("--print-config", **more)
        self.assertEqual(0, run.returncode, run.stderr)
        lines = {}
        for line in run.stdout.splitlines():
            match = re.match(r"(\S+) = (.*?)\s+# (.*)$", line)
            self.assertTrue(match, line)
            self.assertNotIn(match.group(1), lines)
            lines[match.group(1)] = (match.group(2), match.group(3))
        return lines

    def refused(self, *words, **more):
        """--check says 2, and each of the words stands in what it prints."""
        run = self.run_worker("--check", **more)
        self.assertEqual(2, run.returncode, (words, run.stdout, run.stderr))
        for word in words:
            self.assertIn(word, run.stderr)
        return run.stderr

    def test_help_and_version(self):
        self.assertEqual(0, self.run_worker("--help", options=None).returncode)
        self.assertIn("usage", self.run_worker("--help", options=None).stdout.lower())
        self.assertRegex(self.run_worker("--version", options=None).stdout, r"^privacy-call-worker \d+\.\d+")
        self.assertEqual(2, self.run_worker("--no-such-option", options=None).returncode)
        self.assertEqual(2, self.run_worker("surplus").returncode)
        self.assertEqual(2, self.run_worker("-o", "no-equals-sign").returncode)

    def test_check(self):
        run = self.run_worker("--check")
        self.assertEqual(0, run.returncode, run.stderr)
        self.refused("kafka.bootstrap.servers", "platform.url", "platform.token", "platform.app.id", options=None)

    def test_shipped_file(self):
        run = self.run_worker("--check", "-c", f"{ROOT}/config/privacy-call-worker.conf")
        self.assertEqual(0, run.returncode, run.stderr)

    def test_every_key_and_default(self):
        found = self.configuration()
        self.assertEqual([], [key for key in KEYS if key not in found])
        for key, value in DEFAULTS.items():
            self.assertEqual((value, "default"), found[key], key)
        self.assertEqual(socket.gethostname(), found["instance.id"][0])

    def test_secrets(self):
        run = self.run_worker("--print-config", options={**GOOD, "kafka.sasl.password": "pa55", "kafka.ssl.key.password": "pa66"})
        self.assertEqual(0, run.returncode, run.stderr)
        for secret in ("a-secret-token", "pa55", "pa66"):
            self.assertNotIn(secret, run.stdout + run.stderr)
        self.assertRegex(run.stdout, r"(?m)^platform\.token = \*\*\*\s+# ")
        self.assertRegex(run.stdout, r"(?m)^kafka\.sasl\.password = \*\*\*\s+# ")

    def test_precedence_and_origin(self):
        file = "# a comment\n\nplatform.timeout.ms = 4000\nplatform.max.in.flight = 7\nlog.level = warn\n"
        environment = {"PRIVACY_CALL_PLATFORM_TIMEOUT_MS": "5000", "PRIVACY_CALL_PLATFORM_MAX_IN_FLIGHT": "8"}
        found = self.configuration(file=file, environment=environment, options={**GOOD, "platform.timeout.ms": "6000"})
        self.assertEqual("6000", found["platform.timeout.ms"][0])
        self.assertEqual("8", found["platform.max.in.flight"][0])
        self.assertEqual("environment", found["platform.max.in.flight"][1])
        self.assertEqual("warn", found["log.level"][0])
        self.assertIn("worker.conf:5", found["log.level"][1])

    def test_value_from_a_file(self):
        with open(f"{self.directory}/token", "w") as out:
            out.write("from-the-file\n")
        options = {k: v for k, v in GOOD.items() if k != "platform.token"}
        run = self.run_worker("--check", options={**options, "platform.token.file": f"{self.directory}/token"})
        self.assertEqual(0, run.returncode, run.stderr)
        run = self.run_worker("--check", options=options, environment={"PRIVACY_CALL_PLATFORM_TOKEN_FILE": f"{self.directory}/token"})
        self.assertEqual(0, run.returncode, run.stderr)
        self.refused("platform.token.file", options={**options, "platform.token.file": "/no/such/file"})
        self.refused("platform.token", options={**GOOD, "platform.token.file": f"{self.directory}/token"})

    def test_all_errors_at_once(self):
        text = self.refused("worker.conf:1", "worker.conf:2", "no.such.key", "platform.timeout.ms", "PRIVACY_CALL_LOG_LEVEL",
                            "platform.utc.offset", file="no.such.key = 1\nplatform.timeout.ms = soon\n",
                            environment={"PRIVACY_CALL_LOG_LEVEL": "loud"}, options={**GOOD, "platform.utc.offset": "8"})
        self.assertGreaterEqual(len(text.splitlines()), 4)

    def test_refused_values(self):
        for key, value in {"platform.url": "http://127.0.0.1:1", "instance.id": "a b", "log.level": "perhaps", "delivery": "exactly-once",
                           "platform.max.in.flight": "0", "kafka.session.timeout.ms": "1000", "platform.utc.offset": "+25:00",
                           "topic.call.results": "call-requests", "log.format": "xml", "platform.ca.file": "/no/such/file",
                           "kafka.enable.auto.commit": "true", "kafka.isolation.level": "read_uncommitted",
                           "kafka.enable.idempotence": "false", "kafka.transactional.id": "x", "kafka.group.protocol": "consumer",
                           "kafka.no.such.setting": "1", "kafka.consumer.no.such.setting": "1", "kafka.max.poll.interval.ms": "6000",
                           "kafka.statistics.interval.ms": "20", "kafka.consumer.statistics.interval.ms": "20",
                           "kafka.producer.statistics.interval.ms": "20", "kafka.enable.sasl.oauthbearer.unsecure.jwt": "true",
                           "platform.auth.flags": "a,b", "platform.tls.groups": "X25519:P-25", "platform.cert.file": "/no/such/file",
                           "platform.connection.reuse": "perhaps", "platform.connection.max.age.ms": "0",
                           "recording.attempts": "-1", "platform.version": "a/b"}.items():
            with self.subTest(key):
                self.refused(key, options={**GOOD, key: value})
        self.refused("twice", "platform.version", file="platform.version = 1\nplatform.version = 2\n")
        self.refused("PRIVACY_CALL_NO_SUCH", environment={"PRIVACY_CALL_NO_SUCH": "1"})

    def test_recording_store(self):
        store, file = f"{self.directory}/a store", f"{self.directory}/file"
        os.mkdir(store)
        open(file, "x").close()
        run = self.run_worker("--check", options={**GOOD, "recording.store": store})
        self.assertEqual(0, run.returncode, run.stderr)
        self.assertEqual([], os.listdir(store))
        for value in (f"{self.directory}/missing", file, f"{file}/below", ""):
            with self.subTest(value):
                self.refused("worker.conf:2", "recording.store", "directory", file=f"\nrecording.store = {value}\n")
        self.refused("-o", "recording.store", "version", options={**GOOD, "recording.store": "s3://bucket/prefix"})
        run = self.run_worker(options={**GOOD, "recording.store": f"{self.directory}/missing"})
        self.assertEqual(2, run.returncode)
        self.assertIn("recording.store", run.stderr)
        if os.geteuid():  # root may write everywhere
            os.chmod(store, 0o555)
            self.refused("recording.store", options={**GOOD, "recording.store": store})

    def test_place_of_what_librdkafka_refuses(self):
        """What librdkafka finds only when it makes a client is told with the place and the key, like any other error."""
        secured = "kafka.security.protocol = ssl\n"
        for key, value, more in (("kafka.receive.message.max.bytes", "1000", ""), ("kafka.ssl.ca.location", "/etc/passwd", secured),
                                 ("kafka.ssl.ca.pem", "none", secured), ("kafka.ssl.key.pem", "none", secured),
                                 ("kafka.sasl.mechanisms", "BOGUS", "kafka.security.protocol = sasl_plaintext\n"),
                                 ("kafka.sasl.mechanism", "PLAIN", "kafka.security.protocol = sasl_ssl\n")):
            with self.subTest(key):
                file = f"{self.directory}/refused.conf"
                with open(file, "w", encoding="utf-8") as out:
                    out.write(f"{more}\n\n{key} = {value}\n")
                run = self.run_worker("-c", file, "--check")
                self.assertEqual(2, run.returncode, run.stderr)
                self.assertIn(f"{file}:{3 + bool(more)}: {key}: ", run.stderr)
                self.assertEqual(1, len(run.stderr.splitlines()), run.stderr)

    def test_openssl_that_allows_too_little(self):
        """openssl.cnf may forbid what TLS needs, for example with FIPS' properties and without a FIPS module."""
        path = f"{self.directory}/openssl.cnf"
        for section in ("alg_section = it\n[it]\ndefault_properties = fips=yes\n", "providers = it\n[it]\nbase = base\n[base]\nactivate = 1\n"):
            with open(path, "w", encoding="utf-8") as out:
                out.write(f"openssl_conf = init\n[init]\n{section}")
            for check in (["--check"], []):
                for more in ({}, {"platform.url": "http://127.0.0.1:1", "platform.allow.http": "true"}, {"platform.tls.groups": "X25519"}):
                    with self.subTest(section, check=check, more=more):
                        run = self.run_worker(*check, options={**GOOD, **more}, environment={"OPENSSL_CONF": path})
                        self.assertEqual(2, run.returncode, run.stderr)
                        self.assertRegex(run.stderr, r"\AOpenSSL cannot be used for TLS; expected .* \(openssl\.cnf, OPENSSL_CONF.*\n\Z")

    def test_accepted_values(self):
        for more in ({"platform.url": "http://127.0.0.1:1/prefix", "platform.allow.http": "true"},
                     {"kafka.consumer.fetch.max.bytes": "1000000", "kafka.producer.linger.ms": "7", "kafka.debug": "cgrp"},
                     {"platform.auth.flags": "401,1001", "call.retry.flags": "5"}, {"http.listen": ""},
                     {"topic.recording.requests": ""}):
            with self.subTest(str(more)):
                run = self.run_worker("--check", options={**GOOD, **more})
                self.assertEqual(0, run.returncode, run.stderr)

    def test_check_leaves_everything_alone(self):
        """It runs no code of others and connects to nobody."""
        ran = f"{self.directory}/ran"
        with socket.create_server(("127.0.0.1", 0)) as broker:
            server = f"127.0.0.1:{broker.getsockname()[1]}"
            for protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
                run = self.run_worker("--check", options={**GOOD, "kafka.bootstrap.servers": server, "kafka.security.protocol": protocol,
                                                          "kafka.sasl.kerberos.kinit.cmd": f"touch {ran}"})
                self.assertEqual(0, run.returncode, run.stderr)
            for key, value in {"kafka.ssl.engine.location": f"{self.directory}/engine.so", "kafka.plugin.library.paths": "plugin",
                               "kafka.ssl.providers": f"{self.directory}/provider", "kafka.test.mock.num.brokers": "1"}.items():
                self.refused(key, options={**GOOD, "kafka.bootstrap.servers": server, key: value})
            broker.settimeout(0)
            self.assertRaises(BlockingIOError, broker.accept)
        self.assertFalse(os.path.exists(ran), "--check ran kafka.sasl.kerberos.kinit.cmd")

    def test_shown_is_in_force(self):
        """Every kafka.* key that --print-config shows is one that this librdkafka takes."""
        shown = {key: value for key, (value, _) in self.configuration().items() if key.startswith("kafka.")}
        self.assertEqual("privacy-call-worker:" + shown["kafka.client.id"], shown["kafka.transactional.id"])
        run = self.run_worker("--check", options={**GOOD, **shown})
        self.assertEqual(0, run.returncode, run.stderr)

    def test_kubernetes_service_variables(self):
        """What Kubernetes makes from a Service that is named privacy-call is not ours."""
        environment = {"PRIVACY_CALL_SERVICE_HOST": "10.0.0.1", "PRIVACY_CALL_SERVICE_PORT": "9464",
                       "PRIVACY_CALL_SERVICE_PORT_HTTP": "9464", "PRIVACY_CALL_PORT": "tcp://10.0.0.1:9464",
                       "PRIVACY_CALL_PORT_9464_TCP": "tcp://10.0.0.1:9464", "PRIVACY_CALL_PORT_9464_TCP_ADDR": "10.0.0.1"}
        run = self.run_worker("--check", environment=environment)
        self.assertEqual(0, run.returncode, run.stderr)

    def test_underscore_in_a_key(self):
        found = self.configuration(environment={"PRIVACY_CALL_KAFKA_CLIENT_RACK": "r1"})
        self.assertEqual("r1", found["kafka.client.rack"][0])


    def test_address_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            run = self.run_worker(options={**GOOD, "http.listen": f"127.0.0.1:{port}"})
        self.assertEqual(1, run.returncode)
        self.assertIn(str(port), run.stderr)
        self.assertIn("with http.listen (127.0.0.1:0", run.stderr)
        run = self.run_worker(options={**GOOD, "http.listen": "192.0.2.1:9464"})
        self.assertEqual(1, run.returncode)
        self.assertIn("an address of this machine", run.stderr)

    def test_ledger_says_what_it_waits_for(self):
        """On a terminal, as Kafka may take ten seconds; a program that reads standard error gets only what went wrong."""
        for terminal in (True, False):
            with self.subTest(terminal=terminal), socket.create_server(("127.0.0.1", 0)) as silent:
                address = f"127.0.0.1:{silent.getsockname()[1]}"
                reader, writer = pty.openpty() if terminal else os.pipe()
                command = [f"{BUILD}/privacy-call-worker", "ledger"]
                for key, value in {**GOOD, "kafka.bootstrap.servers": address, "kafka.group.id": "the group"}.items():
                    command += ["-o", f"{key}={value}"]
                run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writer)
                try:
                    silent.accept()[0].close()  # by now it waits
                    found = ""  # what is written is read in one piece or more
                    while "topic" not in found and select.select([reader], [], [], 5 if terminal else 0)[0]:
                        found += os.read(reader, 1000).decode()
                finally:
                    run.kill()
                    run.wait()
                    os.close(reader)
                    os.close(writer)
                if terminal:
                    self.assertIn(f"asking Kafka at {address} about group the group and topic call-requests", found)
                else:
                    self.assertEqual("", found)


if __name__ == "__main__":
    main()
