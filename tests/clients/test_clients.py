"""The programs of docs/clients.md, as they stand there: what they send is called, in the partition where Java would put it, and what comes
out is read.

`make test` runs those in Python and for kcat, `make clients` all of them: it needs a JDK, Go and Node.js, and their registries.
"""
import os
import re
import shutil
import subprocess
from pathlib import Path

import kafka
from case import KafkaCase, main
from programs import Program, wait_until

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = dict(re.findall(r"```\w+\n(?:#|//) ([\w.]+)\n(.*?)```", (ROOT / "docs/clients.md").read_text(), re.DOTALL))
ORDERS = [f"o-{number}" for number in range(1001, 1025)]
FRANZ_GO, KAFKAJS = "github.com/twmb/franz-go/pkg/kgo@v1.17.1", "kafkajs@2.2.4"


def murmur2(data):
    """The hash of Java's clients (org.apache.kafka.common.utils.Utils.murmur2), made positive."""
    mask, h = 0xffffffff, 0x9747b28c ^ len(data)
    for at in range(0, len(data) & ~3, 4):
        k = int.from_bytes(data[at:at + 4], "little") * 0x5bd1e995 & mask
        k = (k ^ k >> 24) * 0x5bd1e995 & mask
        h = (h * 0x5bd1e995 & mask) ^ k
    rest = data[len(data) & ~3:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * 0x5bd1e995 & mask
    h = (h ^ h >> 13) * 0x5bd1e995 & mask
    return (h ^ h >> 15) & 0x7fffffff


class Clients(KafkaCase):
    def run_tool(self, *command):
        run = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=300)
        self.assertEqual(0, run.returncode, f"{' '.join(command)}: {run.stdout[-2000:]}{run.stderr[-2000:]}")

    def write(self, name):
        text = PROGRAMS[name].replace("broker-1:9092", self.bootstrap)
        text = re.sub("(?m)^kcat", "exec kcat", text)  # it is to end with the shell that the test ends
        for topic, role in (("call-requests", "call.requests"), ("call-results", "call.results")):
            text = text.replace(topic, self.names[role])
        path = os.path.join(self.directory, name)
        Path(path).write_text(text.replace('"orders"', f'"{self.group}.reader"').replace("'orders'", f"'{self.group}.reader'"))
        return path

    def try_out(self, send, read):
        """The commands of both programs."""
        self.worker(self.sandbox()).wait_assigned()
        self.run_tool(*send, *ORDERS)
        results = self.results(len(ORDERS))
        self.assertEqual({"succeeded"}, {result["status"] for result in results})
        self.assertEqual({f"{order}/1" for order in ORDERS}, {result["requestId"] for result in results})
        expected = {order: murmur2(order.encode()) % self.PARTITIONS for order in ORDERS}
        self.assertEqual(expected, {result["orderId"]: result["source"]["partition"] for result in results})
        reader = self.keep(Program(read, self.directory, "reader"))

        def seen():
            return {line.split()[0] for line in reader.lines["stdout"] if "succeeded" in line}
        wait_until(lambda: set(ORDERS) <= seen(), 60, lambda: f"only {sorted(seen())}; {reader.lines['stderr'][-5:]}")

    def test_python(self):
        self.try_out(["/usr/bin/python3", self.write("send.py")], ["/usr/bin/python3", self.write("read.py")])

    def test_kcat(self):
        self.try_out(["sh", self.write("send.sh")], ["sh", self.write("read.sh")])

    def test_java(self):
        libraries = f"{kafka.jars()}/*"
        self.run_tool("javac", "-cp", libraries, "-d", self.directory, self.write("Send.java"), self.write("Read.java"))
        java = ["java", "-Xmx128m", "-cp", f"{libraries}:{self.directory}"]
        self.try_out([*java, "Send"], [*java, "Read"])

    def test_go(self):
        for name in ("send", "read"):
            folder = os.path.join(self.directory, name)
            os.mkdir(folder)
            shutil.move(self.write(f"{name}.go"), folder)
        self.run_tool("go", "mod", "init", "clients")
        self.run_tool("go", "get", FRANZ_GO)
        for name in ("send", "read"):
            self.run_tool("go", "build", "-o", f"{name}.program", f"./{name}")
        self.try_out([f"{self.directory}/send.program"], [f"{self.directory}/read.program"])

    def test_node(self):
        self.run_tool("npm", "install", "--silent", "--no-audit", "--no-fund", KAFKAJS)
        self.try_out(["node", self.write("send.js")], ["node", self.write("read.js")])


if __name__ == "__main__":
    main()
