#!/usr/bin/env python3
"""The worker's program as a user meets it, as far as it connects to nothing: exit status, --check, --print-config, errors.

usage: test_command.py WORKER
"""
import os
import re
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
        for argument, start in (("--version", "privacy-call-worker "), ("--help", "usage: privacy-call-worker ")):
            result = run(argument)
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
            self.assertRegex(result.stderr, r"(?m)^option -o: kafka\.consumer\.linger\.ms: ")
            self.assertRegex(result.stderr, r"(?m)^environment variable PRIVACY_CALL_KAFKA_SOCKET_TIMEOUT_MS: kafka\.socket\.")
            self.assertEqual(len(result.stderr.splitlines()), 4, result.stderr)

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

    def test_full_output(self):
        with open("/dev/full", "w") as full:
            result = run("--check", settings=REQUIRED, stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertIn("standard output", result.stderr)


if __name__ == "__main__":
    unittest.main()
