"""A directory for recordings that gets full and becomes read-only while workers use it: a small file system in memory, mounted in a
namespace that only this test's workers enter, so that nothing of the machine is touched."""
import errno
import os
import subprocess

from programs import Program, wait_until

# Holds the namespace, and with it the file system, until it is killed.
HOLD = 'mount -t tmpfs -o size="$1" recordings "$2" && echo mounted && exec sleep 1h'
FILLER = "filler"


class Store:
    """path: for recording.store; launcher: what starts a worker that sees it. Where namespaces are not allowed, problem says why, and
    the trouble is another one: a file takes the place of the directory (words() tells)."""

    def __init__(self, directory, size=32 << 20):
        self.path, self.launcher, self.seen, self.holder = f"{directory}/store", [], f"{directory}/store", None
        self.size, self.problem = size, []
        os.mkdir(self.path)
        # As root, and as anybody whom the kernel lets be root of a namespace.
        for unshare, enter in (["-m"], ["-m"]), (["-rm"], ["-U", "-m", "--preserve-credentials"]):
            holder = Program(["unshare", *unshare, "--propagation", "private", "sh", "-c", HOLD, "sh", str(size), self.path],
                             directory, f"store{unshare[0]}")
            try:
                holder.wait_line("stdout", lambda line: line == "mounted", 10)
            except AssertionError as problem:
                holder.close()
                self.problem.append(str(problem).splitlines()[-1])
                continue
            self.holder, self.launcher = holder, ["nsenter", "-t", str(holder.pid), *enter, "--"]
            self.seen = f"/proc/{holder.pid}/root{self.path}"
            return

    def words(self):
        if self.holder:
            return "a real ENOSPC and a real EROFS"
        return f"NOT a real ENOSPC or EROFS but a file in the directory's place, as this machine allows no mounts: {self.problem[-1]}"

    def files(self):
        return sorted(name for name in os.listdir(self.seen) if name != FILLER)

    def read(self, name):
        with open(f"{self.seen}/{name}", "rb") as file:
            return file.read()

    def fill(self, left):
        """Leaves room for so many bytes."""
        if not self.holder:
            return self._replace()
        with open(f"{self.seen}/{FILLER}", "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as problem:
                if problem.errno != errno.ENOSPC:
                    raise
            file.truncate(file.tell() - left)

    def make_room(self):
        if not self.holder:
            return self._put_back()
        os.unlink(f"{self.seen}/{FILLER}")

    def make_read_only(self):
        if not self.holder:
            return self._replace()
        wait_until(lambda: not self._remount("ro"), 30, "the store can be made read-only")  # not while a file is being written

    def make_writable(self):
        if not self.holder:
            return self._put_back()
        if self._remount("rw"):
            raise AssertionError("the store cannot be made writable again")

    def _remount(self, how):
        # With all options again: those that mount would find by itself may hold a user whom the namespace does not know.
        return subprocess.run([*self.launcher, "mount", "-t", "tmpfs", "-o", f"remount,{how},size={self.size}", "recordings", self.path],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30).returncode

    def _replace(self):
        os.rename(self.path, f"{self.path}.aside")
        open(self.path, "x").close()
        self.seen = f"{self.path}.aside"

    def _put_back(self):
        os.unlink(self.path)
        os.rename(f"{self.path}.aside", self.path)
        self.seen = self.path

    def close(self):
        if self.holder:
            self.holder.close()
