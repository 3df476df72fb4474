#!/usr/bin/python3
"""Makes the tables of docs/performance.md from what the bench measured.

usage: page.py take RESULTS.jsonl   puts what is new there into results.json beside this file, and writes the page anew
       page.py write                writes the page's tables anew from results.json
"""
import json
import math
import os
import re
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import cells as cells_module  # noqa: E402
from machine import BUSY_PERCENT  # noqa: E402

PAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "performance.md")
RESULTS = os.path.join(HERE, "results.json")
PEERS = ("worker", "floor", "threads", "pc-vertx", "pc-core", "pc-tx")
FIGURES = ("events_s", "cpu_us", "kafka_us", "core_percent", "peak_mib", "p50_ms", "p99_ms", "transactions_s", "transaction_ms", "ceiling_s",
           "called_twice")


def summarise(rows):
    """Of each cell and peer the newest invocation's rows: median, least and most of each figure, and what the machine did meanwhile."""
    newest, cells, runs = {}, {}, {}
    for row in rows:
        at = row["cell"], row["peer"]
        newest[at] = max(newest.get(at, ""), row["run"])
        runs[row["run"]] = {"commit": row["commit"], "versions": row["versions"]}
    for cell, peer in newest:
        taken = [row for row in rows if (row["cell"], row["peer"], row["run"]) == (cell, peer, newest[cell, peer])]
        wrong = {}
        for row in taken:
            for what, count in row["wrong"].items():
                wrong[what] = wrong.get(what, 0) + count
        figures = {}
        for name in FIGURES:
            values = [row[name] for row in taken if row.get(name) is not None]
            if values:
                figures[name] = [round(statistics.median(values), 2), min(values), max(values)]
        cells.setdefault(cell, {})[peer] = {"run": newest[cell, peer], "runs": len(taken), "figures": figures, "wrong": wrong,
                                            "others_percent": max(row["others_percent"] for row in taken)}
    return with_runs(cells, runs)


def with_runs(cells, runs):
    """With the invocations that figures are of, and no other."""
    used = {entry["run"] for of in cells.values() for entry in of.values()}
    return {"cells": cells, "runs": {run: about for run, about in runs.items() if run in used}}


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def figure(entry, name):
    """A figure as the tables have it: the median, with the spread where there was more than one run; `*`: the machine was busy."""
    if not entry or name not in entry["figures"]:
        return "-"
    median, least, most = entry["figures"][name]
    spread = f" ({number(least)} to {number(most)})" if entry["runs"] > 1 else ""
    return number(median) + spread + ("*" if entry["others_percent"] >= BUSY_PERCENT else "")


def load(entries):
    """What others had of the machine, at most, while a line was measured."""
    values = [entry["others_percent"] for entry in entries if entry]
    return f"{max(values):.0f} %" if values else "-"


def table(head, lines):
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def by_peer(summary, cells, titles, label, names, peers):
    """A line for each cell: its label, then each peer's figures, then the load."""
    heads = [f"{peer}: {title}" if len(peers) > 1 else title for peer in peers for title in titles]
    lines = []
    for cell in cells:
        of = summary.get(cell.key(), {})
        lines.append([label(cell), *(figure(of.get(peer), name) for peer in peers for name in names), load(of.values())])
    return heads, lines


def present(summary, cells, least=("worker", "floor")):
    found = {peer for cell in cells for peer in summary.get(cell.key(), {})}
    return [peer for peer in PEERS if peer in found or peer in least]


COST = ["/s", "µs CPU", "MiB"], ["events_s", "cpu_us", "peak_mib"]
WAIT = ["p50 ms", "p99 ms", "µs CPU", "% of a core"], ["p50_ms", "p99_ms", "cpu_us", "core_percent"]
WORKER = ["calls/s", "CPU a call, µs", "of Kafka, µs", "peak MiB", "transactions/s"], ["events_s", "cpu_us", "kafka_us", "peak_mib", "transactions_s"]


def plain(name, first, label, columns, alone=False):
    """A table with a column for each figure of each peer."""
    def make(summary):
        cells = cells_module.TABLES[name]
        peers = ["worker"] if alone else present(summary, cells)
        heads, lines = by_peer(summary, cells, columns[0], label, columns[1], peers)
        return table([first, *heads, "others"], lines)
    return make


def grown(name, first, label):
    """How the worker's cost grows along one axis, with the ratio to the first line's."""
    def make(summary):
        cells = cells_module.TABLES[name]
        heads, lines = by_peer(summary, cells, WORKER[0], label, WORKER[1], ["worker"])
        base = summary.get(cells[0].key(), {}).get("worker")
        for cell, line in zip(cells, lines):
            line.insert(-1, ratio(summary.get(cell.key(), {}).get("worker"), base))
        return table([first, *heads, "CPU to the first line's", "others"], lines)
    return make


def ratio(entry, base):
    if not entry or not base or "cpu_us" not in entry["figures"] or "cpu_us" not in base["figures"]:
        return "-"
    return f"{entry['figures']['cpu_us'][0] / base['figures']['cpu_us'][0]:.2f}"


def hot(summary):
    cells = cells_module.TABLES["hot"]
    names = {1000: "flat", 1: "one order id has about 13 % of the requests"}
    heads, lines = by_peer(summary, cells, ["ceiling, calls/s", "calls/s", "CPU a call, µs"], lambda cell: names[cell.flat],
                           ["ceiling_s", "events_s", "cpu_us"], ["worker"])
    return table(["order ids", *heads, "others"], lines)


def transactions(summary):
    cells = cells_module.TABLES["brokers"] + [cell for cell in cells_module.TABLES["steady"] if cell.mode == "steady"]
    names = ["transaction_ms", "transactions_s", "p50_ms", "p99_ms", "cpu_us", "kafka_us"]
    heads, lines = by_peer(summary, cells, ["a transaction, ms", "transactions/s", "p50 ms", "p99 ms", "CPU a call, µs", "of Kafka, µs"],
                           lambda cell: f"{cell.brokers} | {cell.rate:,}", names, ["worker"])
    return table(["brokers", "requests/s", *heads, "others"], lines)


def killed(summary):
    cells = cells_module.TABLES["killed"]
    of = summary.get(cells[0].key(), {})
    lines = []
    for peer in [peer for peer in PEERS if peer in of or peer in ("worker", "floor")]:
        entry = of.get(peer)
        wrong = ", ".join(f"{what}: {count:,}" for what, count in entry["wrong"].items()) or "nothing" if entry else "-"
        lines.append([peer, figure(entry, "called_twice"), wrong, load([entry])])
    return table(["peer", "called twice", "wrong in all", "others"], lines)


def origin(summary):
    """Which runs the tables are of."""
    lines = []
    for run, about in sorted(summary["runs"].items(), reverse=True):
        entries = [(cell, entry) for cell, of in summary["cells"].items() for entry in of.values() if entry["run"] == run]
        names = {cells_module.BY_KEY[cell].table for cell, _ in entries}
        others = [entry["others_percent"] for _, entry in entries]
        of = about["versions"]
        lines.append([run, about["commit"], ", ".join(name for name in cells_module.TABLES if name in names),
                      f"{of['cores']} x {of['processor']}",
                      f"Apache Kafka {of['kafka']}, librdkafka {of['librdkafka']}, libcurl {of['libcurl']}, Java {of['java']}",
                      f"{statistics.median(others):.0f} % ({min(others):.0f} to {max(others):.0f})"])
    return table(["began", "commit", "tables", "cores", "versions", "others"], lines or [["-"] * 6])


def example(summary):
    """What wanted rates come to at a platform of 50 ms, from what was measured of one worker."""
    busiest = summary.get("latency latency=50 in_flight=1000", {}).get("worker")
    lines = []
    for rate, cell in ((10, "steady rate=20"), (1000, "steady rate=1000"),
                       (50000, "latency latency=50 in_flight=1000")):
        at_rate = summary.get(cell, {}).get("worker")
        lines.append([f"{rate:,}", *sized(rate, busiest), cores(rate, at_rate, "cpu_us"), cores(rate, at_rate, "kafka_us")])
    return table(["calls/s", "open at once", "workers", "platform.max.in.flight of each", "partitions", "cores, workers", "cores, Kafka"], lines)


def sized(rate, busiest, latency=0.05):
    """Open calls; workers, none of them beyond 60 % of what one was measured to do, with one to spare; slots and partitions."""
    at_once = rate * latency
    if not busiest or "events_s" not in busiest["figures"]:
        return [number(math.ceil(at_once)), "-", "-", "-"]
    enough = math.ceil(rate / (0.6 * busiest["figures"]["events_s"][0]))
    slots = max(64, math.ceil(1.5 * at_once / enough / 64) * 64)
    partitions = max(8, math.ceil(4 * (enough + 1) / 8) * 8)
    return [number(math.ceil(at_once)), f"{enough + 1}", f"{slots}", f"{partitions}"]


def cores(rate, entry, name):
    if not entry or name not in entry["figures"]:
        return "-"
    return f"{rate * entry['figures'][name][0] / 1e6:.2g}" + ("*" if entry["others_percent"] >= BUSY_PERCENT else "")


TABLES = {
    "latency": plain("latency", "ms x in flight", lambda cell: f"{cell.latency} x {cell.in_flight:,}", COST),
    "partitions": grown("partitions", "partitions", lambda cell: f"{cell.partitions:,}"),
    "backlog": grown("backlog", "backlog", lambda cell: f"{cell.backlog:,}"),
    "keys": grown("keys", "order ids", lambda cell: f"{cell.keys:,}"),
    "sizes": grown("sizes", "bytes a request", lambda cell: f"{cell.size:,}"),
    "steady": plain("steady", "requests/s", lambda cell: f"{cell.rate:,}" if cell.rate else "none", WAIT),
    "transactions": transactions,
    "tls": grown("tls", "to the platform", lambda cell: "TLS" if cell.tls else "plain HTTP"),
    "hot": hot,
    "killed": killed,
    "example": example,
}


def tables(summary):
    return {"origin": origin(summary), **{name: make(summary["cells"]) for name, make in TABLES.items()}}


def measured(text):
    """A table's lines, but those without any figure."""
    lines = text.splitlines()
    found = [line for line in lines[2:] if not line.endswith(" - |")]
    return "\n".join(lines[:2] + found) if found else "Not measured yet."


def report(summary):
    """The tables in which something was measured, for a terminal."""
    found = {cells_module.BY_KEY[cell].table for cell in summary["cells"]}
    found |= {"origin"} | ({"transactions"} if found & {"steady", "brokers"} else set())
    parts = [f"{name}\n{measured(text)}\n" for name, text in tables(summary).items() if name in found]
    return "\n".join(parts + [f"*: others had {BUSY_PERCENT} % of the machine or more, so the figure says something about them too."])


def renewed(text, summary):
    """The page with its tables as they follow from the results. Raises ValueError where a table has no place in it."""
    for name, made in tables(summary).items():
        place = re.compile(rf"(<!-- bench: {name} -->\n).*?(<!-- end -->)", re.S)
        if not place.search(text):
            raise ValueError(f"the page has no part <!-- bench: {name} --> ... <!-- end -->")
        text = place.sub(lambda match: match.group(1) + measured(made) + "\n" + match.group(2), text)  # noqa: B023
    return text


def read_results():
    with open(RESULTS) as file:
        return json.load(file)


def write_page(summary):
    with open(PAGE) as file:
        text = file.read()
    with open(PAGE, "w") as file:
        file.write(renewed(text, summary))


def written(summary):
    """As JSON, a line for each peer of each cell, so that a change shows what has changed."""
    def lines(things):
        return ",\n".join(f"  {json.dumps(name)}: {json.dumps(thing, sort_keys=True)}" for name, thing in sorted(things.items()))

    cells = ",\n".join(f" {json.dumps(cell)}: {{\n{lines(of)}\n }}" for cell, of in sorted(summary["cells"].items()))
    return f'{{"cells": {{\n{cells}\n}},\n"runs": {{\n{lines(summary["runs"])}\n}}}}\n'


def take(path):
    with open(path) as file:
        rows = [json.loads(line) for line in file]
    known, new = read_results(), summarise([row for row in rows if row.get("cell") in cells_module.BY_KEY])
    for cell, of in new["cells"].items():
        for peer, entry in of.items():
            before = known["cells"].setdefault(cell, {}).get(peer)
            if not before or before["run"] <= entry["run"]:
                known["cells"][cell][peer] = entry
    with open(RESULTS, "w") as file:
        file.write(written(with_runs(known["cells"], {**known["runs"], **new["runs"]})))
    write_page(read_results())


def main():
    if sys.argv[1:2] == ["take"] and len(sys.argv) == 3:
        take(sys.argv[2])
    elif sys.argv[1:] == ["write"]:
        write_page(read_results())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
