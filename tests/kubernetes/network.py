"""What may talk to whom: tried by connecting, from pods, in both directions."""
import contextlib
import subprocess

from cluster import Problem, is_ready, until

# Listens on a port inside of a pod for two minutes at most, as nothing there does by itself.
LISTENER = ('use IO::Socket::INET; alarm 120; $s = IO::Socket::INET->new(Listen => 5, LocalPort => %d, ReuseAddr => 1) or die $!;'
            ' $| = 1; print "listens\\n"; while ($c = $s->accept) { close $c }')
PAGE, OTHER, PLATFORM = 9464, 9465, 8443


def reaches(cluster, pod, host, port):
    script = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/{port}' 2>/dev/null && echo open || echo shut"
    return cluster.run("exec", pod, "--", "bash", "-c", script).strip() == "open"


@contextlib.contextmanager
def listening(cluster, pod, port):
    run = subprocess.Popen(["kubectl", "-n", cluster.namespace, "exec", pod, "--", "perl", "-e", LISTENER % port], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if run.stdout.readline() != "listens\n":
            raise Problem(f"nothing listens on port {port} of {pod}: {run.communicate(timeout=20)[1]}")
        yield
    finally:
        run.kill()
        run.wait(10)
        run.stdout.close()
        run.stderr.close()


class Network:
    """stage: with the worker, the platform and their neighbours in it."""

    def __init__(self, stage):
        self.stage, self.worker = stage, stage.cluster.pods()[0]
        self.pod, self.address = self.worker["metadata"]["name"], self.worker["status"]["podIP"]
        self.platform = next(p for p in stage.cluster.get("pods", selector="app=platform") if is_ready(p))
        beside, scraper = stage.neighbours()
        api = stage.cluster.run("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].port}").split()
        worker, neighbour, prometheus = (stage.cluster, self.pod), (stage.cluster, "neighbour"), (stage.scraper, "neighbour")
        platform = self.platform["status"]["podIP"]
        self.open = {
            "worker -> platform": (*worker, "platform", PLATFORM),
            "worker -> Kafka": (*worker, *stage.kafka.split(",")[0].rsplit(":", 1)),
            "Prometheus -> page": (*prometheus, self.address, PAGE),
            # What the worker may not reach is there: one whom no policy binds reaches it.
            "neighbour -> API server": (*neighbour, *api),
            "neighbour -> another port of the platform": (*neighbour, platform, PLATFORM + 1),
            "neighbour -> pod of Prometheus's namespace": (*neighbour, scraper, PLATFORM),
            "Prometheus -> neighbour": (*prometheus, beside, PLATFORM),
            "worker -> another port of its own": (*worker, "127.0.0.1", OTHER)}
        self.shut = {
            "worker -> API server": (*worker, *api),
            "worker -> neighbour": (*worker, beside, PLATFORM),
            "worker -> pod of Prometheus's namespace": (*worker, scraper, PLATFORM),
            "worker -> another port of the platform": (*worker, platform, PLATFORM + 1),
            "neighbour -> page": (*neighbour, self.address, PAGE),
            "neighbour -> another port of the worker": (*neighbour, self.address, OTHER),
            "Prometheus -> another port of the worker": (*prometheus, self.address, OTHER)}

    def tried(self):
        """Returns which of the ways that shall be shut are open. Raises Problem if one is shut that shall be open."""
        with listening(self.stage.cluster, self.pod, OTHER), listening(self.stage.cluster, self.platform["metadata"]["name"], PLATFORM + 1):
            for what, way in self.open.items():  # the firewall hears of a new pod within seconds
                until(30, lambda w=way: reaches(*w), what)
            return [what for what, way in self.shut.items() if reaches(*way)]

    def name(self):
        """Looks a name up in the worker's pod."""
        return self.stage.cluster.run("exec", self.pod, "--", "getent", "hosts", "platform")

    def scrape(self):
        """What a Prometheus gets."""
        script = f"exec 3<>/dev/tcp/{self.address}/{PAGE}; printf 'GET /metrics HTTP/1.0\\r\\nHost: {self.address}\\r\\n\\r\\n' >&3; cat <&3"
        return self.stage.scraper.run("exec", "neighbour", "--", "bash", "-c", script)
