"""How long partitions are without an owner: after kill -9, at a restart in place, at a planned stop. Under load, on Apache Kafka.

KILLS: how often each is done (make takeover: 20). Asserted is that nothing is called twice, everything is answered once and in order,
only what was under way at a kill is unknown, and that nobody has waited for transaction.timeout.ms or (where the session does not
matter) for the session. The times are told; of ten and more of them the median has to reach the goal."""
import atexit
import signal
import time

from case import main
from load import ENOUGH, GRACE, KILLS, UnderLoad, print_table
from records import instant

SESSION = 6  # seconds, where it matters
CALL = 1  # seconds for a call (0.15 at most) and the commits before and after it


class Takeover(UnderLoad):
    def takeover(self, transaction_timeout):
        self.begin(**{"kafka.session.timeout.ms": str(SESSION * 1000), "kafka.transaction.timeout.ms": str(transaction_timeout)})
        firsts, calls = [], []
        victim, other = self.start(), self.start()
        for _ in range(KILLS):
            held, _ = self.settle(victim, other)
            at = self.kill(victim)
            first, called = self.wait_first(held, at, time.time(), SESSION + GRACE)
            firsts.append(first)
            calls.append(called)
            victim, other = other, self.start()
        self.settle(victim, other)
        what = f"kill -9, session {SESSION} s, transaction timeout {transaction_timeout // 1000} s"
        self.tell(f"{what}: first result", SESSION + 2, firsts)
        self.tell("   first call answered", SESSION + 2 + CALL, calls)
        self.finish(victim, other)

    def test_another_takes_over(self):
        self.takeover(600000)

    if KILLS >= ENOUGH:
        def test_another_takes_over_with_the_default_transaction_timeout(self):
            self.takeover(60000)

    def test_restart_in_place(self):
        """A static member that comes back has its partitions at once, however long the session is."""
        session = 30
        self.begin(**{"kafka.session.timeout.ms": str(session * 1000)})

        def start(name):
            return self.start(name, **{"kafka.group.instance.id": name})
        firsts, calls = [], []
        victim, other = start("one"), start("two")
        for _ in range(KILLS):
            held, _ = self.settle(victim, other)
            self.kill(victim)
            at = time.time()
            victim = start(victim.name)
            first, called = self.wait_first(held, at, at, session)
            firsts.append(first)
            calls.append(called)
            victim, other = other, victim
        self.settle(victim, other)
        self.tell(f"kill -9 and restart in place, session {session} s: first result", 2, firsts)
        self.tell("   first call answered", None, calls)
        self.finish(victim, other)

    def test_planned_stop(self):
        session = 30
        self.begin(**{"kafka.session.timeout.ms": str(session * 1000)})
        firsts, beyond = [], []
        victim, other = self.start(), self.start()
        for _ in range(KILLS):
            held, _ = self.settle(victim, other)
            logged, after = other.logged(), len(self.arrivals.seen)
            asked = time.time()
            victim.signal(signal.SIGTERM)
            other.wait_log("^assigned: [1-9]", session, logged)
            assigned = time.time() - 0.1  # the log is read a little late
            at, _ = self.arrivals.first(lambda r: r["source"]["partition"] in held and self.began(r) > assigned, after, session)
            self.assertEqual(0, victim.wait())
            longest = max(instant(r["finishedAt"]) for _, r in self.arrivals.seen
                          if r["source"]["partition"] in held and self.began(r) < assigned)
            firsts.append(at - asked)
            beyond.append(at - max(longest, asked))
            victim, other = other, self.start()
        self.settle(victim, other)
        self.tell("SIGTERM: the successor's first result", None, firsts)
        self.tell("   beyond the end of the longest outstanding call", 1, beyond)
        self.finish(victim, other, kills=False)


if __name__ == "__main__":
    atexit.register(print_table)
    main()
