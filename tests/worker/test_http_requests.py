#!/usr/bin/env python3
"""What the running worker answers to requests as they stand on the wire, well-formed and not, and under which names.

usage: test_http_requests.py WORKER
"""
import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from process import worker

ROOT = Path(__file__).resolve().parents[2]
WORKER = os.path.abspath(sys.argv.pop(1))
SETTINGS = {"http.hosts": "proxy.example, metrics.example:8443,[2001:db8::1]:80"}


def get(target=b"/livez", host=b"localhost", method=b"GET", more=b"", version=b"HTTP/1.1"):
    return b"%s %s %s\r\nHost: %s\r\n%s\r\n" % (method, target, version, host, more)


class Requests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.process = worker(WORKER, SETTINGS)
        cls.port = int(cls.process.wait_for(r"http://127\.0\.0\.1:(\d+)/").group(1))

    @classmethod
    def tearDownClass(cls):
        cls.process.__exit__()

    def ask(self, request):
        """Everything that comes back until the other side closes, be it that it has not read all."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while block := connection.recv(65536):
                    answer += block
        return answer

    def status(self, request):
        return [int(code) for code in re.findall(rb"^HTTP/1\.1 (\d+)", self.ask(request), re.MULTILINE)]

    def answers(self, expected, *requests):
        for request in requests:
            with self.subTest(request[:100]):
                self.assertEqual([expected], self.status(request))

    def test_each_page(self):
        self.answers(200, get(b"/"), get(b"/livez"), get(b"/metrics"), get(b"/status"), get(b"/livez?a=b%00"), get(b"/live%7A"))
        self.answers(503, get(b"/readyz"))
        self.answers(404, get(b"/livez/"), get(b"//livez"), get(b"/Livez"), get(b"/x"), get(b"/livez%2f"), get(b"/../livez"))
        body = self.ask(get(b"/status", version=b"HTTP/1.0")).split(b"\r\n\r\n", 1)[1]
        self.assertEqual("worker-1", json.loads(body)["instance"])

    def test_what_a_browser_is_told(self):
        kept = (get(b"/"), get(b"/page.css"), get(b"/page.js"), get(b"/icon.svg"))
        for request in (*kept, get(b"/status"), get(b"/x"), get(b"/livez%00"), get(host=b"evil.example"), get(method=b"POST")):
            head = self.ask(request).split(b"\r\n\r\n", 1)[0]
            for line in (b"X-Content-Type-Options: nosniff", b"Cache-Control: " + (b"no-cache" if request in kept else b"no-store")):
                self.assertIn(line, head)
            policy = re.search(rb"Content-Security-Policy: (default-src 'none';.* frame-ancestors 'none'.*)\r", head).group(1)
            self.assertNotIn(b"unsafe", policy)
            self.assertNotIn(b"Access-Control-Allow", head)

    def test_files_of_the_page(self):
        """Each is told from the others by its tag, and sent again only when it is another one."""
        types = {b"/": b"text/html", b"/page.css": b"text/css", b"/page.js": b"text/javascript", b"/icon.svg": b"image/svg+xml"}
        tags = set()
        for path, kind in types.items():
            head, body = self.ask(get(path)).split(b"\r\n\r\n", 1)
            self.assertIn(b"Content-Type: " + kind, head)
            self.assertEqual((ROOT / "src/worker/page" / (path.decode()[1:] or "index.html")).read_bytes(), body)
            tag = re.search(rb"ETag: (\"\w+\")\r", head).group(1)
            tags.add(tag)
            for known in (tag, b"W/" + tag, b'"x", ' + tag, b"*"):
                head, body = self.ask(get(path, more=b"If-None-Match: " + known + b"\r\n")).split(b"\r\n\r\n", 1)
                self.assertRegex(head, rb"^HTTP/1\.1 304 ")
                self.assertIn(b"ETag: " + tag, head)
                self.assertEqual(b"", body)
            self.answers(200, get(path, more=b'If-None-Match: "x"\r\n'))
        self.assertEqual(len(types), len(tags))
        self.answers(200, get(b"/status", more=b"If-None-Match: *\r\n"))

    def test_head(self):
        head, body = self.ask(get(b"/metrics", method=b"HEAD")).split(b"\r\n\r\n", 1)
        self.assertIn(b"HTTP/1.1 200", head)
        self.assertEqual(b"", body)

    def test_other_methods(self):
        self.answers(405, *(get(method=method) for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"TRACE", b"FOO", b"get")),
                     get(b"*", method=b"OPTIONS"), get(b"localhost:80", method=b"CONNECT"),
                     get(method=b"POST", more=b"Content-Length: 5\r\n") + b"hello",
                     get(method=b"POST", more=b"Content-Length: 99999999\r\nExpect: 100-continue\r\n"))
        self.answers(405, get(host=b"evil.example", method=b"POST"))
        self.assertIn(b"\r\nAllow: GET, HEAD\r\n", self.ask(get(method=b"POST")))

    def test_raw_nul(self):
        """libmicrohttpd hangs up on such a target itself, from 1.0 on."""
        library = ctypes.CDLL("libmicrohttpd.so.12")
        library.MHD_get_version.restype = ctypes.c_char_p
        expected = [400] if library.MHD_get_version().startswith(b"0.") else []
        for target in (b"/livez\0x", b"/livez\0", b"/\0livez", b"/livez\0?x", b"/livez?\0", b"\0"):
            with self.subTest(target):
                self.assertEqual(expected, self.status(get(target)))
        self.answers(200, get())

    def test_malformed_targets(self):
        self.answers(400, *(get(target) for target in (
            b"/livez%00x", b"/livez%00", b"/%00/livez", b"/%00", b"/livez%0a",
            b"/livez%7f", b"/livez%", b"/livez%0", b"/livez%zz", b"/live z", b"/livez\x01", b"/livez\x7f", b"/liv\xc3\xa9z", b"/livez#x",
            b"livez", b"*", b"localhost", b"ftp://localhost/livez", b"http:///livez", b"http:livez")))

    def test_malformed_requests(self):
        self.answers(400, b"GET /livez HTTP/1.1\r\n\r\n", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
                     b"GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n", b"GET /livez\r\n\r\n",
                     b"GET /livez HTTX/1.1\r\nHost: localhost\r\n\r\n", b"POST /livez HTTP/1.1\r\n\r\n",
                     get(more=b"Content-Length: 5\r\n") + b"hello",
                     get(more=b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n")
        self.answers(200, get(more=b"Content-Length: 0\r\n"), b"GET /livez HTTP/1.0\r\n\r\n")
        self.answers(505, get(version=b"HTTP/2.0"))
        self.answers(414, get(b"/" + b"a" * 20000))
        self.answers(431, get(more=b"X: " + b"a" * 20000 + b"\r\n"))
        for garbage in (b"garbage\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\0" * 5000, b"\r\n" * 5000, b"GET", b""):
            self.assertIn(self.status(garbage)[:1], ([], [400]), garbage[:20])
        self.answers(200, get())

    def test_one_after_another(self):
        self.assertEqual([200, 503, 404, 200], self.status(get() + get(b"/readyz") + get(b"/x") + get(method=b"HEAD")))
        self.assertEqual([200, 400], self.status(get() + get(b"/livez%00") + get()), "nothing after what is malformed")
        self.assertEqual([405], self.status(get(method=b"POST", more=b"Content-Length: 70\r\n") + get()), "a body is no request")

    def test_hosts_that_are_taken(self):
        port, name = b"%d" % self.port, socket.gethostname().encode()
        self.answers(200, *(get(host=host) for host in (
            b"localhost", b"localhost:" + port, b"LocalHost", b"localhost.", b"localhost.:" + port, b"localhost:", b"localhost:1", name, name + b":" + port,
            name.upper(), b"127.0.0.1", b"127.0.0.1:" + port, b"10.1.2.3", b"10.1.2.3:8080", b"192.0.2.1.", b"[::1]", b"[::1]:" + port,
            b"[2001:db8::7]:9464", b"[fe80::1%eth0]", b"[fe80::1%25eth0]:1", b"proxy.example", b"proxy.example:443", b"PROXY.example.:1",
            b"metrics.example:8443", b"[::ffff:1.2.3.4]")))

    def test_hosts_that_are_not(self):
        self.answers(421, *(get(host=host) for host in (
            b"evil.example", b"evil.example:%d" % self.port, b"localhost.evil.example", b"xlocalhost", b"", b"127.0.0.1.evil.example",
            b"127.1", b"2130706433", b"0x7f.0.0.1", b"127.0.0.256", b"proxy.example.evil", b"a.proxy.example", b"metrics.example",
            b"metrics.example:443", b"127.0.0.1,evil.example")),
            b"GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n")
        self.assertIn(b"http.hosts", self.ask(get(host=b"evil.example")))

    def test_hosts_that_are_none(self):
        self.answers(400, *(get(host=host) for host in (
            b"localhost:x", b"localhost:99999", b"localhost:8080:1", b"[::1", b"[::1]x", b"[localhost]", b"::1", b"user@localhost", b"a b",
            b"localhost/x", b":80", b"\xc3\xa9", b"<script>")))

    def test_targets_that_name_a_host(self):
        self.answers(200, get(b"http://localhost/livez", host=b"evil.example"), get(b"HTTP://127.0.0.1:%d/livez?x" % self.port),
                     get(b"http://localhost"), get(b"http://[::1]/livez"), get(b"http://proxy.example:1?x"))
        self.answers(421, get(b"http://evil.example/livez"), get(b"https://localhost/livez"))
        self.answers(400, get(b"http://user@localhost/livez"), get(b"http://localhost:x/livez"), get(b"http://localhost/livez%00"),
                     b"GET http://localhost/livez HTTP/1.1\r\n\r\n")

    def test_names_that_are_refused(self):
        for value in ("a b", "a,,b", ",", "a,", "http://a", "a/b", "*.example.com", "a:0", "a:65536", "[::1", "a:b", "user@a"):
            run = subprocess.run([WORKER, "--check", "-o", f"http.hosts={value}"], capture_output=True, text=True, timeout=30, check=False)
            self.assertEqual(2, run.returncode)
            self.assertIn("option -o: http.hosts: expected host names", run.stderr, value)


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class OtherListeners(unittest.TestCase):
    def ask(self, listen, pattern, *hosts):
        with worker(WORKER, {"http.listen": listen}) as process:
            address = process.wait_for(pattern)
            for expected, host in hosts:
                with socket.create_connection((address.group(1), int(address.group(2))), 30) as connection:
                    connection.sendall(get(host=host.replace(b"PORT", address.group(2).encode())))
                    self.assertIn(b"HTTP/1.1 %d " % expected, connection.recv(4096), host)

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_ipv6(self):
        self.ask("[::1]:0", r"http://\[(::1)\]:(\d+)/", (200, b"[::1]:PORT"), (200, b"localhost:PORT"), (421, b"evil.example"))

    def test_all_addresses(self):
        self.ask("0.0.0.0:0", r"http://(0\.0\.0\.0):(\d+)/", (200, b"10.244.0.7:PORT"), (200, b"localhost"), (421, b"evil.example"))

    def test_by_name(self):
        self.ask("localhost:0", r"http://\[?([0-9.:]+?)\]?:(\d+)/", (200, b"localhost:PORT"), (421, b"evil.example"))


class Stop(unittest.TestCase):
    DRAIN_S, LONGER_S = 1, 5  # a stop takes at most so much longer than the drain

    def test_clients_that_hold_on(self):
        """Idle, in the middle of a head, or reading nothing of what they asked for: none of them holds the end up."""
        with worker(WORKER, {"drain.timeout.ms": str(1000 * self.DRAIN_S)}) as process, contextlib.ExitStack() as held:
            port = int(process.wait_for(r"http://127\.0\.0\.1:(\d+)/").group(1))
            for said in (b"", get()[:-2], get(), get(b"/page.js") * 500):
                for _ in range(7):
                    connection = held.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                    connection.setblocking(False)
                    with contextlib.suppress(OSError):
                        connection.sendall(said)
            process.signal(signal.SIGTERM)
            self.assertEqual(0, process.end(self.DRAIN_S + self.LONGER_S))


if __name__ == "__main__":
    unittest.main()
