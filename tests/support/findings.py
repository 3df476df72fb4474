"""What a run did wrong, told from records alone: the requests, the results and the POSTs that the platform saw. Nothing here is
believed that the worker says of itself."""
import collections
import datetime
import json

BAD = ("lost", "duplicate results", "second POSTs", "order violations", "strangers", "mismatches")


def findings(group, requests, results, calls):
    """requests: {(partition, offset): message}, all with a Caller of their own; a producer that sends again what a broker took may write
    one twice, which then is two requests. results: dicts as records.result() makes them. calls: the Callers of the POSTs, in the order of
    arrival. Returns {what: list of those}, for each of BAD:
        lost               requests without a result
        duplicate results  requests with several
        second POSTs       callers that were called more often than they have requests
        order violations   (key, partition, offset) that came after a later one of its key, as a call or as a result
        strangers          results and calls that nobody asked for
        mismatches         results under a wrong key or id, or that speak of a call which the platform never saw
    """
    seen = collections.Counter(place(r) for r in results)
    at = collections.defaultdict(list)
    for where, m in sorted(requests.items()):
        at[json.loads(m.value())["Caller"]].append(where)
    known = [r for r in results if place(r) in requests]
    count, called = collections.Counter(), []  # the places that were called, in the order of the calls
    for caller in calls:
        called += at.get(caller, ())[count[caller]:][:1]
        count[caller] += 1
    in_log = sorted(known, key=lambda r: (r["_partition"], r["_offset"]))
    return {
        "lost": sorted(set(requests) - set(seen)),
        "duplicate results": sorted(where for where, count in seen.items() if count > 1),
        "second POSTs": sorted(c for c, times in count.items() if times > max(1, len(at.get(c, ())))),
        "order violations": late((requests[where].key(), *where) for where in called) + late((r["_key"], *place(r)) for r in in_log),
        "strangers": sorted(set(seen) - set(requests)) + sorted(set(calls) - set(at)),
        "mismatches": mismatches(group, requests, known, set(called)),
    }


def place(result):
    """Partition and offset of the request that it answers."""
    return result["source"]["partition"], result["source"]["offset"]


def late(items):
    """Those of (key, partition, offset) that come behind a later offset of the same key and partition."""
    last, found = {}, []
    for key, partition, offset in items:
        if offset < last.get((key, partition), -1):
            found.append((key, partition, offset))
        last[key, partition] = max(offset, last.get((key, partition), -1))
    return found


def mismatches(group, requests, results, called):
    wrong = []
    for r in results:
        partition, offset = place(r)
        fits = (r["_key"] == requests[partition, offset].key()
                and r["_headers"]["ce_id"] == f"{group}/{r['source']['topic']}/{partition}/{offset}"
                and (r["status"] not in ("succeeded", "refused") or (partition, offset) in called))
        if not fits:
            wrong.append((partition, offset))
    return wrong


def astray(results, letters, answered=()):
    """(reason, partition, offset) of each dead letter that should not be, where every request is sound and none was deleted: all but
    one late outcome for each result that says worker-died. And of late outcomes that should be: of those at the places `answered`, whose
    callers have outlived their partitions."""
    left = {("late-outcome", r["source"]["topic"], *place(r)) for r in results
            if r["status"] == "unknown" and r["error"]["code"] == "worker-died"}
    due, wrong = set(answered), []
    for headers in letters:
        told = headers["dlq.reason"], headers["dlq.topic"], int(headers["dlq.partition"]), int(headers["dlq.offset"])
        if told in left:
            left.remove(told)
            due.discard(told[2:])
        else:
            wrong.append((told[0], *told[2:]))
    return sorted(wrong) + [("no late-outcome", *where) for where in sorted(due)]


class Death:
    """A worker that was killed, frozen or cut off: when, and what it had started by the ledgers that were committed then.
    ledgers: {partition: (offset, metadata)}, perhaps read several times."""

    COMMIT_SECONDS = 5  # within which an answer is committed while Kafka is well

    def __init__(self, owner, time, *ledgers):
        self.owner, self.time, self.started = owner, time, set()
        for found in ledgers:
            for partition, (base, metadata) in found.items():
                name, offsets = started(base, metadata)
                if name == owner:
                    self.started |= {(partition, offset) for offset in offsets}

    def explains(self, result, posted, answer_seconds):
        """Whether it was started and not done, and its POST, if there was one, had not been answered for long."""
        earliest = self.time - answer_seconds - self.COMMIT_SECONDS
        return place(result) in self.started and (posted is None or earliest <= posted <= self.time + 1)


class PlatformDeath:
    """The platform was killed at that time: what was on its way to it then is in doubt."""

    def __init__(self, time):
        self.time = time

    def explains(self, result, posted, answer_seconds):
        """Whether its POST was waiting for an answer; one that was sent but not read is known from the result only."""
        if posted is not None:
            return self.time - answer_seconds - 0.5 <= posted <= self.time
        return seconds(result["startedAt"]) <= self.time <= seconds(result["finishedAt"]) + 0.5


def seconds(text):
    return datetime.datetime.fromisoformat(text).timestamp()


def unexplained(requests, results, posts, deaths, answer_seconds):
    """The places of the results `unknown` that no death explains. posts: the platform's record; answer_seconds: how long it takes
    for an answer at most."""
    posted = {post["Caller"]: post["time"] / 1000 for post in reversed(posts)}
    found = []
    for result in results:
        request = requests.get(place(result))
        if result["status"] != "unknown" or not request:
            continue
        when = posted.get(json.loads(request.value())["Caller"])
        if not any(death.explains(result, when, answer_seconds) for death in deaths):
            found.append(place(result))
    return sorted(found)


BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def started(base, metadata):
    """(owner, offsets that are started and not done) of a committed ledger; src/core/ledger.h has the format."""
    if not metadata:
        return "", []
    _, _, owner, _, body = metadata.split(":", 4)
    if body[0] == "x":  # names of doubts come first
        body = body.partition(".")[2]
    if body[0] in "bB":
        marks = "".join("fsd?"[BASE64.index(c) >> (2 * k) & 3] for c in body[1:] for k in range(3))
    else:
        marks, run = "", ""
        for c in body[1:] + "f":
            if c.isdigit():
                run += c
                continue
            marks += marks[-1:] * (int(run or 1) - 1) + c
            run = ""
    return owner, [base + i for i, mark in enumerate(marks) if mark == "s"]
