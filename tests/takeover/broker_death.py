"""One of three brokers dies under load: the group's coordinator, the transactions' coordinator, another that leads partitions. No
worker loses its assignment by it. How long results stand still, and how long no heartbeat is answered, is told.

KILLS: of the times that each of them dies, five of KILLS. DEATH=pause: it hangs for good, instead of kill -9. SESSION, TRANSACTION:
time-outs in ms other than the defaults."""
import atexit
import os
import re
import time

from confluent_kafka.admin import AdminClient

from case import main, wait_until
from load import KILLS, UnderLoad, print_table
from records import QUIET, coordinator

PAUSE = os.environ.get("DEATH") == "pause"


class BrokerDeath(UnderLoad):
    BROKERS = 3

    def roles(self, workers):
        """{what: number of the broker}, all different if there are as many."""
        def number(where):
            return next(n for n, port in self.kafka.ports.items() if port == where[1])
        found = {"the group's coordinator": number(coordinator(self.bootstrap, self.group))}
        transactions = [number(coordinator(self.bootstrap, f"{self.group}:{w.name}", True)) for w in workers]
        found["a transactions' coordinator"] = next((n for n in transactions if n not in found.values()), transactions[0])
        found["another leader"] = next((n for n in self.kafka.numbers() if n not in found.values()), 1)
        return found

    def wait_in_sync(self):
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})

        def in_sync():
            topics = admin.list_topics(timeout=10).topics.values()
            return all(len(p.isrs) == len(p.replicas) for t in topics for p in t.partitions.values())
        wait_until(in_sync, 90, "all replicas are in sync")

    def longest_gap(self, since):
        """The longest time without a result since then."""
        times = [since] + [at for at, _ in self.arrivals.seen if at > since]
        return max(b - a for a, b in zip(times, times[1:]))

    def die(self, broker, workers):
        died = time.time()
        (self.kafka.pause if PAUSE else self.kafka.kill)(broker)
        try:
            self.settle(*workers)
            gap = self.longest_gap(died)
        finally:
            if PAUSE:
                self.kafka.resume(broker)
            else:
                self.kafka.restart(broker)
        self.wait_in_sync()
        self.settle(*workers)
        return gap

    def test_each_dies(self):
        options = {f"kafka.{name}.timeout.ms": os.environ.get(name.upper()) for name in ("session", "transaction")}
        options["platform.timeout.ms"] = None
        self.begin(**options)
        workers = self.start(), self.start()
        self.settle(*workers)
        self.wait_in_sync()
        logged = [worker.logged() for worker in workers]
        gaps = {}
        for _ in range(max(KILLS // 5, 1)):
            for role in ("the group's coordinator", "a transactions' coordinator", "another leader"):
                gaps.setdefault(role, []).append(self.die(self.roles(workers)[role], workers))
        for role, times in gaps.items():
            self.tell(f"{role} {'hangs' if PAUSE else 'dies'}: longest without a result", None, times)
        moved = [f"{worker.name}: {e['message']}" for worker, start in zip(workers, logged) for e in worker.events()[start:]
                 if re.match("(lost|revoked|assigned):", e["message"])]
        print("moves of partitions: " + ("; ".join(moved) or "none"), flush=True)
        self.finish(*workers, kills=False)
        self.assertEqual([], moved, "a broker's death moved partitions")


if __name__ == "__main__":
    atexit.register(print_table)
    main()
