"""config/dashboard.json: its shape is Grafana's, and a Prometheus that scrapes a worker and evaluates config/alerts.yaml has an answer
for each of its queries."""
import email.utils
import json
import os
import re
import socket
import subprocess
import time
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

import prometheus
from case import KafkaCase, main
from programs import wait_until
from records import call, caller
from scripted import Scripted

PROMETHEUS = prometheus.tool("prometheus")
ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "config/dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VALUES = {"$job": ".*", "$instance": ".*", "$__rate_interval": "10s"}


def queries():
    for panel in PANELS:
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VALUES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


class Shape(unittest.TestCase):
    def test_what_grafana_needs(self):
        self.assertGreaterEqual(DASHBOARD["schemaVersion"], 36)
        self.assertTrue(DASHBOARD["uid"] and DASHBOARD["title"])
        self.assertEqual(["datasource", "job", "instance"], [v["name"] for v in DASHBOARD["templating"]["list"]])
        identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(identifiers), len(set(identifiers)))
        for panel in PANELS:
            with self.subTest(panel["title"]):
                self.assertIn(panel["type"], ("stat", "timeseries"))
                self.assertEqual("${datasource}", panel["datasource"]["uid"])
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                references = [target["refId"] for target in panel["targets"]]
                self.assertEqual(len(references), len(set(references)))
                for target in panel["targets"]:
                    self.assertEqual("${datasource}", target["datasource"]["uid"])

    def test_no_panel_covers_another(self):
        taken = {}
        for panel in DASHBOARD["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for x in range(at["x"], at["x"] + at["w"]):
                for y in range(at["y"], at["y"] + at["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} and {taken.get((x, y))}")
                    taken[x, y] = panel["title"]

    def test_metrics_exist(self):
        known = set(re.findall(r"(?m)^\| `(\w+)` \|", (ROOT / "docs/metrics.md").read_text()))
        asked = set(re.findall(r"\b(?:privacy_call|process)_\w+", " ".join(expression for _, expression in queries())))
        self.assertEqual(set(), {re.sub("_bucket$", "", name) for name in asked} - known)


class Queries(KafkaCase):
    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def prometheus(self, worker):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(ROOT / "config/alerts.yaml")],
                    "scrape_configs": [{"job_name": "privacy-call-worker", "static_configs": [{"targets": [worker]}]}]}
        path = os.path.join(self.directory, "prometheus.json")  # JSON is YAML, too
        Path(path).write_text(json.dumps(settings))
        with open(os.path.join(self.directory, "prometheus.log"), "wb") as log:
            process = subprocess.Popen([PROMETHEUS, f"--config.file={path}", f"--web.listen-address=127.0.0.1:{self.port}",
                                        f"--storage.tsdb.path={self.directory}/prometheus"], stdout=log, stderr=log)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        def answers():
            try:
                return self.ask("query", query="up")["result"]
            except OSError:
                return None
        wait_until(answers, 60, "Prometheus has scraped")

    def test_each_query_has_an_answer(self):
        def answer():
            date = email.utils.formatdate(time.time(), usegmt=True)
            return 200, {"Content-Type": "application/json", "Date": date}, '{"Flag": 1, "Msg": "8617115230000"}'
        platform = Scripted({caller(number): answer() for number in range(400)})
        self.addCleanup(platform.close)
        worker = self.worker(platform, {"platform.allow.http": "true"}).wait_assigned()
        self.prometheus(urllib.parse.urlsplit(worker.address()).netloc)
        sent, deadline, expected = 0, time.monotonic() + 120, list(queries())
        while expected:
            self.assertLess(time.monotonic(), deadline, f"no answer to {expected}")
            if sent < 400:  # rates need calls that come one after another
                self.requests.send(call(sent, f"o{sent}"), f"o{sent}")
                self.requests.flush()
                sent += 1
                self.results(sent, settle=0)
            expected = [(title, e) for title, e in expected if not self.ask("query", query=e)["result"]]
        self.assertEqual({"ok"}, {rule["health"] for group in self.ask("rules")["groups"] for rule in group["rules"]})


if __name__ == "__main__":
    main()
