"""The figures of a scenario as a line, those of all of them as the page docs/chaos.md and as the sentence that README.md quotes."""
import re

COLUMNS = ("events", "results", "lost", "duplicate results", "second POSTs", "order violations", "unknown", "unexplained", "seconds")
SUMS = COLUMNS[:-1]
README_BLOCK = re.compile(r"(<!-- written by make chaos -->\n).*?(<!-- end -->)", re.DOTALL)

PAGE = """# Chaos

`make chaos` writes this page. Each scenario runs on three Kafka brokers (replication 3,
`min.insync.replicas` 2; one broker where the scenario is about a broker's refusals), with 60
requests a second whose order ids follow a Zipf distribution, and a simulated platform that answers
after 20 to 100 ms and records every POST on arrival. Each scenario has its own topics and its own
group. It ends when the workers are idle and have stopped with exit status 0. Then the test's own
clients read requests and results (read_committed), and compare them with the platform's record.

{table}

{faults}

- **lost**: requests without a committed result. **duplicate results**: requests with more than one.
- **second POSTs**: requests whose call reached the platform more than once.
- **order violations**: calls or results of one order id that were out of order, or calls of one
  order id that ran in parallel.
- **unknown**: requests whose result says that the call may have been placed. **unexplained**: those
  of them that were not outstanding at a kill, a freeze or a cut (not marked as started in the
  ledger that was committed then, or answered long before, or sent afterwards) or at the platform's own
  death (its record shows no POST that waited for an answer).

Planned stops, moves of partitions, and faults of brokers, connections and the store for recordings
leave nothing unknown. Each recording has exactly one result, too, and the store holds at any time
the files that results name, and no other. The dead letters hold only late outcomes: at most one for
each request that a worker left unknown, and one for each request whose worker got the answer while
it was cut off from Kafka. A scenario fails when any of this does not hold.
`tests/chaos/test_findings.py` puts each fault of the table into a clean run, and finds it.
`make test` runs a short form.
"""


def line(row):
    return f"{row['scenario']}: " + ", ".join(f"{what} {row[what]}" for what in COLUMNS) + f" ({row['faults']})"


def table(rows):
    cells = [("scenario", *COLUMNS), ("---", *["---:"] * len(COLUMNS))]
    cells += [(row["scenario"], *(str(row[what]) for what in COLUMNS)) for row in rows]
    cells.append(("all", *(str(sum(row[what] for row in rows)) for what in COLUMNS)))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def print_outages(outages):
    """The table of docs/guarantees.md: (seconds, workers, row, seconds without a result after the return, load) of each."""
    if not outages:
        return
    what = ("events", "results", "lost", "duplicate results", "second POSTs", "order violations", "unknown")
    print(f"\n| away for | workers | {' | '.join(what)} | a partition stands after the return | load |")
    print(f"|{' --- |' * (len(what) + 4)}")
    for seconds, workers, row, stood, load in sorted(outages, key=lambda outage: outage[:2]):
        print(f"| {seconds} s | {workers} | {' | '.join(str(row[name]) for name in what)} | {stood:.1f} s | {load:.1f} |", flush=True)


def sentence(rows):
    total = {what: sum(row[what] for row in rows) for what in SUMS}
    counts = ", ".join(f"{what} {total[what]:,}" for what in SUMS[2:-1])
    return (f"Its last long run: {len(rows)} scenarios, {total['events']:,} requests; {counts}, of which "
            f"{total['unexplained']:,} were not outstanding at a death.")


def write(page, readme, rows):
    """Writes the page, and the sentence into the README's block."""
    faults = "\n".join(f"- {row['scenario']}: {row['faults']}." for row in rows)
    with open(page, "w") as file:
        file.write(PAGE.format(table=table(rows), faults=faults))
    with open(readme) as file:
        text, blocks = README_BLOCK.subn(lambda found: found[1] + sentence(rows) + "\n" + found[2], file.read())
    assert blocks == 1, f"{readme} has no block for the sentence"
    with open(readme, "w") as file:
        file.write(text)
