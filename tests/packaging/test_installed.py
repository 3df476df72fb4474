#!/usr/bin/env python3
"""What `make install` puts where, below a DESTDIR; and that man, bash, zsh and systemd take it. Tools that are not here are passed over.

usage: test_installed.py BUILD_DIRECTORY
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = os.path.abspath(sys.argv.pop(1))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ["man1/privacy-call-worker.1", "man1/privacy-call-worker-ledger.1", "man1/privacy-call-worker-redrive.1", "man5/privacy-call-worker.conf.5"]


def run(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **more)


def read(path):
    with open(path) as file:
        return file.read()


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.directory)
        cls.prefix = f"{cls.directory}/usr/local"
        cls.install()
        cls.install("--component", "sandbox", destination=f"{cls.directory}/sandbox")

    @classmethod
    def install(cls, *more, destination=None, prefix="/usr/local"):
        environment = {k: v for k, v in os.environ.items() if k != "SYSCONFDIR"} | {"DESTDIR": cls.directory if destination is None else destination}
        done = run("cmake", "--install", BUILD, "--prefix", prefix, *more, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr

    def installed(self, directory):
        return sorted(os.path.relpath(os.path.join(at, name), directory) for at, _, names in os.walk(directory) for name in names)

    def need(self, *tools):
        for tool in tools:
            if not shutil.which(tool):
                self.skipTest(f"no {tool} here")

    def test_where(self):
        files = self.installed(self.directory)
        for path in ("usr/local/bin/privacy-call-worker", "etc/privacy-call-worker/privacy-call-worker.conf",
                     "usr/local/lib/systemd/system/privacy-call-worker.service", "usr/local/lib/sysusers.d/privacy-call-worker.conf",
                     "usr/local/share/bash-completion/completions/privacy-call-worker", "usr/local/share/zsh/site-functions/_privacy-call-worker",
                     "usr/local/share/doc/privacy-call-worker/LICENSE", "usr/local/share/doc/privacy-call-worker/operations.md",
                     *(f"usr/local/share/man/{page}" for page in PAGES)):
            self.assertIn(path, files)
        self.assertEqual(["usr/local/bin/privacy-call-sandbox", "usr/local/share/doc/privacy-call-sandbox/LICENSE",
                          "usr/local/share/man/man1/privacy-call-sandbox.1"], self.installed(f"{self.directory}/sandbox"))
        self.assertNotIn("usr/local/bin/privacy-call-sandbox", files)
        for path in files:
            self.assertEqual(0o755 if "/bin/" in path else 0o644, os.stat(f"{self.directory}/{path}").st_mode & 0o7777, path)
            if "/bin/" not in path and not path.endswith(".png"):
                self.assertNotRegex(read(f"{self.directory}/{path}"), r"@[A-Z]+@|" + re.escape(self.directory), path)

    def test_links_between_pages(self):
        """The pages lie beside each other here, not in docs/ and its parent."""
        directory = f"{self.prefix}/share/doc/privacy-call-worker"
        pages = [name for name in os.listdir(directory) if name.endswith(".md")]
        links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s#]+)", read(f"{directory}/{page}")) if not re.match("[a-z]+:", link)]
        self.assertGreater(len(links), 50)
        self.assertEqual([], [link for link in links if not os.path.exists(f"{directory}/{link[1]}")])

    def test_again(self):
        """A second installation keeps what somebody has changed."""
        path = f"{self.directory}/etc/privacy-call-worker/privacy-call-worker.conf"
        with open(path, "a") as file:
            file.write("# mine\n")
        before = self.installed(self.directory)
        self.install()
        self.assertEqual(before, self.installed(self.directory))
        self.assertTrue(read(path).endswith("# mine\n"))

    def test_one_version(self):
        version = re.search(r"(?m)^project\(privacy-call-worker VERSION (\S+)", read(f"{ROOT}/CMakeLists.txt")).group(1)
        self.assertRegex(read(f"{ROOT}/packaging/debian/changelog"), rf"^privacy-call-worker \({re.escape(version)}-")

    def test_another_prefix(self):
        with tempfile.TemporaryDirectory() as directory:
            self.install(destination="", prefix=directory)
            self.assertIn("etc/privacy-call-worker/privacy-call-worker.conf", self.installed(directory))
            self.assertIn(f"ExecStart={directory}/bin/privacy-call-worker -c {directory}/etc/privacy-call-worker/privacy-call-worker.conf\n",
                          read(f"{directory}/lib/systemd/system/privacy-call-worker.service"))

    def test_man_pages(self):
        for page in [*(f"{self.prefix}/share/man/{page}" for page in PAGES), f"{self.directory}/sandbox/usr/local/share/man/man1/privacy-call-sandbox.1"]:
            with self.subTest(page):
                self.need("man")
                shown = run("man", "--warnings", "-l", page, env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"})
                self.assertEqual((0, ""), (shown.returncode, shown.stderr))
                if shutil.which("mandoc"):
                    told = [line for line in run("mandoc", "-Tlint", page).stdout.splitlines() if "longer than 80 bytes" not in line]
                    self.assertEqual([], told)

    def test_man_pages_have_all_options(self):
        program = f"{self.prefix}/bin/privacy-call-worker"
        for page, words in (("privacy-call-worker", []), ("privacy-call-worker-ledger", ["ledger", "repair"]), ("privacy-call-worker-ledger", ["ledger"]),
                            ("privacy-call-worker-redrive", ["redrive"])):
            text = read(f"{self.prefix}/share/man/man1/{page}.1").replace("\\", "")
            options = set(re.findall(r"(?m)^  (?:-h, )?(--?[a-z-]+)", run(program, *words, "--help").stdout))
            self.assertGreater(len(options), 3)
            for option in options:
                self.assertRegex(text, rf"(?m)^\.B[IR]? .*{re.escape(option)}\b", page)
        text = read(f"{self.directory}/sandbox/usr/local/share/man/man1/privacy-call-sandbox.1").replace("\\", "")
        options = set(re.findall(r"(?<![\w-])--[a-z-]+", run(f"{self.directory}/sandbox/usr/local/bin/privacy-call-sandbox", "--help").stdout))
        self.assertGreater(len(options), 10)
        for option in options:
            self.assertRegex(text, rf"(?m)^\.BI? {option}\b")

    def test_configuration_page_has_all_keys(self):
        text = read(f"{self.prefix}/share/man/{PAGES[3]}").replace("\\", "")
        keys = self.keys()
        self.assertGreater(len(keys), 60)
        for key in keys:
            self.assertIn(f".TP\nfB{key}fR\n", text)

    def keys(self):
        return re.findall(r"(?m)^\| `([a-z][a-z0-9._]*)` \|", read(f"{ROOT}/docs/configuration.md"))

    def test_unit(self):
        self.need("systemd-analyze")
        text = read(f"{self.prefix}/lib/systemd/system/privacy-call-worker.service")
        # What does not exist here stands in for what does not belong to the test.
        text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text)
        path = f"{self.directory}/privacy-call-worker.service"
        with open(path, "w") as file:
            file.write(text)
        self.addCleanup(os.remove, path)
        told = run("systemd-analyze", "verify", "--man=no", path)
        self.assertEqual([], [line for line in told.stderr.splitlines() if "privacy-call-worker.service" in line and "not-found" not in line], told.stderr)

    def complete(self, *words):
        """What bash's completion function offers for the last of the words."""
        script = f"""source '{self.prefix}/share/bash-completion/completions/privacy-call-worker'
            compopt() {{ :; }}
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _privacy_call_worker; printf '%s\\n' "${{COMPREPLY[@]}}" """
        done = run("bash", "-c", script, "bash", "privacy-call-worker", *words, cwd=self.directory)
        self.assertEqual((0, ""), (done.returncode, done.stderr))
        return [line for line in done.stdout.splitlines() if line]

    def test_bash(self):
        self.assertEqual({"ledger", "redrive", "help", "-c", "-o", "--check", "--print-config", "--version", "--help"}, set(self.complete("")))
        self.assertEqual(["ledger"], self.complete("le"))
        self.assertEqual(["--print-config"], self.complete("-c", "x", "--p"))
        self.assertEqual({"-c", "-o", "--json", "--help", "repair"}, set(self.complete("ledger", "")))
        self.assertEqual(["--partition"], self.complete("ledger", "repair", "--topic", "t", "--p"))
        self.assertEqual([], self.complete("ledger", "repair", "--topic", ""))
        self.assertEqual(["--dry-run"], self.complete("redrive", "--d"))
        self.assertEqual(["repair"], self.complete("help", "ledger", ""))
        self.assertEqual(["platform.token="], self.complete("-o", "platform.tok"))
        self.assertEqual(["drain.timeout.ms="], self.complete("ledger", "-o", "drain"))
        self.assertEqual(sorted(f"{key}=" for key in set(self.keys())), sorted(self.complete("-o", "")))
        self.assertEqual(["etc"], self.complete("-c", "et"))
        self.assertEqual(["-c", "-o", "--reason", "--code", "--since", "--order", "--limit", "--dry-run", "--help"], self.complete("redrive", ""))

    def test_zsh(self):
        """The real one, on a terminal of its own."""
        self.need("zsh")
        for words, expected in (("red", "redrive "), ("redrive --dr", "--dry-run "), ("ledger --js", "--json "), ("--ch", "--check "),
                                ("-o platform.app", "platform.app.id="), ("ledger -o platform.app", "platform.app.id="),
                                ("ledger rep", "repair "), ("ledger repair --part", "--partition="), ("help led", "ledger "),
                                ("-c et", "etc/")):
            with self.subTest(words):
                done = run("timeout", "30", "zsh", "-f", f"{ROOT}/tests/packaging/complete.zsh", f"{self.prefix}/share/zsh/site-functions",
                           f"privacy-call-worker {words}", cwd=self.directory)
                self.assertRegex(done.stdout, rf"<<privacy-call-worker .*{re.escape(expected)}>>", done.stderr)


if __name__ == "__main__":
    unittest.main()
