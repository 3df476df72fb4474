"""A platform that answers by script, byte for byte what a test wants: over plain HTTP."""
import http.server
import json
import threading


class Scripted:
    """calls and recordings: what is answered by Caller or CallIdentifier, files: by path; each (status, headers, body) or a list of
    them, one for each try, of which the last repeats. {url} and {host} in headers and bodies stand for its own."""

    def __init__(self, calls=None, recordings=None, files=None):
        self.scripts, self.tries, self.lock = {**(calls or {}), **(recordings or {})}, {}, threading.Lock()
        self.files = files or {}
        platform = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(platform.next(platform.scripts, body.get("Caller") or body.get("CallIdentifier")))

            def do_GET(self):
                platform.credentials |= "Authorization" in self.headers
                self.answer(platform.next(platform.files, self.path))

            def answer(self, script):
                status, headers, body = script
                self.send_response_only(status)
                body = body.encode() if isinstance(body, str) else body
                for name, value in headers.items():
                    self.send_header(name, value.replace("{url}", platform.url).replace("{host}", platform.host))
                body = body.replace(b"{url}", platform.url.encode()).replace(b"{host}", platform.host.encode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.credentials = False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # a worker that has seen enough hangs up
        self.ca = ""
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self, scripts, key):
        with self.lock:
            self.tries[key] = self.tries.get(key, 0) + 1
            script = scripts.get(key, (404, {}, ""))
            return script if isinstance(script, tuple) else script[min(self.tries[key], len(script)) - 1]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
