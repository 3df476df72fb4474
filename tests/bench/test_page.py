#!/usr/bin/python3
"""docs/performance.md has the tables that follow from the results that are kept, and figures are taken and marked as it says."""
import json
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cells  # noqa: E402
import machine  # noqa: E402
import page  # noqa: E402

CELL = "latency latency=10 in_flight=64"
VERSIONS = {"cores": 2, "processor": "P", "kafka": "K", "librdkafka": "R", "libcurl": "C", "java": "J"}


def row(run="2026-01-01", peer="worker", cell=CELL, others=1.0, **figures):
    return {"run": run, "commit": "c", "versions": VERSIONS, "cell": cell, "peer": peer, "others_percent": others, "wrong": {}, **figures}


def line(rows, name="latency", beginning="10 x 64"):
    made = page.tables(page.summarise(rows))[name]
    return next(text for text in made.splitlines() if text.startswith(f"| {beginning} |"))


class TestPage(unittest.TestCase):
    maxDiff = None

    def test_the_page_is_what_the_results_say(self):
        with open(page.PAGE) as file:
            text = file.read()
        self.assertEqual(text, page.renewed(text, page.read_results()), "make bench-page writes it anew")

    def test_lines_without_a_figure_are_left_out(self):
        with open(page.PAGE) as file:
            self.assertNotRegex(file.read(), r"(?m) - \|$")

    def test_each_result_that_is_kept_has_its_line(self):
        kept = page.read_results()
        self.assertLessEqual(set(kept["cells"]), set(cells.BY_KEY))
        self.assertEqual({entry["run"] for of in kept["cells"].values() for entry in of.values()}, set(kept["runs"]))

    def test_a_page_without_a_place_for_a_table_is_refused(self):
        with self.assertRaisesRegex(ValueError, "latency"):
            page.renewed("<!-- bench: origin -->\n<!-- end -->\n", page.summarise([]))

    def test_what_was_not_measured_is_left_open(self):
        self.assertEqual(line([]), "| 10 x 64 |" + " - |" * 7)
        self.assertIn("| 10 | 1 | - | - | - | - | - |", page.tables(page.summarise([]))["example"])

    def test_one_run_has_no_spread(self):
        self.assertEqual(line([row(events_s=5000, cpu_us=80.4, peak_mib=50)]), "| 10 x 64 | 5,000 | 80.4 | 50 | - | - | - | 1 % |")

    def test_several_runs_are_told_by_median_and_spread(self):
        rows = [row(events_s=n) for n in (4000, 9000, 5000)]
        self.assertIn("| 5,000 (4,000 to 9,000) |", line(rows))

    def test_a_busy_machine_is_told(self):
        rows = [row(events_s=5000), row(events_s=5000, others=page.BUSY_PERCENT)]
        self.assertIn("| 5,000 (5,000 to 5,000)* |", line(rows))
        self.assertTrue(line(rows).endswith(f"| {page.BUSY_PERCENT} % |"))
        self.assertIn("*", page.report(page.summarise(rows)))

    def test_the_newest_invocation_counts(self):
        rows = [row(run="2026-01-02", events_s=2), row(run="2026-01-01", events_s=1), row(run="2026-01-01", peer="floor", events_s=3)]
        self.assertIn("| 2 | - | - | 3 |", line(rows))
        self.assertEqual(set(page.summarise(rows)["runs"]), {"2026-01-01", "2026-01-02"})

    def test_results_are_kept_as_they_are(self):
        for rows in ([], [row(events_s=1), row(peer="floor", cpu_us=2.5), row(run="2026-01-02", cell=cells.KILLED[0].key(), called_twice=0)]):
            kept = page.summarise(rows)
            self.assertEqual(json.loads(page.written(kept)), kept)

    def test_what_went_wrong_is_told(self):
        killed = {**row(peer="floor", cell=cells.KILLED[0].key(), called_twice=3), "wrong": {"called twice": 3}}
        self.assertEqual(line([killed], "killed", "floor"), "| floor | 3 | called twice: 3 | 1 % |")

    def test_a_rate_is_sized_by_what_one_worker_does(self):
        busiest = row(cell="latency latency=50 in_flight=1000", events_s=10000, cpu_us=100.0, kafka_us=20.0)
        made = page.tables(page.summarise([busiest]))["example"].splitlines()
        # 2,500 open calls; 50,000 / (60 % of 10,000) is nine workers and one to spare; 1.5 x 2,500 / 9 slots, in steps of 64.
        self.assertEqual(made[-1], "| 50,000 | 2,500 | 10 | 448 | 40 | 5 | 1 |")

    def test_the_benchs_own_work_is_nobody_elses(self):
        begin, end = (machine.Mark.__new__(machine.Mark) for _ in range(2))
        begin.at, begin.busy, begin.own = 100, 50, 20
        end.at, end.busy, end.own = 110, 50 + 6, 20 + 4
        self.assertEqual(begin.others_until(end), round(100 * 2 / (10 * machine.CORES), 1))
        end.own = 20 + 7  # the two are not counted at the same moment
        self.assertEqual(begin.others_until(end), 0)

    def test_the_cpu_of_a_group_is_counted(self):
        own = os.getpgid(0)
        begin = machine.Mark([own])
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
        self.assertGreaterEqual(begin.group_until(machine.Mark([own]), [own]), 0.02)

    def test_cells_are_told_apart(self):
        self.assertEqual(len(cells.BY_KEY), len(cells.CELLS))


if __name__ == "__main__":
    unittest.main()
