"""The worker as a process that needs no broker: the broker's address is one where nobody listens."""
import os
import re
import subprocess
import threading
import time

TOKEN = "the-s3cret"
SETTINGS = {"kafka.bootstrap.servers": "127.0.0.1:1", "platform.url": "https://127.0.0.1:1", "platform.token": TOKEN,
            "platform.app.id": "app-1", "instance.id": "worker-1", "http.listen": "127.0.0.1:0", "log.format": "text"}


class Process:
    def __init__(self, command, environment=(), **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("PRIVACY_CALL_")} | dict(environment)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                                        text=True, **more)
        self.pid, self.text, self.changed = self.process.pid, "", threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.text += line
                self.changed.notify_all()

    def wait_for(self, pattern, seconds=30):
        deadline = time.monotonic() + seconds
        with self.changed:
            while not re.search(pattern, self.text):
                assert time.monotonic() < deadline and self.reader.is_alive(), f"no {pattern} in:\n{self.text}"
                self.changed.wait(0.1)
            return re.search(pattern, self.text)

    def signal(self, *numbers):
        for number in numbers:
            self.process.send_signal(number)

    def end(self, seconds=30):
        status = self.process.wait(seconds)
        self.reader.join(10)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()
        assert TOKEN not in self.text, "the token was shown"


def worker(program, settings=(), arguments=(), **more):
    """With these settings; one that is None is left out."""
    command = [program, *arguments]
    for key, value in {**SETTINGS, **dict(settings)}.items():
        command += ["-o", f"{key}={value}"] if value is not None else []
    return Process(command, **more)
