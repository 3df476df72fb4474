#!/usr/bin/env python3
"""The worker's program as a user meets it, as far as it connects to nothing: exit status, --check, --print-config, errors.

usage: test_command.py WORKER
"""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

WORKER = os.path.abspath(sys.argv.pop(1))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECRET = "the-s3cret"
REQUIRED = {"kafka.bootstrap.servers": "127.0.0.1:1", "platform.url": "https://127.0.0.1:1", "platform.token": SECRET,
            "platform.app.id": "app-1", "instance.id": "worker-1"}


def run(*arguments, settings=(), environment=None, stdout=subprocess.PIPE):
    command = [WORKER, *arguments]
    for key, value in dict(settings).items():
        command += ["-o", f"{key}={value}"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PRIVACY_CALL_")}
    env.update(environment or {})
    result = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=env, timeout=30, text=True, check=False)
    assert SECRET not in (result.stdout or "") + result.stderr, "a secret was shown"
    return result


class Command(unittest.TestCase):
    def test_version_and_help(self):
        usage = "usage: privacy-call-worker "
        for arguments, start in ((["--version"], "privacy-call-worker "), (["--help"], f"{usage}["), (["help"], f"{usage}["),
                                 (["ledger", "--help"], f"{usage}ledger "), (["help", "redrive"], f"{usage}redrive "),
                                 (["ledger", "repair", "-h"], f"{usage}ledger repair "), (["redrive", "--help"], f"{usage}redrive ")):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertTrue(result.stdout.startswith(start), result.stdout)

    def test_bad_usage(self):
        for arguments in (["--chek"], ["ledger", "repair"], ["ledger", "--jso"], ["-c"], ["--check", "--help"]):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertIn(arguments[-1], result.stderr)

    def test_check(self):
        result = run("--check", "-c", f"{ROOT}/config/privacy-call-worker.conf", settings=REQUIRED)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "configuration is valid\n", ""))

    def test_no_broker(self):
        """A command for operators says which broker it could not reach, and why: a time-out alone tells nobody what to mend."""
        for arguments in (["ledger"], ["redrive", "--dry-run"]):
            result = run(*arguments, settings={**REQUIRED, "topic.recording.requests": ""})
            self.assertEqual(1, result.returncode, arguments)
            self.assertRegex(result.stderr, r"cannot be read: .*127\.0\.0\.1:1/bootstrap: .*Connection refused", arguments)

    def test_nothing_given(self):
        for arguments in ([], ["--check"], ["--print-config"]):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            for key in ("kafka.bootstrap.servers", "platform.url", "platform.token", "platform.app.id"):
                self.assertRegex(result.stderr, rf"(?m)^{key}: required")

    def test_errors_of_both_kinds_together(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("\nplatform.timeout.ms = soon\nkafka.no.such.setting = 1\n")
            file.flush()
            result = run("--check", "-c", file.name, settings={**REQUIRED, "kafka.consumer.linger.ms": 1},
                         environment={"PRIVACY_CALL_KAFKA_SOCKET_TIMEOUT_MS": "never"})
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertRegex(result.stderr, rf"(?m)^{file.name}:2: platform\.timeout\.ms: expected an integer from 1 to")
            self.assertRegex(result.stderr, rf"(?m)^{file.name}:3: kafka\.no\.such\.setting: ")
            self.assertIn("option -o: kafka.consumer.linger.ms has no effect", result.stderr)
            self.assertRegex(result.stderr, r"(?m)^environment variable PRIVACY_CALL_KAFKA_SOCKET_TIMEOUT_MS: kafka\.socket\.")
            self.assertEqual(len(result.stderr.splitlines()), 4, result.stderr)

    def test_warnings_about_settings_are_lines_of_the_log(self):
        settings = {**REQUIRED, "kafka.consumer.linger.ms": 1, "instance.id": "i-1"}
        line = json.loads(run("--check", settings=settings).stderr)
        self.assertEqual((line["log.level"], line["service.instance.id"]), ("warn", "i-1"))
        result = run("--check", settings={**settings, "log.format": "text"})
        self.assertRegex(result.stderr, r"^\S+Z warn  option -o: kafka\.consumer\.linger\.ms has no effect")
        self.assertEqual(run("--check", settings={**settings, "log.level": "error"}).stderr, "")

    def test_tells_which_port_is_used_where_none_is_given(self):
        settings = {**REQUIRED, "kafka.bootstrap.servers": "broker-1, ssl://[::1] ,broker-2:9093"}
        result = run("--check", settings=settings)
        self.assertEqual((result.returncode, result.stdout), (0, "configuration is valid\n"))
        self.assertEqual("kafka.bootstrap.servers: no port is given for broker-1, ssl://[::1]: port 9092 is used",
                         json.loads(result.stderr)["message"])
        self.assertEqual("", run("--check", settings={**settings, "kafka.bootstrap.servers": "broker-1:9092"}).stderr)

    def test_librdkafka_knows_what_the_worker_sets(self):
        """With every default written down as the user's own, none is refused as unknown."""
        printed = run("--print-config", settings=REQUIRED)
        given = dict(REQUIRED)
        for line in printed.stdout.splitlines():
            key, value = line.split("  # ")[0].split(" =", 1)
            if key.startswith("kafka."):
                given[key] = value.strip()
        self.assertGreater(len(given), 15)
        result = run("--check", settings=given)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_forced_values_may_be_written_down(self):
        """Each value that docs/configuration.md says a key must have, whether this librdkafka knows the key or not."""
        with open(f"{ROOT}/docs/configuration.md") as page:
            table = page.read().split("### What is refused, and why")[1]
        given = {key: value for key, value in re.findall(r"(?m)^\| `([a-z._]+)` \| `([a-z0-9_]+)` \|", table)}
        self.assertGreater(len(given), 12)
        self.assertEqual(given["kafka.group.protocol"], "classic")
        for key, value in given.items():
            result = run("--check", settings={**REQUIRED, key: value})
            self.assertEqual((result.returncode, result.stderr), (0, ""), key)

    def test_print_config(self):
        result = run("--print-config", settings={**REQUIRED, "kafka.sasl.password": SECRET, "kafka.sasl.username": "me"},
                     environment={"PRIVACY_CALL_LOG_LEVEL": "warn", "PRIVACY_CALL_SERVICE_HOST": "10.0.0.1"})
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = result.stdout.splitlines()
        for line in ("platform.token = ***  # command line", "kafka.sasl.password = ***  # command line",
                     "kafka.sasl.username = me  # command line", "log.level = warn  # environment",
                     "kafka.client.id = worker-1  # default", "kafka.group.id = privacy-call-worker  # default"):
            self.assertIn(line, lines)
        for line in lines:
            self.assertRegex(line, r"^[a-z0-9._-]+ =( .*)?  # (default|environment|command line)$")

    def test_files_that_are_none(self):
        """Whatever stands where a file should: an error within seconds that names place, key and what was expected."""
        with tempfile.TemporaryDirectory() as directory:
            paths = {name: f"{directory}/{name}" for name in ("fifo", "directory", "nul", "latin", "huge", "socket", "missing", "loop")}
            os.mkfifo(paths["fifo"])
            os.mkdir(paths["directory"])
            os.symlink("loop", paths["loop"])
            for name, content in (("nul", b"log.level = a\0b\n"), ("latin", b"# caf\xe9\n"), ("huge", b"#" * (2 << 20))):
                with open(paths[name], "wb") as file:
                    file.write(content)
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(paths["socket"])
                for path in [*paths.values(), "/dev/zero", "/dev/urandom", "/dev/full", "/proc/self/mem"]:
                    takes_time = path == paths["fifo"]  # 2 s each
                    for arguments in ([[]] if takes_time else [["--check"], ["--print-config"], []]):
                        with self.subTest(path, arguments=arguments):
                            result = run(*arguments, "-c", path, settings=REQUIRED)
                            self.assertEqual((result.returncode, result.stdout), (2, ""))
                            self.assertRegex(result.stderr, rf"^{path}(:1)?: expected ")
                    for key in ["platform.token"] if takes_time else ["log.level", "platform.token", "kafka.sasl.password", "recording.store"]:
                        with self.subTest(path, key=key):
                            given = {k: v for k, v in REQUIRED.items() if k != key}
                            result = run("--check", settings={**given, f"{key}.file": path})
                            self.assertEqual((result.returncode, result.stdout), (2, ""))
                            self.assertRegex(result.stderr, rf"(?m)^option -o: {key}\.file: expected ")
                            if key in ("platform.token", "kafka.sasl.password"):
                                self.assertNotIn(path, result.stderr)

    def test_certificates_that_are_none(self):
        """What stands in the files is read, and told together with every other error."""
        with tempfile.TemporaryDirectory() as directory:
            with open(f"{directory}/bad.pem", "w") as file:
                file.write("-----BEGIN CERTIFICATE-----\nbad\n-----END CERTIFICATE-----\n")
            with open(f"{directory}/worker.conf", "w") as file:
                file.write(f"log.level = loud\nplatform.ca.file = {directory}/bad.pem\n")
            result = run("--check", "-c", file.name, settings=REQUIRED)
            self.assertEqual((result.returncode, result.stdout), (2, ""))
            self.assertRegex(result.stderr, rf"(?m)^{file.name}:1: log\.level: expected ")
            self.assertRegex(result.stderr, rf"(?m)^{file.name}:2: platform\.ca\.file: {directory}/bad\.pem: ")

    def test_a_shells_file(self):
        """What `-c <(command)` and its like give."""
        line = " ".join(f"-o {key}={value}" for key, value in REQUIRED.items() if key != "platform.token")
        script = f"{WORKER} --check {line} -o platform.token.file=<(echo {SECRET}) -c <(sleep 0.2; echo log.level = warn)"
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, "configuration is valid\n", ""))

    def test_nothing_steers_the_terminal(self):
        hostile = "\x1b[2J\x9b1m\u202e\u2028"
        result = run(f"--{hostile}")
        self.assertEqual(result.returncode, 2)
        results = [result, run(hostile), run("-c", f"/no/such/{hostile}", settings=REQUIRED),
                   run("--check", settings={**REQUIRED, "log.level": hostile, "kafka.acks": hostile, "kafka.debug": hostile}),
                   run("--check", settings=REQUIRED, environment={f"PRIVACY_CALL_{hostile}": "1", "PRIVACY_CALL_NO_SUCH": hostile}),
                   run("--print-config", settings={**REQUIRED, "kafka.client.id": hostile})]
        for result in results:
            self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", result.stdout + result.stderr), result.args)

    def test_secrets_that_are_refused(self):
        """An error about a secret's value does not show it, whatever is wrong with it; run() looks."""
        for more in ({"platform.token": f"{SECRET}\n"}, {"platform.token": f"{SECRET}:"}, {"platform.token": SECRET * 100},
                     {"kafka.ssl.key.pem": SECRET, "kafka.security.protocol": "SSL"},
                     {"kafka.sasl.oauthbearer.client.secret": SECRET, "kafka.sasl.oauthbearer.method": "no such"},
                     {"kafka.ssl.keystore.password": SECRET, "kafka.ssl.keystore.location": "/etc/passwd", "kafka.security.protocol": "SSL"},
                     {"kafka.no.such.password": SECRET}, {"kafka.sasl.password.file": SECRET}, {"kafka.ssl.key.pem.file": f"/{SECRET}"}):
            key = next(iter(more))
            with self.subTest(key):
                result = run("--check", settings={**REQUIRED, **more})
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertIn("kafka" if key.startswith("kafka") else key, result.stderr)

    def test_kubernetes_services(self):
        """Variables that Kubernetes makes from Services whose names begin with privacy-call are nobody's settings."""
        ours = {}
        for service in ("", "_WORKER", "_WORKER_METRICS", "_1"):
            name = f"PRIVACY_CALL{service}"
            ours |= {f"{name}_SERVICE_HOST": "10.0.0.1", f"{name}_SERVICE_PORT": "9464", f"{name}_SERVICE_PORT_HTTP": "9464",
                     f"{name}_SERVICE_PORT_METRICS_WEB": "9464", f"{name}_PORT": "tcp://10.0.0.1:9464"}
            for protocol in ("TCP", "UDP", "SCTP"):
                port = f"{name}_PORT_9464_{protocol}"
                ours |= {port: "tcp://10.0.0.1:9464", f"{port}_PROTO": "tcp", f"{port}_PORT": "9464", f"{port}_ADDR": "10.0.0.1"}
        result = run("--check", settings=REQUIRED, environment=ours)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for name in ("PRIVACY_CALL_PORTS", "PRIVACY_CALL_WORKER_SERVICE", "PRIVACY_CALL_PORT_X_TCP", "PRIVACY_CALL_HOST", "PRIVACY_CALL_"):
            result = run("--check", settings=REQUIRED, environment={name: "1"})
            self.assertEqual(result.returncode, 2, name)
            self.assertIn(name, result.stderr)

    def test_full_output(self):
        with open("/dev/full", "w") as full:
            result = run("--check", settings=REQUIRED, stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertIn("standard output", result.stderr)


if __name__ == "__main__":
    unittest.main()
