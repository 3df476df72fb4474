"""One broker that refuses for good what a worker asks of it, under load: identities, limits, rights and clocks that are not as they were.
It ends only for what a worker does about it, or when the test lifts it; then everything is as if nothing had been."""
import time

from case import main, wait_until
from records import allow_reading, create_topics, delete_topic, forbid_reading, knows_transactions, set_topic
from scenario import LONG, Scenario
from wall import Wall, wall_needed

OFFSETS_TOPIC = {"cleanup_policy": "compact", "compression_type": "producer", "segment_bytes": 104857600}


class Refusals(Scenario):
    BROKERS = 1
    PARTITIONS = 24
    SETTINGS = {"transactional.id.expiration.ms": 6000, "transaction.remove.expired.transaction.cleanup.interval.ms": 500,
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "true"}

    def test_ids_expired(self):
        """transactional ids expire, and then requests come, or a standby has to take over"""
        self.begin()
        workers = self.start_all("a", "b")
        rounds = 3 if LONG else 1
        for turn in range(rounds):
            self.expire()
            if turn == rounds - 1:
                workers[0].kill()
            self.go_on()
            self.progress(50)
        self.finish(f"{rounds} times after 6 s of idleness, the last time with the death of one of 2 workers")

    def expire(self):
        self.pause()
        wait_until(lambda: not knows_transactions(self.bootstrap, self.group), 60, "the transactional ids have expired")

    def test_topic_made_anew(self):
        """the topic of the requests is deleted and made anew at once"""
        self.begin()
        self.start_all("a", "b")
        rounds = 3 if LONG else 1
        for _ in range(rounds):
            self.progress(50)
            self.pause()
            self.forget()
            delete_topic(self.bootstrap, self.names["call.requests"])
            create_topics(self.bootstrap, {self.names["call.requests"]: self.PARTITIONS})
            self.go_on()
            self.progress(50)
        self.finish(f"{rounds} times, all answered; then others at the same offsets")

    def test_reading_forbidden(self):
        """the right to read the requests is lost and given back"""
        self.begin()
        workers = self.start_all("a", "b")
        rounds = 3 if LONG else 1
        for _ in range(rounds):
            logged = [worker.logged() for worker in workers]
            forbid_reading(self.bootstrap, self.names["call.requests"])
            for worker, after in zip(workers, logged):
                # Said at most once a minute, with the next read that is refused, which may be half a minute later.
                worker.wait_log(f"READ on topic {self.names['call.requests']}", 120, after)
            time.sleep(12)  # long enough for clients to hear that the topic is not there for them
            allow_reading(self.bootstrap, self.names["call.requests"])
            self.progress(50)
        self.finish(f"{rounds} times, for 12 s")

    def test_ledgers_too_large_together(self):
        """the broker takes no commit as large as all ledgers of a worker together"""
        self.begin()
        worker, = self.start_all("a")
        set_topic(self.bootstrap, "__consumer_offsets", **OFFSETS_TOPIC, max_message_bytes=2000)
        self.addCleanup(set_topic, self.bootstrap, "__consumer_offsets", **OFFSETS_TOPIC, max_message_bytes=1048588)
        self.progress(50)
        self.assertEqual(0, worker.terminate())
        self.start_all("b")
        self.progress(50)
        self.finish("2,000 bytes at most, 24 partitions; then another worker takes all of them")

    def test_dead_letters_compacted(self):
        """the dead letters' topic is compacted, and invalid requests come without a key"""
        set_topic(self.bootstrap, self.names["dead.letters"], cleanup_policy="compact")
        self.begin()
        self.start_all("a", "b")
        rounds = 20 if LONG else 4
        for _ in range(rounds):
            for _ in range(3):
                self.requests.send({"Caller": "17700000000"})
            self.progress(20)
        self.requests.flush()
        self.finish(f"{3 * rounds} invalid requests among the others")
        for message in self.topic("dead.letters").messages:
            headers = dict(message.headers())
            where = "/".join(headers[f"dlq.{name}"].decode() for name in ("topic", "partition", "offset"))
            self.assertEqual((where.encode(), True), (message.key(), "dlq.key.missing" in headers))

    @wall_needed
    def test_times_refused(self):
        """a worker's clock is ahead of the broker's by more than the topic allows, and is set right"""
        # Not by message.timestamp.before.max.ms=0, to which the broker's own transaction markers fall victim: an abort never ends.
        set_topic(self.bootstrap, self.names["call.results"], message_timestamp_after_max_ms=60000)
        clock = Wall(self.directory)
        self.begin(launcher=("env", *(f"{name}={value}" for name, value in clock.environment.items())))
        worker, = self.start_all("a")
        logged = worker.logged()
        clock.set_ahead(300000)  # which the platform takes
        worker.wait_log(lambda event: event["log.level"] == "error" and "clock" in event["message"], 90, logged)
        wait_until(lambda: worker.get("/readyz")[0] == 503, 90, "it says that it is not ready")
        clock.set_ahead(0)
        wait_until(lambda: worker.get("/readyz")[0] == 200, 30, "it is ready again")
        self.progress(50)
        self.finish("5 minutes where 1 is allowed, until the worker had said so and was not ready any more")


class Limits(Scenario):
    """Ledgers are long: each partition gets many requests, and one call in ten takes long."""
    BROKERS = 1
    PARTITIONS = 2

    @staticmethod
    def latency(least=20, most=100):
        return f"latency=8s@10%,latency={least}-{most}ms"

    def test_ledger_too_large(self):
        """the broker takes shorter ledgers than it did"""
        self.begin(platform_timeout="30000", rate=40)
        self.options["platform.max.in.flight"] = "200"
        # They keep their partitions while the broker starts again: a claim cannot make a ledger shorter.
        workers = self.start_all("a", "b", **{"kafka.session.timeout.ms": "120000", "kafka.transaction.timeout.ms": "240000"})
        wait_until(lambda: self.longest() > 90, 60, "a long ledger")
        logged = [worker.logged() for worker in workers]
        self.limit(75)
        wait_until(lambda: any(self.refusals(*each) for each in zip(workers, logged)), 60, "a ledger was refused")
        self.load.ended.set()  # as long as it knows of short ones only, it is slow
        self.limit(4096)
        self.progress(50)
        self.finish("75 characters at most when there were more than 90; later 4,096 again")

    def longest(self):
        return max(len(metadata) for _, metadata in self.ledgers().values())

    @staticmethod
    def refusals(worker, after):
        return [e for e in worker.events()[after:] if "offset.metadata.max.bytes" in e["message"]]

    def limit(self, characters):
        self.kafka.settings["offset.metadata.max.bytes"] = characters
        self.kafka.stop()
        self.kafka.restart()


if not LONG:
    del (Refusals.test_topic_made_anew, Refusals.test_reading_forbidden, Refusals.test_ledgers_too_large_together,
         Refusals.test_times_refused, Limits)

if __name__ == "__main__":
    main()
