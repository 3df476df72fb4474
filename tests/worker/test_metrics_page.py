"""docs/metrics.md lists exactly the rows of METRICS, each with its type."""
import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class MetricsPage(unittest.TestCase):
    def test_page_and_rows_agree(self):
        rows = set(re.findall(r"\bROW\((\w+), (counter|gauge|histogram),", (ROOT / "src/worker/metrics.h").read_text()))
        page = set(re.findall(r"^\| `(?:privacy_call_)?(\w+)` \| (counter|gauge|histogram) \|",
                              (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
        self.assertGreater(len(rows), 20)
        self.assertEqual(sorted(rows), sorted(page))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
