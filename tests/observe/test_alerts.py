"""config/alerts.yaml: promtool takes it, each alert fires on series of its own and on none of a worker that is well, asks for metrics
that exist, and has a section in the runbook.

usage: test_alerts.py FOLDER_FOR_PROMETHEUS
"""
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import prometheus
import yaml

PROMTOOL = prometheus.tool("promtool")
ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "config/alerts.yaml"
TESTS = ROOT / "tests/observe/alerts_test.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
NAMES = [rule["alert"] for rule in RULES]


def promtool(*arguments):
    run = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return run.returncode, run.stdout + run.stderr


class Alerts(unittest.TestCase):
    def test_rules_and_their_series(self):
        status, said = promtool("check", "rules", ALERTS)
        self.assertEqual(0, status, said)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as tests:
            tests.write(TESTS.read_text().replace("rule_files: [ALERTS]", f"rule_files: [{ALERTS}]"))
            tests.flush()
            status, said = promtool("test", "rules", tests.name)
        self.assertEqual(0, status, said)

    def test_each_alert_has_series_that_make_it_fire(self):
        fired = re.findall(r'alertname="(\w+)", alertstate="firing"', TESTS.read_text())
        self.assertEqual(sorted(NAMES), sorted(fired))

    def test_each_alert_has_its_section(self):
        sections = re.findall(r"(?m)^## (PrivacyCall\w+)$", (ROOT / "docs/runbook.md").read_text())
        self.assertEqual(sorted(NAMES), sorted(sections))
        for rule in RULES:
            name = rule["alert"] if rule["alert"] != "PrivacyCallUnknownMany" else "PrivacyCallUnknown"
            self.assertEqual(f"docs/runbook.md#{name.lower()}", rule["annotations"]["runbook_url"])
            self.assertIn(rule["labels"]["severity"], ("warning", "critical"))

    def test_metrics_exist(self):
        known = set(re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text()))
        asked = set(re.findall(r"\b(?:privacy_call|process)_\w+", " ".join(rule["expr"] for rule in RULES)))
        self.assertEqual(set(), asked - known)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
