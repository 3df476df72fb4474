"""Many requests of few and of many order ids: each is called once and answered once, in order for each id."""
from case import KafkaCase, main
from records import call, zipf_keys


class ExactlyOnce(KafkaCase):
    def test_two_thousand(self):
        sandbox = self.sandbox("latency=2-10ms")
        for number, key in enumerate(zipf_keys(2000)):
            self.requests.send(call(number, key), key)
        sent = self.requests.flush()
        worker = self.worker(sandbox)
        results = self.results(2000)
        self.check_run(sent, results, sandbox)
        self.assertEqual({"succeeded": 2000}, self.statuses(results))
        self.assertEqual(2000, len(sandbox.calls()))
        stats = sandbox.stats()
        self.assertEqual(0, stats["overlaps"], "calls of one order id ran side by side")
        self.assertEqual(0, stats["violations"]["count"], stats)
        self.assertGreater(stats["max_concurrent"]["overall"], 8, "no more calls at once than partitions")
        self.wait_idle()
        self.assertEqual(0, worker.terminate())
        self.assertEqual(2000, len(self.topic("call.results").read(2000)), "the stop has published something again")

    def test_same_partition_as_a_java_client(self):
        """Results lie where a Java producer's default partitioner would put them."""
        known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
                 b"a-little-bit-longer-string": -1486304829}  # Kafka's own test vectors of murmur2
        sandbox = self.sandbox()
        self.worker(sandbox)
        for number, key in enumerate(known):
            self.requests.send(call(number), key)
        self.requests.flush()
        for result in self.results(len(known)):
            self.assertEqual((known[result["_key"]] & 0x7FFFFFFF) % self.PARTITIONS, result["_partition"], result["_key"])


if __name__ == "__main__":
    main()
