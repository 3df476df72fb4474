"""The checkers of tests/support/findings.py find what they are for: a clean run is told clean, and each fault seeded into it is found,
and nothing else. The log that they read is read line by line while it is written. And what the pages say of the last long run agrees."""
import copy
import json
import unittest
from pathlib import Path

from findings import BAD, Death, PlatformDeath, astray, findings, started, unexplained
from programs import whole_lines
from records import call
from report import COLUMNS, README_BLOCK, sentence

ROOT = Path(__file__).resolve().parents[2]
GROUP, TOPIC, EVENTS = "group", "requests", 12


class Message:
    """What confluent_kafka.Message gives, as far as it is needed."""

    def __init__(self, number):
        self._key = f"k{number % 3}"
        self._value = json.dumps(call(number, self._key)).encode()

    def key(self):
        return self._key.encode()

    def value(self):
        return self._value


class Run(unittest.TestCase):
    def setUp(self):
        """Two partitions, three keys in each, all of them called and answered in order."""
        self.requests = {(n % 2, n // 2): Message(n) for n in range(EVENTS)}
        self.calls = [call(n)["Caller"] for n in range(EVENTS)]
        self.results = [self.result(n) for n in range(EVENTS)]

    def result(self, number, status="succeeded"):
        partition, offset = number % 2, number // 2
        return {"source": {"topic": TOPIC, "partition": partition, "offset": offset}, "status": status,
                "_key": self.requests[partition, offset].key(), "_partition": 0, "_offset": number,
                "_headers": {"ce_id": f"{GROUP}/{TOPIC}/{partition}/{offset}"}}


class Findings(Run):
    def found(self):
        found = findings(GROUP, self.requests, self.results, self.calls)
        self.assertEqual(set(BAD), set(found))
        return {what: items for what, items in found.items() if items}

    def test_clean(self):
        self.assertEqual({}, self.found())

    def test_lost(self):
        del self.results[5]
        self.assertEqual({"lost": [(1, 2)]}, self.found())

    def test_duplicate_result(self):
        self.results.append(dict(copy.deepcopy(self.results[11]), _offset=EVENTS))
        self.assertEqual({"duplicate results": [(1, 5)]}, self.found())

    def test_second_post(self):
        self.calls.append(self.calls[4])
        self.assertEqual({"second POSTs": [self.calls[4]]}, self.found())

    def test_a_request_that_was_written_twice(self):
        """Two requests with one caller: two POSTs, and not a third."""
        twice = (0, EVENTS // 2)
        self.requests[twice] = self.requests[0, 0]
        self.results.append({**self.result(0), "source": {"topic": TOPIC, "partition": 0, "offset": twice[1]}, "_offset": EVENTS,
                             "_headers": {"ce_id": f"{GROUP}/{TOPIC}/0/{twice[1]}"}})
        self.assertEqual({"mismatches": [twice]}, self.found())  # it was not called
        self.calls.append(self.calls[0])
        self.assertEqual({}, self.found())
        self.calls.append(self.calls[0])
        self.assertEqual({"second POSTs": [self.calls[0]]}, self.found())

    def test_calls_out_of_order(self):
        self.calls[0], self.calls[6] = self.calls[6], self.calls[0]  # of one key and one partition
        self.assertEqual({"order violations": [(b"k0", 0, 0)]}, self.found())

    def test_calls_of_other_keys_may_pass(self):
        self.calls[0], self.calls[2] = self.calls[2], self.calls[0]
        self.assertEqual({}, self.found())

    def test_results_out_of_order(self):
        self.results[0]["_offset"], self.results[6]["_offset"] = 6, 0
        self.assertEqual({"order violations": [(b"k0", 0, 0)]}, self.found())

    def test_strangers(self):
        stranger = self.result(3)
        stranger["source"] = {"topic": TOPIC, "partition": 0, "offset": 77}
        self.results.append(stranger)
        self.calls.append("18999999999")
        self.assertEqual({"strangers": [(0, 77), "18999999999"]}, self.found())

    def test_mismatches(self):
        self.results[0]["_key"] = b"another"
        self.results[1]["_headers"]["ce_id"] = f"{GROUP}/{TOPIC}/1/1"
        del self.calls[2]
        self.assertEqual({"mismatches": [(0, 0), (1, 0), (0, 1)]}, self.found())


class Astray(Run):
    """Dead letters. The worker that called offset 1 of partition 0 has lost the partition, and told the late outcome."""

    def setUp(self):
        super().setUp()
        self.results[2].update(status="unknown", error={"code": "worker-died"})
        self.letters, self.answered = [self.letter("late-outcome", 0, 1)], [(0, 1)]

    @staticmethod
    def letter(reason, partition, offset, topic=TOPIC):
        return {"dlq.reason": reason, "dlq.topic": topic, "dlq.partition": str(partition), "dlq.offset": str(offset)}

    def expect(self, *found):
        self.assertEqual(list(found), astray(self.results, self.letters, self.answered))

    def test_clean(self):
        self.expect()

    def test_none_need_be_of_one_that_died(self):
        self.letters, self.answered = [], []
        self.expect()

    def test_late_outcome_dropped(self):
        self.letters = []
        self.expect(("no late-outcome", 0, 1))

    def test_late_outcome_twice(self):
        self.letters *= 2
        self.expect(("late-outcome", 0, 1))

    def test_late_outcome_of_a_request_with_its_result(self):
        self.letters.append(self.letter("late-outcome", 1, 3))
        self.expect(("late-outcome", 1, 3))

    def test_late_outcome_of_another_doubt(self):
        self.results[2]["error"]["code"] = "timeout"
        self.answered = []
        self.expect(("late-outcome", 0, 1))

    def test_late_outcome_of_another_topic(self):
        self.letters = [self.letter("late-outcome", 0, 1, "others")]
        self.expect(("late-outcome", 0, 1), ("no late-outcome", 0, 1))

    def test_record_gone(self):
        self.letters.append(self.letter("record-gone", 0, 1))
        self.expect(("record-gone", 0, 1))

    def test_invalid(self):
        self.letters.append(self.letter("invalid", 1, 2))
        self.expect(("invalid", 1, 2))


class Doubt(Run):
    """Which results `unknown` are explained. The worker w died at 100 s, with offset 1 of partition 0 started."""

    def setUp(self):
        super().setUp()
        self.posts = [{"Caller": c, "time": 99_900} for c in self.calls]
        self.deaths = [Death("w", 100, {0: (1, "pcw1:5:w:00000000:rs"), 1: (0, "pcw1:5:other:00000000:rs3")})]

    def doubt(self, *numbers):
        for n in numbers:
            self.results[n] = dict(self.result(n, "unknown"), startedAt="1970-01-01T00:01:39.900Z",
                                   finishedAt="1970-01-01T00:01:40.050Z")
        return self.doubt_again()

    def doubt_again(self):
        return unexplained(self.requests, self.results, self.posts, self.deaths, 0.1)

    def test_no_death(self):
        self.deaths = []
        self.assertEqual([(0, 1)], self.doubt(2))

    def test_started_at_the_death(self):
        self.assertEqual([], self.doubt(2))

    def test_started_and_never_sent(self):
        del self.posts[2]
        self.assertEqual([], self.doubt(2))

    def test_not_started(self):
        self.assertEqual([(0, 2)], self.doubt(2, 4))

    def test_started_by_another(self):
        self.assertEqual([(1, 0)], self.doubt(1))

    def test_answered_long_before(self):
        self.posts[2]["time"] = 94_000
        self.assertEqual([(0, 1)], self.doubt(2))

    def test_sent_after_the_death(self):
        self.posts[2]["time"] = 102_000
        self.assertEqual([(0, 1)], self.doubt(2))

    def test_platform_died(self):
        self.deaths = [PlatformDeath(100)]
        self.posts[4]["time"], self.posts[6]["time"] = 99_000, 100_500
        self.assertEqual([(0, 2), (0, 3)], self.doubt(2, 4, 6))

    def test_platform_died_before_it_read_the_call(self):
        self.deaths = [PlatformDeath(100)]
        del self.posts[6], self.posts[4], self.posts[2]
        self.doubt(2, 4, 6)
        self.results[2].update(startedAt="1970-01-01T00:01:39.900Z", finishedAt="1970-01-01T00:01:40.050Z")
        self.results[4].update(startedAt="1970-01-01T00:01:38.900Z", finishedAt="1970-01-01T00:01:39.050Z")
        self.results[6].update(startedAt="1970-01-01T00:01:40.100Z", finishedAt="1970-01-01T00:01:40.200Z")
        self.assertEqual([(0, 2), (0, 3)], self.doubt_again())


class Started(unittest.TestCase):
    def test_nothing(self):
        self.assertEqual(("", []), started(7, ""))

    def test_runs(self):
        self.assertEqual(("w-1", [10, 25, 26]), started(10, "pcw1:8:w-1:00000000:rsd12f2s2"))

    def test_bits(self):
        self.assertEqual(("w", [11, 13]), started(10, "pcw1:8:w:00000000:bGB"))  # d s f, s f f

    def test_doubts_with_names(self):
        self.assertEqual(("w", [10, 12]), started(10, "pcw1:8:w:00000000:xr3d_b-9A.rsds"))
        self.assertEqual(("w", [11, 13]), started(10, "pcw1:8:w:00000000:xr3d_.bGB"))


class Lines(unittest.TestCase):
    def test_line_that_is_being_written(self):
        """Its first half was read, then its second half, which looks like a whole line."""
        self.assertEqual([b"1\n"], list(whole_lines(iter([b"1\n", b"{", b"}\n"]))))


class Pages(unittest.TestCase):
    def test_readme_has_the_sums_of_the_page(self):
        """`make chaos` writes both; whoever takes one of them from another run has to take the other, too."""
        lines = [line for line in (ROOT / "docs/chaos.md").read_text().splitlines() if line.startswith("| ")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        self.assertEqual(("scenario", *COLUMNS), tuple(cells[0]))
        rows = [{"scenario": row[0], **{what: int(number) for what, number in zip(COLUMNS, row[1:])}} for row in cells[2:-1]]
        self.assertEqual([str(sum(row[what] for row in rows)) for what in COLUMNS], cells[-1][1:])
        block = README_BLOCK.search((ROOT / "README.md").read_text()).group()
        self.assertIn(f"\n{sentence(rows)}\n", block)


if __name__ == "__main__":
    unittest.main()
