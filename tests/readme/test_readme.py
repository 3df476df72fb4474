"""Every command in a sh block of README.md is run as it stands, in order, in one shell; only addresses and the place of the
installation are others. The demo and the tests, which it names too, are tests of their own. So are the commands of the runbook and of
docs/operations.md that look into Kafka."""
import glob
import os
import re
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import kafka as kafka_module  # noqa: E402
from case import KafkaCase, main  # noqa: E402
from confluent_kafka import Producer  # noqa: E402
from kafka import free_ports  # noqa: E402
from programs import ROOT  # noqa: E402
from records import call, caller  # noqa: E402

def write_tool(directory, name, main_class):
    """A tool of Apache Kafka as its archive has it."""
    path = f"{directory}/{name}"
    with open(path, "w") as file:
        file.write(f'#!/bin/sh\nexec java -cp "{kafka_module.jars()}/*" {main_class} "$@"\n')
    os.chmod(path, stat.S_IRWXU)


FOREGROUND = "privacy-call-worker -c worker.conf"  # runs until it is stopped


class Readme(KafkaCase):
    def commands(self):
        with open(f"{ROOT}/README.md") as file:
            return "\n".join(re.findall(r"^```sh\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL))

    def test_commands(self):
        sandbox = self.sandbox()
        page = f"127.0.0.1:{free_ports(1)[0]}"
        tools = f"{self.directory}/tools"
        os.mkdir(tools)
        write_tool(tools, "kafka-topics.sh", "org.apache.kafka.tools.TopicCommand")
        os.symlink(f"{ROOT}/config", f"{self.directory}/config")
        script = self.commands()
        for written, here in (("make PRESET=release build", f"make -C {ROOT} PRESET=release build"),
                              ("sudo cmake --install build/release", f"cmake --install {ROOT}/build/release --prefix {self.directory}/usr"),
                              ("broker-1:9092", self.bootstrap), ("https://platform.example", sandbox.url),
                              ("127.0.0.1:9464", page)):
            self.assertIn(written, script, "README.md has changed: this test must, too")
            script = script.replace(written, here)
        lines = script.splitlines()
        self.assertEqual(1, lines.count(FOREGROUND))
        lines[lines.index(FOREGROUND)] = f"{FOREGROUND} & worker=$!\ntrap 'kill $worker; wait $worker; exit' EXIT"
        readiness = f"curl -sf http://{page}/readyz"  # comes when both jobs are in their groups, of which a result needs one
        lines[lines.index(readiness)] = f"until {readiness}; do kill -0 $worker; sleep 0.1; done"
        environment = {**{k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PRESET")}, "PATH": f"{self.directory}/usr/bin:{tools}:{os.environ['PATH']}",
                       "PRIVACY_CALL_PLATFORM_CA_FILE": sandbox.ca, "PRIVACY_CALL_HTTP_LISTEN": page}
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], cwd=self.directory, env=environment,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=500)
        self.assertEqual(0, run.returncode, run.stdout[-3000:] + run.stderr[-3000:])
        self.assertIn("platform.token = ***", run.stdout)
        self.assertRegex(run.stdout, r'"orderId": ?"o-1001", ?"requestId": ?"r-7", ?"status": ?"succeeded"')
        self.assertRegex(run.stdout, r"privacy_call_results\w*\{")
        self.assertEqual(1, len(sandbox.calls()))
        for program in ("privacy-call-worker", "privacy-call-sandbox"):
            self.check_hardened(f"{self.directory}/usr/bin/{program}")

    def check_hardened(self, program):
        told = subprocess.run(["readelf", "--wide", "--file-header", "--program-headers", "--dynamic", "--notes", "--dyn-syms", program],
                              capture_output=True, text=True, check=True).stdout
        for what, pattern in {"position-independent": r"Type:\s+DYN", "PIE": r"\(FLAGS_1\).*\bPIE\b", "read-only relocations": r"GNU_RELRO",
                              "bound at the start": r"\(FLAGS(_1)?\).*\b(BIND_NOW|NOW)\b", "a stack without code": r"GNU_STACK.*\bRW\b",
                              "canaries": r"__stack_chk_fail", "checked buffers": r"__(v?snprintf|memcpy|read|fd_set|v?fprintf|strcpy)_chk"}.items():
            self.assertRegex(told, pattern, f"{program}: {what}")
        self.assertNotRegex(told, r"LOAD.*\bRWE\b", "what can be written can be run")
        self.assertNotRegex(told, r"\((RPATH|RUNPATH|TEXTREL)\)")
        if os.uname().machine == "x86_64":
            self.assertRegex(told, r"x86 feature:.*\bIBT\b", f"{program}: targets of indirect jumps")
            self.assertRegex(told, r"x86 feature:.*\bSHSTK\b", f"{program}: shadow stacks")

    def anchors(self, path):
        """Those that headings have, as GitHub makes them."""
        with open(path) as file:
            headings = re.findall(r"^#+ (.*)$", file.read(), re.MULTILINE)
        return {re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}

    def test_files_that_the_map_names(self):
        with open(f"{ROOT}/docs/architecture.md") as file:
            names = re.findall(r"`((?:src|tests|docs|config|cmake|packaging|sandbox|worker|io|core|base)/[\w./-]+)`", file.read())
        self.assertGreater(len(names), 30)
        missing = [name for name in names if not os.path.exists(f"{ROOT}/{name}") and not os.path.exists(f"{ROOT}/src/{name}")]
        self.assertEqual([], missing)

    def test_make_targets(self):
        """Each that a page names exists, and `make help` prints those of README.md."""
        with open(f"{ROOT}/Makefile") as file:
            targets = set(re.search(r"(?m)^\.PHONY: (.*)", file.read()).group(1).split())
        named = {}
        for page in (*glob.glob(f"{ROOT}/*.md"), *glob.glob(f"{ROOT}/docs/*.md"), *glob.glob(f"{ROOT}/tests/**/README.md", recursive=True)):
            with open(page) as file:
                for name in re.findall(r"(?:^ *|`|&& |sudo )make (?:[A-Z]+=\S+ )*([a-z][a-z0-9-]*)", file.read(), re.MULTILINE):
                    named[name] = os.path.basename(page)
        self.assertGreater(len(named), 20)
        self.assertEqual({}, {name: page for name, page in named.items() if name not in targets})
        told = subprocess.run(["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
        self.assertRegex(told, r"(?m)^make demo +# ")
        self.assertRegex(told, r"(?m)^make bench +# ")

    def test_links(self):
        pages = [page for part in ("*.md", "docs/*.md", "tests/README.md", "tests/*/README.md") for page in sorted(glob.glob(f"{ROOT}/{part}"))]
        broken, count = [], 0
        for page in pages:
            with open(page) as file:
                links = re.findall(r"\]\(([^)\s]+)\)", file.read())
            for link in links:
                if re.match(r"[a-z]+:", link):
                    continue
                count += 1
                path, _, anchor = link.partition("#")
                path = os.path.join(os.path.dirname(page), path) if path else page
                if not os.path.exists(path) or (anchor and anchor not in self.anchors(path)):
                    broken.append(f"{os.path.basename(page)}: {link}")
        self.assertGreater(count, 10)
        self.assertEqual([], broken)


class Operators(KafkaCase):
    """What an operator looks into Kafka with, as the pages have it: partition 3 of call-requests at BROKER."""

    def run_command(self, page, beginning, **values):
        """The first command of the page, in a block or in a line, that begins so; what it prints."""
        with open(f"{ROOT}/docs/{page}") as file:
            text = file.read()
        at = re.search(rf"(```sh\n(?:.*\n)*?|`)(?={re.escape(beginning)})", text)
        self.assertIsNotNone(at, f"{page} has no command `{beginning}`")
        rest = text[at.end():]
        command = " ".join(rest[:rest.index("`")].split("\n")) if at.group(1) == "`" else re.match(r"(?:.*[\\|]\n)*.*", rest).group()
        for written, here in {"BROKER": self.bootstrap, "call-requests": self.names["call.requests"], "call-results": self.names["call.results"],
                              "privacy-call-dead-letters": self.names["dead.letters"], **values}.items():
            command = command.replace(written, here)
        run = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=self.directory, capture_output=True, text=True, timeout=60,
                             env={**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"})
        self.assertEqual(0, run.returncode, f"{command}\n{run.stdout}{run.stderr}")
        return run.stdout.splitlines()

    def test_results_and_dead_letters(self):
        self.worker(self.sandbox(f"reset?caller={caller(1)}"))
        for number, value in enumerate((call(0), call(1), {"Caller": caller(2)})):
            self.requests.send(value, f"o-{number}", partition=3)
        self.requests.flush()
        self.results(3)
        unknown = self.run_command("runbook.md", "kcat -C -q -e -b BROKER -t call-results")
        self.assertEqual(["o-1"], [line.split()[0] for line in unknown])
        self.assertEqual(["0", "1", "2"], self.run_command("operations.md", "kcat -C -q -e -b BROKER -t call-results"))
        letters = self.run_command("runbook.md", "kcat -C -b BROKER -t privacy-call-dead-letters")
        self.assertEqual(1, len(letters))
        self.assertIn("dlq.code=member-missing,dlq.message=Callee: ", letters[0])

    def test_open_transaction(self):
        """It holds the partition back, describe-producers shows it, find-hanging does not as long as its producer may end it, and abort ends it."""
        write_tool(self.directory, "kafka-transactions.sh", "org.apache.kafka.tools.TransactionsCommand")
        self.worker(self.sandbox()).wait_assigned()
        producer = Producer({"bootstrap.servers": self.bootstrap, "transactional.id": self.prefix, "transaction.timeout.ms": 900000})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(self.names["call.requests"], "{}", "o-1", partition=3)
        producer.flush(30)
        self.requests.send(call(0), "o-2", partition=3)
        self.requests.flush()
        shown = self.run_command("runbook.md", "kafka-transactions.sh --bootstrap-server BROKER describe-producers")
        header = re.split(r"\s*\t", shown[0])
        starts = [re.split(r"\s*\t", line)[header.index("CurrentTransactionStartOffset")] for line in shown[1:]]
        self.assertEqual(["0"], [start for start in starts if start.isdigit()], shown)
        hanging = self.run_command("runbook.md", "kafka-transactions.sh --bootstrap-server BROKER find-hanging", **{"-id N": "-id 1"})
        self.assertNotIn(self.names["call.requests"], "".join(hanging))
        self.results(0)
        self.run_command("runbook.md", "kafka-transactions.sh --bootstrap-server BROKER abort", **{"-offset O": "-offset 0"})
        self.assertEqual(["o-2"], [result["orderId"] for result in self.results(1)])


if __name__ == "__main__":
    main()
