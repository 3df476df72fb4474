"""What the machine does while something is measured: CPU time of the bench's own processes, what all others take, and versions."""
import os
import re
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
CORES = os.cpu_count()
# Of the whole machine: from here on others have so much of it that a figure says something about them too.
BUSY_PERCENT = 10


def groups_seconds(groups):
    """CPU time of each of these process groups, their dead children included."""
    total = dict.fromkeys(groups, 0)
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) in total:
            total[int(fields[2])] += sum(int(field) for field in fields[11:15])
    return {group: ticks / TICK for group, ticks in total.items()}


def busy_seconds():
    """CPU time that somebody had or that the host took away. Without interrupts: they are the network's, so the bench's own too."""
    with open("/proc/stat") as file:
        user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, file.readline().split()[1:9])
    return (user + nice + system + steal) / TICK


def peak_mib(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return 0


class Mark:
    """A moment of a run: time, posts so far, and the CPU time of each process group and of the whole machine."""

    def __init__(self, groups, posts=0):
        self.at, self.posts = time.monotonic(), posts
        self.groups, self.busy = groups_seconds(groups), busy_seconds()
        self.own = sum(self.groups.values()) + sum(os.times()[:4])

    def seconds_until(self, end):
        return max(end.at - self.at, 0.001)

    def group_until(self, end, groups):
        return sum(end.groups[group] - self.groups[group] for group in groups)

    def others_until(self, end):
        """What processes that are not the bench's took of the whole machine, in percent; the mean."""
        others = end.busy - self.busy - (end.own - self.own)
        return round(max(0, 100 * others / (self.seconds_until(end) * CORES)), 1)


def said(*command):
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "-"
    return run.stdout.strip().splitlines()[0] if run.returncode == 0 and run.stdout.strip() else "-"


def commit(root):
    head = said("git", "-C", root, "rev-parse", "--short", "HEAD")
    changed = said("git", "-C", root, "status", "--porcelain", "--untracked-files=no", "src") != "-"
    return head + (" and changes" if changed and head != "-" else "")


def versions(kafka_version):
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    java = re.search(r'"(.*?)"', said("java", "-version"))
    return {"cores": CORES, "processor": model.group(1) if model else "-", "kernel": os.uname().release, "kafka": kafka_version,
            "librdkafka": said("pkg-config", "--modversion", "rdkafka"), "libcurl": said("pkg-config", "--modversion", "libcurl"),
            "java": java.group(1) if java else "-"}
