"""docs/http.md describes each member of /status as a worker answers it, and no other; likewise the states of its summary.

usage: test_status_page.py WORKER
"""
import json
import re
import sys
import time
import unittest
import urllib.request
from pathlib import Path

from process import worker

ROOT = Path(__file__).resolve().parents[2]
WORKER = sys.argv.pop(1)
PAGE = (ROOT / "docs/http.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.\[\]]+)` \| (string|boolean|number|array|object|time) \|", PAGE.partition("## /status")[2], re.MULTILINE))
TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
STATUSES = ("succeeded", "refused", "invalid", "expired", "unavailable", "unknown")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


def members(value, path=""):
    """Each member as (path, type)."""
    if isinstance(value, dict):
        for name, inner in value.items():
            at = re.sub(rf"results\.({'|'.join(STATUSES)})$", "results.STATUS", f"{path}.{name}".lstrip("."))
            yield at, "time" if isinstance(inner, str) and TIME.match(inner) else TYPES[type(inner)]
            yield from members(inner, at)
    elif isinstance(value, list):
        for inner in value:
            yield from members(inner, f"{path}[]")


class StatusPage(unittest.TestCase):
    def test_names_and_code_agree(self):
        """By their last parts: some members are seen in some states only."""
        code = (ROOT / "src/worker/status.c").read_text()
        said = set(re.findall(r'\bput_\w+\(out, "(\w+)"', code))
        described = {part for path in ROWS for part in re.split(r"[.\[\]]+", path) if part and part != "STATUS"}
        self.assertGreater(len(said), 50)
        self.assertEqual(sorted(said), sorted(described))

    def test_states_and_code_agree(self):
        code = (ROOT / "src/worker/summary.c").read_text()
        said = set(re.findall(r'add(?:_condition)?\(summary, [^;]*?"([a-z-]+)"', code)) | {"well", "standby"}
        described = set(re.findall(r"^\| `([a-z-]+)` \| (?:error|warning|notice|ok)", PAGE, re.MULTILINE))
        self.assertGreater(len(said), 10)
        self.assertEqual(sorted(said), sorted(described))

    def test_a_worker_that_has_no_broker(self):
        with worker(WORKER) as process:
            url = process.wait_for(r"http://127\.0\.0\.1:\d+/").group() + "status"
            opener, deadline = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + 30
            history = json.load(opener.open(url, timeout=10))["history"]
            self.assertEqual(bool(history["inFlight"]), "until" in history, "a step has ended, but there is none")
            while (status := json.load(opener.open(url, timeout=10)))["summary"]["state"] != "no-kafka":
                self.assertLess(time.monotonic(), deadline, status["summary"])
                time.sleep(0.05)
        self.assertEqual("error", status["summary"]["severity"])
        self.assertRegex(status["summary"]["text"], r"^No answer from Kafka since \d\d:\d\d UTC: .*Connection refused; it is tried again ")
        self.assertEqual(status["summary"], status["problems"][0])
        for problem in status.pop("problems"):
            self.assertEqual([], [name for name in problem if f"summary.{name}" not in ROWS])
        status["problems"] = []
        for path, kind in set(members(status)):
            if path not in ("waits", "waits.oldestUnfinished", "inDoubt", "counts", "counts.results", "history", "history.jobs[].results"):
                with self.subTest(path):
                    self.assertEqual(kind, ROWS.get(path))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
