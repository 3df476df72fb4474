"""Every command in a sh block of README.md is run as it stands, in order, in one shell; only addresses and the place of the
installation are others. The demo and the tests, which it names too, are tests of their own."""
import glob
import os
import re
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import kafka as kafka_module  # noqa: E402
from case import KafkaCase, main  # noqa: E402
from kafka import free_ports  # noqa: E402
from programs import ROOT  # noqa: E402

FOREGROUND = "privacy-call-worker -c worker.conf"  # runs until it is stopped


class Readme(KafkaCase):
    def commands(self):
        with open(f"{ROOT}/README.md") as file:
            return "\n".join(re.findall(r"^```sh\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL))

    def topic_tool(self, directory):
        """kafka-topics.sh as Apache Kafka's archive has it."""
        path = f"{directory}/kafka-topics.sh"
        with open(path, "w") as file:
            file.write(f'#!/bin/sh\nexec java -cp "{kafka_module.jars()}/*" org.apache.kafka.tools.TopicCommand "$@"\n')
        os.chmod(path, stat.S_IRWXU)

    def test_commands(self):
        sandbox = self.sandbox()
        page = f"127.0.0.1:{free_ports(1)[0]}"
        tools = f"{self.directory}/tools"
        os.mkdir(tools)
        self.topic_tool(tools)
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


if __name__ == "__main__":
    main()
