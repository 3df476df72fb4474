"""Kafka is away for longer than the session while two workers are at work: both lose what they have, hand it over when Kafka is back,
and nothing is lost, in doubt or called twice."""
from case import KafkaCase, load, main
from records import call, zipf_keys

EVENTS = load(3000)


class Outage(KafkaCase):
    BROKERS = 1
    WORKERS = 2
    SESSION = {"kafka.session.timeout.ms": None, "kafka.heartbeat.interval.ms": None}  # the defaults: so long they may hand over

    def begin(self, latency="30-300ms"):
        self.platform = self.sandbox(f"latency={latency}")
        for number, key in enumerate(zipf_keys(EVENTS, keys=1000, exponent=0.6)):
            self.requests.send(call(number, key), key)
        self.sent = self.requests.flush()
        self.workers = [self.worker(self.platform, {"platform.max.in.flight": load(16), **self.SESSION}, name=f"worker{n}")
                        for n in range(self.WORKERS)]
        for worker in self.workers:
            worker.wait_assigned()
        self.platform.wait_calls(EVENTS // 5)

    def finish(self):
        results = self.results(EVENTS, seconds=180)
        self.check_run(self.sent, results, self.platform)
        self.assertEqual({"succeeded": EVENTS}, self.statuses(results))
        self.wait_idle()
        for worker in self.workers:
            self.assertEqual(0, worker.terminate())

    def test_killed_until_all_is_lost(self):
        self.begin()
        self.kafka.kill()
        try:
            for worker in self.workers:
                worker.wait_log("^lost: [1-9]", 90)
        finally:
            self.kafka.restart()
        self.finish()
        for worker in self.workers:
            worker.wait_log("^lost partitions are handed over", 1)


if __name__ == "__main__":
    main()
