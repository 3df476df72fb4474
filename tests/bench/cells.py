"""What is measured: one Cell is one line of a table of docs/performance.md."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Cell:
    table: str
    mode: str = "backlog"  # a full topic, as fast as it goes; "steady": -rate requests a second; "idle"; "killed": -9 half way
    latency: int = 10      # ms, the platform's
    in_flight: int = 256   # calls open at once, at most
    partitions: int = 8    # of the requests
    backlog: int = 0       # requests that wait; 0: for some seconds of work
    keys: int = 100000     # order ids
    size: int = 200        # bytes of a request
    rate: int = 0          # requests a second
    brokers: int = 1
    tls: bool = True       # to the platform
    flat: int = 1000       # of the Zipf law P(k) ~ (flat + k)^-1.1: 1000 has no hot order id, 1 has one of 13 %

    def key(self):
        """Names it in the files of results: the table, and what tells its cells apart."""
        return " ".join([self.table, *(f"{name}={getattr(self, name)}" for name in AXES[self.table])])


AXES = {"latency": ("latency", "in_flight"), "partitions": ("partitions",), "backlog": ("backlog",), "keys": ("keys",), "sizes": ("size",),
        "steady": ("rate",), "brokers": ("brokers",), "tls": ("tls",), "hot": ("flat",), "killed": ()}

LATENCIES = [Cell("latency", latency=ms, in_flight=n) for ms in (10, 50, 100) for n in (64, 256, 1000)]
PARTITIONS = [Cell("partitions", partitions=n, backlog=100000) for n in (8, 64, 256, 1000)]
BACKLOG = [Cell("backlog", backlog=n) for n in (10 ** 4, 10 ** 5, 10 ** 6)]
KEYS = [Cell("keys", keys=10 ** n, backlog=60000) for n in range(2, 7)]
SIZES = [Cell("sizes", size=n, backlog=min(60000, 300 * 10 ** 6 // n)) for n in (200, 1000, 10000, 60000)]
IDLE = [Cell("steady", mode="idle", latency=50)]
STEADY = [Cell("steady", mode="steady", latency=50, rate=n) for n in (1, 20, 100, 500, 1000, 2000)]
BROKERS = [Cell("brokers", mode="steady", latency=50, rate=100, brokers=n) for n in (1, 3)]
TLS = [Cell("tls", tls=tls) for tls in (False, True)]
HOT = [Cell("hot", flat=n, backlog=10000) for n in (1000, 1)]
KILLED = [Cell("killed", mode="killed", latency=50, backlog=20000)]

TABLES = {"latency": LATENCIES, "partitions": PARTITIONS, "backlog": BACKLOG, "keys": KEYS, "sizes": SIZES, "steady": IDLE + STEADY,
          "brokers": BROKERS, "tls": TLS, "hot": HOT, "killed": KILLED}
CELLS = [cell for cells in TABLES.values() for cell in cells]
BY_KEY = {cell.key(): cell for cell in CELLS}

# Those of the quick set; --all has everything.
QUICK_KEYS = (10 ** 2, 10 ** 4, 10 ** 6)
QUICK_SIZES = (200, 10000, 60000)


def is_quick(cell):
    return cell.mode != "killed" and (cell.table != "keys" or cell.keys in QUICK_KEYS) and \
        (cell.table != "sizes" or cell.size in QUICK_SIZES)


def peers_of(cell, peers, everything):
    """Who runs a cell: in the quick set others only where the comparison is the point, and a JVM, which begins slowly, only where a
    backlog lasts. The worker's own limits are the worker's alone."""
    if cell.table in ("brokers", "tls", "hot"):
        return [peer for peer in peers if peer == "worker"]
    if everything or cell.table == "latency":
        return peers
    allowed = ("worker", "floor") if cell.table == "steady" else ("worker",)
    return [peer for peer in peers if peer in allowed]
