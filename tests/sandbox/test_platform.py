"""The simulated platform from outside: its checks, each fault, keep-alive, counts and the test record.

usage: test_platform.py SANDBOX_PROGRAM [unittest arguments]"""
import base64
import email.utils
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

TOKEN, APP_ID = "akwiKeKEKG01kfas63910IRJL6ask38fKF6", "774e5e14a0874r725bfb90351f1e84f677"
ACCOUNT = {"ACCOUNTSID": TOKEN, "APPID": APP_ID}
CALL, VOICE = "/20171220/bind/callEvent/v1", "/20171220/bind/callEvent/voice/v1"
SECONDS = 20  # after which a test gives up waiting
PROGRAM = ""


def signed(token=TOKEN, app_id=APP_ID, timestamp=None):
    """The query and the headers of a request."""
    timestamp = timestamp or time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time() + 8 * 3600))
    material = f"{token}:{app_id}:{timestamp}".encode()
    return "?sig=" + hashlib.md5(material).hexdigest().upper(), {
        "Accept": "application/json", "Content-Type": "application/json;charset=utf-8",
        "Authorization": base64.b64encode(material).decode()}


def call_body(caller="18326070000", callee="18326070001", **more):
    return {**ACCOUNT, "Caller": caller, "Callee": callee, **more}


def wait_until(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {SECONDS} s for {what}")
        time.sleep(0.005)


class Sandbox:
    def __init__(self, *options):
        self.folder = tempfile.TemporaryDirectory()
        self.record = os.path.join(self.folder.name, "record")
        self.process = subprocess.Popen([PROGRAM, "--no-kafka", "--log", self.record, *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        assert words and words[0] == "platform", self.process.stderr.read()
        self.url, self.ca = urllib.parse.urlparse(words[1]), words[2]
        self.context = ssl.create_default_context(cafile=self.ca)
        self.control_connection = None

    def connect(self):
        connection = http.client.HTTPSConnection(self.url.hostname, self.url.port, context=self.context,
                                                 timeout=SECONDS)
        connection.connect()
        return connection

    def control(self, method, path, body=None):
        """A request to the sandbox itself, always on the same connection."""
        if not self.control_connection:
            self.control_connection = self.connect()
        self.control_connection.request(method, "/sandbox/" + path, body)
        answer = self.control_connection.getresponse()
        return answer.status, answer.read().decode()

    def faults(self, spec):
        status, text = self.control("POST", "faults", spec)
        assert (status, text) == (200, spec + "\n"), text

    def stats(self):
        return json.loads(self.control("GET", "stats")[1])

    def records(self):
        with open(self.record) as file:
            return [json.loads(line) for line in file]

    def end(self, by=signal.SIGTERM):
        if self.control_connection:
            self.control_connection.close()
        self.process.send_signal(by)
        _, errors = self.process.communicate(timeout=SECONDS)
        self.folder.cleanup()
        return self.process.returncode, errors


class Case(unittest.TestCase):
    OPTIONS = ()

    def setUp(self):
        self.sandbox = Sandbox(*self.OPTIONS)
        self.connections = []

    def tearDown(self):
        for connection in self.connections:
            connection.close()
        status, errors = self.sandbox.end()
        self.assertEqual(status, 0, errors)
        self.assertNotRegex(errors, "Sanitizer|runtime error")
        self.assertFalse(os.path.exists(self.sandbox.ca))

    def connect(self):
        connection = self.sandbox.connect()
        self.connections.append(connection)
        return connection

    def send(self, connection, body, path=CALL, headers=None, query=None):
        own_query, own_headers = signed()
        connection.request("POST", path + (own_query if query is None else query), json.dumps(body),
                           {**own_headers, **(headers or {})})

    def post(self, body, path=CALL, connection=None, **more):
        connection = connection or self.connect()
        self.send(connection, body, path, **more)
        answer = connection.getresponse()
        return answer, answer.read()

    def flag(self, *args, **more):
        answer, data = self.post(*args, **more)
        return answer.status, json.loads(data)["Flag"]

    def raw(self, connection):
        """What arrives until the end of the connection."""
        data = b""
        while True:
            try:
                more = connection.sock.recv(65536)
            except ssl.SSLEOFError:
                return data
            if not more:
                return data
            data += more


class Answers(Case):
    def test_call(self):
        answer, data = self.post(call_body())
        first = json.loads(data)
        self.assertEqual((answer.status, first["Flag"]), (200, 1))
        self.assertRegex(first["Msg"], r"^86171\d{8}$")
        self.assertRegex(first["CallIdentifier"], r"^\d{32}$")
        again = json.loads(self.post(call_body(caller="114"))[1])
        self.assertEqual(again["Msg"], first["Msg"])
        self.assertNotEqual(again["CallIdentifier"], first["CallIdentifier"])
        other = json.loads(self.post(call_body(callee="18326070002"))[1])
        self.assertNotEqual(other["Msg"], first["Msg"])
        chosen = json.loads(self.post(call_body(VirtualNum="17115230000"))[1])
        self.assertEqual(chosen["Msg"], "8617115230000")

    def test_recordings(self):
        answer, data = self.post({**ACCOUNT, "CallIdentifier": "x1"}, VOICE)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "audio/wav"))
        self.assertEqual((data[:4], data[8:16], len(data)), (b"RIFF", b"WAVEfmt ", 1644))
        self.assertEqual(self.flag({**ACCOUNT, "CallIdentifier": "none-1"}, VOICE), (200, 1004))
        url = json.loads(self.post({**ACCOUNT, "CallIdentifier": "json-1"}, VOICE)[1])["Msg"]
        self.assertTrue(url.startswith(self.sandbox.url.geturl()), url)
        named = self.post({**ACCOUNT, "CallIdentifier": "json-1"}, VOICE, headers={"Host": "platform.test:1"})[1]
        self.assertEqual(json.loads(named)["Msg"], "https://platform.test:1/sandbox/recordings/json-1.wav")
        connection = self.connect()
        connection.request("GET", urllib.parse.urlparse(url).path)
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()[:4]), (200, b"RIFF"))
        self.assertEqual(self.sandbox.stats()["violations"]["count"], 0)
        path = urllib.parse.urlparse(url).path
        for bad in ({"url": path, "headers": {"Authorization": "x"}}, {"url": path + "?sig=x"}, {"url": path, "body": "{}"}):
            connection.request("GET", **bad)
            answer = connection.getresponse()
            self.assertEqual((answer.status, json.loads(answer.read())["Flag"]), (400, 9040))
        self.assertEqual(self.sandbox.stats()["violations"]["count"], 3)
        files = [record for record in self.sandbox.records() if record["endpoint"] == "file"]
        self.assertEqual([(record["CallIdentifier"], bool(record["violation"])) for record in files],
                         [("json-1", False)] + 3 * [("json-1", True)])

    def test_file_elsewhere(self):
        connection = self.connect()
        connection.request("GET", "/sandbox/recordings/json-moved-moved-size-10-x.wav")
        for left in ("/sandbox/recordings/json-moved-size-10-x.wav", "/sandbox/recordings/json-size-10-x.wav"):
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.headers["Location"], answer.read()[:6]), (302, left, b"<html>"))
            connection.request("GET", left)
        answer = connection.getresponse()
        self.assertEqual((answer.status, len(answer.read())), (200, 54))
        url = json.loads(self.post({**ACCOUNT, "CallIdentifier": "json-closed-1"}, VOICE, connection)[1])["Msg"]
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urllib.parse.urlparse(url).port))

    def test_large_recording(self):
        answer, data = self.post({**ACCOUNT, "CallIdentifier": "size-5000000-a"}, VOICE)
        self.assertEqual((len(data), int(answer.headers["Content-Length"])), (5000044, 5000044))
        told = email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertAlmostEqual(time.time(), told, delta=60)
        self.assertEqual(data[44:], bytes(5000000))

    def test_refused(self):
        bad = {"Accept": "*/*"}
        self.assertEqual(self.flag(call_body(), headers=bad), (400, 9003))
        self.assertEqual(self.flag(call_body(Direct="3")), (400, 9033))
        query, headers = signed(token="other")
        self.assertEqual(self.flag(call_body(), query=query, headers=headers), (401, 9012))
        old = time.strftime("%Y%m%d%H%M%S", time.gmtime(time.time()))
        query, headers = signed(timestamp=old)
        self.assertEqual(self.flag(call_body(), query=query, headers=headers), (401, 9015))
        self.assertEqual(self.flag(call_body(), path="/20171220/bind/callEvent/v2"), (404, 9001))
        connection = self.connect()
        connection.request("GET", CALL + signed()[0])
        self.assertEqual(connection.getresponse().status, 405)
        connection = self.connect()
        connection.sock.sendall(b"BOO\r\n\r\n")
        self.assertIn(b"400 Bad Request", self.raw(connection))
        stats = self.sandbox.stats()
        self.assertEqual(stats["violations"]["count"], 7)
        self.assertEqual(stats["status"], {"400": 2, "401": 2})
        self.assertEqual(stats["rung"]["total"], 0)
        self.assertEqual(self.sandbox.records()[1]["violation"], "Direct is not 0, 1 or 2")

    def test_keep_alive_and_pipelining(self):
        connection = self.connect()
        for i in range(20):
            self.assertEqual(self.flag(call_body(callee=str(1000 + i)), connection=connection), (200, 1))
        query, headers = signed()
        body = json.dumps(call_body())
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = (f"POST {CALL}{query} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n")
        connection.sock.sendall((request + "\r\n" + body).encode() +
                                (request + "Connection: close\r\n\r\n" + body).encode())
        self.assertEqual(self.raw(connection).count(b"HTTP/1.1 200 OK"), 2)
        stats = self.sandbox.stats()
        self.assertEqual((stats["calls"], stats["connections"]["total"]), (22, 2))

    def test_request_in_small_pieces(self):
        connection = self.connect()
        query, headers = signed()
        body = json.dumps(call_body())
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        whole = f"POST {CALL}{query} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
        for at in range(0, len(whole), 7):
            connection.sock.sendall(whole[at:at + 7].encode())
        self.assertIn(b"200 OK", connection.sock.recv(65536))

    def test_session_is_resumed(self):
        context = self.sandbox.context
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # Python has the session at once there
        address = (self.sandbox.url.hostname, self.sandbox.url.port)
        first = context.wrap_socket(socket.create_connection(address), server_hostname="localhost")
        second = context.wrap_socket(socket.create_connection(address), server_hostname="localhost",
                                     session=first.session)
        self.assertTrue(second.session_reused)
        first.close()
        second.close()
        self.assertEqual(self.sandbox.stats()["connections"]["resumed"], 1)


class Faults(Case):
    def test_latency(self):
        self.sandbox.faults("latency=60ms")
        connection = self.connect()
        for _ in range(3):
            begin = time.monotonic()
            self.assertEqual(self.flag(call_body(), connection=connection), (200, 1))
            self.assertGreaterEqual(time.monotonic() - begin, 0.06)

    def test_status(self):
        connection = self.connect()
        for status in (204, 307, 401, 408, 429, 503):
            self.sandbox.faults(f"status={status}")
            self.assertEqual(self.post(call_body(), connection=connection)[0].status, status)
        stats = self.sandbox.stats()
        self.assertEqual(stats["rung"], {"total": 3, "duplicates_caller_callee": 2, "duplicates_caller": 2})
        self.assertEqual(stats["duplicates"]["caller_callee"], 5)
        self.sandbox.faults("status=302")
        self.assertEqual(self.post(call_body())[0].headers["Location"], "/sandbox/redirected")
        self.assertEqual(self.flag(call_body(), path="/sandbox/redirected"), (404, 9001))
        self.assertEqual(self.sandbox.stats()["violations"]["count"], 1)

    def test_answers_of_other_kinds(self):
        connection = self.connect()
        self.sandbox.faults("flag=1003")
        self.assertEqual(self.flag(call_body(), connection=connection), (200, 1003))
        self.sandbox.faults("flag-text=1")
        self.assertEqual(self.flag(call_body(), connection=connection), (200, "1"))
        self.sandbox.faults("no-flag")
        self.assertNotIn("Flag", json.loads(self.post(call_body(), connection=connection)[1]))
        self.sandbox.faults("big-answer=70000")
        data = self.post(call_body(), connection=connection)[1]
        self.assertEqual((len(data), json.loads(data)["Flag"]), (70000, 1))
        self.sandbox.faults("broken-json")
        with self.assertRaises(ValueError):
            json.loads(self.post(call_body(), connection=connection)[1])
        self.sandbox.faults("last")
        self.assertEqual(self.post(call_body(), connection=connection)[0].headers["Connection"], "close")

    def test_no_answer(self):
        self.sandbox.faults("close?caller=111,reset?caller=112,cut-body?caller=113")
        with self.assertRaises(http.client.RemoteDisconnected):
            self.post(call_body(caller="111"))
        with self.assertRaises(ConnectionResetError):
            self.post(call_body(caller="112"))
        with self.assertRaises(http.client.IncompleteRead):
            self.post(call_body(caller="113"))
        self.assertEqual(self.flag(call_body()), (200, 1))
        stats = self.sandbox.stats()
        self.assertEqual((stats["unanswered"], stats["status"], stats["in_flight"]), (2, {"200": 2}, 0))
        self.assertEqual([record["fault"] for record in self.sandbox.records()], ["close", "reset", "cut-body", None])

    def test_hang_is_recorded_and_counted(self):
        self.sandbox.faults("hang?caller=18326000009")
        connection = self.connect()
        self.send(connection, call_body(caller="18326000009"))
        wait_until(lambda: self.sandbox.records(), "the record")
        self.assertEqual(self.sandbox.records()[0]["fault"], "hang")
        self.assertEqual(self.flag(call_body(caller="18326000008")), (200, 1))
        stats = self.sandbox.stats()
        self.assertEqual((stats["in_flight"], stats["overlaps"]), (1, 1))
        self.assertEqual(stats["max_concurrent"], {"overall": 2, "callee": 2})
        connection.sock.settimeout(0.05)
        with self.assertRaises(TimeoutError):
            connection.getresponse()
        connection.close()
        wait_until(lambda: self.sandbox.stats()["in_flight"] == 0, "the end of the request")
        self.assertEqual(self.sandbox.stats()["unanswered"], 1)

    def test_reset_before(self):
        self.sandbox.faults("reset-before?times=2")
        connection = self.connect()
        with self.assertRaises(OSError):  # from the write or from the read
            self.post(call_body(), connection=connection)
        with self.assertRaises(OSError):
            self.post(call_body())
        self.assertEqual(self.flag(call_body()), (200, 1))
        self.assertEqual(len(self.sandbox.records()), 1)

    def test_accept(self):
        self.sandbox.faults("reset-accept?times=1,hang-accept?times=1")
        with self.assertRaises(OSError):
            self.connect()
        plain = socket.create_connection((self.sandbox.url.hostname, self.sandbox.url.port))
        plain.settimeout(0.2)
        with self.assertRaises(TimeoutError):
            self.sandbox.context.wrap_socket(plain, server_hostname="localhost")
        plain.close()
        self.assertEqual(self.flag(call_body()), (200, 1))
        wait_until(lambda: self.sandbox.stats()["connections"]["open"] == 2, "the end of the deaf connection")

    def test_slow_body(self):
        self.sandbox.faults("slow-body=200ms")
        connection = self.connect()
        begin = time.monotonic()
        self.send(connection, call_body())
        answer = connection.getresponse()
        first = answer.read1(1)
        data = first + answer.read()
        self.assertGreaterEqual(time.monotonic() - begin, 0.18)
        self.assertEqual(json.loads(data)["Flag"], 1)
        self.sandbox.control("DELETE", "faults")
        self.assertEqual(self.flag(call_body(), connection=connection), (200, 1))

    def test_idle(self):
        connection = self.connect()
        self.assertEqual(self.flag(call_body(), connection=connection), (200, 1))
        self.sandbox.faults("idle-close=50ms")
        self.assertEqual(self.raw(connection), b"")
        self.sandbox.faults("idle-408=50ms")
        connection = self.connect()
        self.assertIn(b"HTTP/1.1 408 Request Timeout", self.raw(connection))
        # Set only once the request is there: a slow machine may take longer than 50 ms to send one.
        self.sandbox.faults("latency=200ms")
        connection = self.connect()
        self.send(connection, call_body())
        self.sandbox.faults("idle-408=50ms")
        self.assertRegex(self.raw(connection), rb'(?s)^HTTP/1\.1 200 .*"Flag":\s*1.*HTTP/1\.1 408 Request Timeout')

    def test_refuse(self):
        connection = self.connect()
        self.sandbox.faults("refuse")
        self.assertEqual(self.raw(connection), b"")
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        self.sandbox.control("DELETE", "faults")
        self.assertEqual(self.flag(call_body()), (200, 1))
        self.sandbox.faults("refuse=100ms,flag=7")
        with self.assertRaises(ConnectionRefusedError):
            self.connect()
        wait_until(lambda: self.sandbox.stats()["faults"] == "flag=7", "the end of refuse")
        self.assertEqual(self.flag(call_body()), (200, 7))

    def test_faults_of_files(self):
        self.sandbox.faults("status=503?endpoint=file")
        connection = self.connect()
        connection.request("GET", "/sandbox/recordings/a.wav")
        answer = connection.getresponse()
        answer.read()
        self.assertEqual(answer.status, 503)
        self.assertEqual(self.flag({**ACCOUNT, "CallIdentifier": "none-1"}, VOICE, connection), (200, 1004))
        self.sandbox.faults("status=503@50%?endpoint=file")
        found = set()
        for _ in range(30):
            connection.request("GET", "/sandbox/recordings/a.wav")
            answer = connection.getresponse()
            answer.read()
            found.add(answer.status)
        self.assertEqual(found, {200, 503}, "each time that a file is asked for is a draw of its own")

    def test_control(self):
        self.sandbox.faults("flag=2?caller=111")
        self.assertEqual(self.sandbox.control("PATCH", "faults", "flag=3")[1], "flag=2?caller=111,flag=3\n")
        self.assertEqual(self.flag(call_body(caller="111")), (200, 2))
        self.assertEqual(self.flag(call_body()), (200, 3))
        status, text = self.sandbox.control("POST", "faults", "latency=1ms,nope")
        self.assertEqual((status, json.loads(text)["Msg"]), (400, 'fault "nope": no such fault'))
        self.assertEqual(self.sandbox.control("GET", "faults")[1], "flag=2?caller=111,flag=3\n")
        self.assertEqual(self.sandbox.control("DELETE", "faults")[1], "\n")
        self.assertEqual(self.flag(call_body()), (200, 1))
        self.assertEqual(self.sandbox.stats()["calls"], 3)
        self.assertEqual(json.loads(self.sandbox.control("DELETE", "stats")[1])["calls"], 0)
        self.flag(call_body())
        stats = self.sandbox.stats()
        self.assertEqual((stats["calls"], stats["duplicates"]["caller"]), (1, 0))

    def test_signal_lifts_faults(self):
        self.sandbox.faults("refuse")
        self.sandbox.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.sandbox.stats()["faults"] == "", "the signal")
        self.assertEqual(self.flag(call_body()), (200, 1))

    def test_storm(self):
        """Everything at once: whatever happens to a request, it is recorded and counted once, and nothing stays open."""
        self.sandbox.faults("latency=0-5ms,slow-body=20ms@5%,last@5%,status=503@5%,reset@5%,close@5%,cut-body@5%,"
                            "broken-json@5%,big-answer=100000@5%,hang@2%,reset-before@3%,reset-accept@3%,idle-close=3ms")

        def client(number):
            connection = None
            for i in range(60):
                try:
                    if not connection or not connection.sock:
                        connection = self.sandbox.connect()
                    connection.sock.settimeout(0.2)
                    self.post(call_body(caller=str(1000 + number), callee=str(1000 + i)), connection=connection)
                except (OSError, http.client.HTTPException):
                    if connection:
                        connection.close()
                    connection = None
            if connection:
                connection.close()
            finished.append(number)

        finished = []
        threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(finished), len(threads))
        wait_until(lambda: self.sandbox.stats()["connections"]["open"] == 1, "the end of the connections")
        stats = self.sandbox.stats()
        self.assertEqual((stats["in_flight"], stats["violations"]["count"], stats["duplicates"]["caller_callee"]), (0, 0, 0))
        self.assertEqual(sum(stats["status"].values()) + stats["unanswered"], stats["requests"])
        self.assertEqual(len(self.sandbox.records()), stats["requests"])
        self.assertGreater(stats["unanswered"], 0)
        self.assertGreater(stats["status"]["503"], 0)

    def test_many_at_once(self):
        self.sandbox.faults("latency=100ms")
        ready = threading.Barrier(32)

        def one(number):
            connection = self.connect()
            ready.wait(SECONDS)
            results.append(self.flag(call_body(caller=str(1000 + number), callee="333"), connection=connection))

        results = []
        threads = [threading.Thread(target=one, args=(i,)) for i in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(results, [(200, 1)] * 32)
        stats = self.sandbox.stats()
        self.assertEqual((stats["max_concurrent"]["callee"], stats["duplicates"]["caller"]),
                         (stats["max_concurrent"]["overall"], 0))
        self.assertGreater(stats["max_concurrent"]["callee"], 1)


class Vectors(Case):
    OPTIONS = ("--any-timestamp", "--token", "t", "--app-id", "a", "--version-path", "v", "--fault", "flag=5@100%",
               "--name", "platform.test")

    def test_second_vector(self):
        headers = {"Authorization": "dDphOjE5OTkxMjMxMjM1OTU5"}
        body = {"ACCOUNTSID": "t", "APPID": "a", "Caller": "114", "Callee": "115"}
        query = "?sig=2D2DA432F2FA4C828A7C840810FF561D"
        self.assertEqual(self.flag(body, path="/v/bind/callEvent/v1", headers=headers, query=query), (200, 5))

    def test_names(self):
        for name in ("platform.test", "localhost", "127.0.0.1"):
            address = (self.sandbox.url.hostname, self.sandbox.url.port)
            with self.sandbox.context.wrap_socket(socket.create_connection(address), server_hostname=name):
                pass


class Authority(unittest.TestCase):
    def test_is_used_again(self):
        """A client that trusts the first run's CA trusts the second run, too; without the key there is a new CA."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ca.pem")
            first = Sandbox("--ca", path)
            context = first.context
            self.assertEqual(os.stat(path + ".key").st_mode & 0o777, 0o600)
            self.assertEqual(first.end()[0], 0)
            second = Sandbox("--ca", path)
            second.context = context
            self.assertEqual(second.stats()["calls"], 0)
            self.assertEqual(second.end()[0], 0)
            os.unlink(path + ".key")
            third = Sandbox("--ca", path)
            third.context = context
            with self.assertRaises(ssl.SSLCertVerificationError):
                third.stats()
            self.assertEqual(third.end()[0], 0)
            self.assertTrue(os.path.exists(path))


class CommandLine(unittest.TestCase):
    def run_program(self, *options):
        return subprocess.run([PROGRAM, *options], capture_output=True, text=True, timeout=SECONDS)

    def test_bad_usage(self):
        for options in (["--nope"], ["x"], ["--fault", "nope"], ["--topic", "a"], ["--seed", "x"], ["--utc-offset", "8"],
                        ["--no-kafka", "--no-platform"], ["--topic", "t:1", "--topic", "u:1", "--topic", "t:2"], ["--topic", "..:1"],
                        *([option, address] for option in ("--kafka", "--platform")
                          for address in ("nonsense", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:", ":1", "127.0.0.1:kafka", ""))):
            result = self.run_program(*options)
            self.assertEqual((result.returncode, result.stdout), (2, ""), options)
            self.assertTrue(result.stderr, options)

    def test_help_and_version(self):
        self.assertIn("idle-408", self.run_program("--help").stdout)
        self.assertRegex(self.run_program("--version").stdout, r"^privacy-call-sandbox \d")

    def test_failures(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = "127.0.0.1:%d" % taken.getsockname()[1]
            result = self.run_program("--no-kafka", "--platform", address)
            self.assertEqual((result.returncode, result.stdout), (1, ""))
            self.assertIn(address, result.stderr)
        self.assertEqual(self.run_program("--no-kafka", "--log", "/nonexistent/x").returncode, 1)
        self.assertEqual(self.run_program("--no-kafka", "--ca", "/nonexistent/x").returncode, 1)

    def test_both(self):
        process = subprocess.Popen([PROGRAM, "--topic", "t:2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertRegex(process.stdout.readline(), r"^kafka 127\.0\.0\.1:\d+$")
        self.assertRegex(process.stdout.readline(), r"^platform https://127\.0\.0\.1:\d+ /.*\.pem$")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, 0)
        self.assertIn("no Kafka", errors)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
