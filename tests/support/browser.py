"""A headless Chromium, driven over its DevTools protocol by two pipes: no library and no port is needed."""
import base64
import collections
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

from kafka import end_with_parent

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One browser with one tab. A call that is not answered within some seconds is a failure."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="chromium.")
        down, up = os.pipe(), os.pipe()

        def prepare():
            end_with_parent()
            os.dup2(down[0], 103)
            os.dup2(up[1], 104)
            os.dup2(103, 3)
            os.dup2(104, 4)
        self.process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={self.profile}", "--disable-gpu",
             "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage", "--force-color-profile=srgb",
             "--no-proxy-server", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(3, 4), preexec_fn=prepare, close_fds=True)
        os.close(down[0])
        os.close(up[1])
        self.writing, self.reading, self.buffer, self.number = down[1], up[0], b"", 0
        self.session, self.events, self.complaints, self.replies = None, collections.deque(), [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Audits", "Network", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def _read(self, seconds):
        """The next message; None: none came."""
        while b"\0" not in self.buffer:
            if not select.select([self.reading], [], [], seconds)[0]:
                return None
            data = os.read(self.reading, 1 << 20)
            assert data, "the browser has ended"
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def _take(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Fetch.requestPaused":
            self._answer(params)
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
            self.complaints.append(f"{params['entry']['source']}: {params['entry']['text']}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error", "assert"):
            self.complaints.append(f"console: {params['args']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(f"exception: {params['exceptionDetails'].get('exception', params['exceptionDetails'])}")
        elif method == "Audits.issueAdded" and params["issue"]["code"] == "ContentSecurityPolicyIssue":
            self.complaints.append(f"CSP: {params['issue']['details']}")
        elif method:
            self.events.append(message)

    def send(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        return self.number

    def call(self, method, **params):
        number, deadline = self.send(method, **params), time.monotonic() + 60
        while True:
            message = self._read(max(0, deadline - time.monotonic()))
            assert message, f"{method} was not answered"
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._take(message)

    def idle(self, seconds):
        """Takes what comes for so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            message = self._read(left)
            if message:
                self._take(message)

    # what a test asks for

    def look(self, width=1280, height=900, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, url):
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank' && document.readyState === 'complete'")
        self.complaints = []
        self.call("Page.navigate", url=url)

    def stub(self, end, body):
        """Requests of URLs that end so are answered with that text from now on; None: by whoever is there; False: not at all."""
        self.stubs = {end: body}
        self.call("Fetch.enable", patterns=[{"urlPattern": f"*{end}"}])

    def _answer(self, params):
        body = next((body for end, body in self.stubs.items() if params["request"]["url"].endswith(end)), None)
        if body is None:
            self.send("Fetch.continueRequest", requestId=params["requestId"])
        elif body is False:
            self.send("Fetch.failRequest", requestId=params["requestId"], errorReason="ConnectionRefused")
        else:
            self.send("Fetch.fulfillRequest", requestId=params["requestId"], responseCode=200,
                      responseHeaders=[{"name": "Content-Type", "value": "application/json"}],
                      body=base64.b64encode(body.encode()).decode())

    def run(self, script):
        """The value of an expression (or of the promise that it is)."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script, seconds=20):
        """The expression's first true value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"(() => {{ try {{ return {script}; }} catch {{ return null; }} }})()")):
            assert time.monotonic() < deadline, f"not within {seconds} s: {script}; the page says: {self.run('document.body.innerText')[:600]}"
            self.idle(0.1)
        return value

    def key(self, key, code, modifiers=0):
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, modifiers=modifiers)

    def picture(self, path, whole=True):
        """A PNG of the page, or of what of it is in the window."""
        metrics = self.call("Page.getLayoutMetrics")
        width, height = metrics["cssContentSize"]["width"], metrics["cssContentSize"]["height"]
        if not whole:
            height = metrics["cssLayoutViewport"]["clientHeight"]
        more = {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"]))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.writing)
        os.close(self.reading)
        shutil.rmtree(self.profile, ignore_errors=True)
