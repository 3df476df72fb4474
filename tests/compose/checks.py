"""What tests/compose/run checks of docker/, in this order; see there. Each function `check_...` is one stage of the same stack's life."""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
import urllib.parse
import urllib.request

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
COMPOSE = ["docker", "compose", "-f", "docker/compose.yaml"]
PROJECT = "privacy-call-compose-test"
WORKER, SANDBOX = "privacy-call-worker:local", "privacy-call-sandbox:local"
STATE = sys.argv[1]
failures = 0
figures = []


def say(text):
    print(f"[{time.strftime('%T')}] {text}", flush=True)


def check(what, fine, why=""):
    global failures
    failures += not fine
    say(f"{'ok' if fine else 'FAILED'}: {what}{f' ({str(why)[-1500:]})' if why and not fine else ''}")
    return fine


def figure(what):
    figures.append(what)
    say(f"   {what}")


def run(*command, timeout=1200, **more):
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=timeout, **more)


def out(*command, **more):
    return run(*command, **more).stdout.strip()


def compose(*arguments, **more):
    return run(*COMPOSE, *arguments, **more)


def within(seconds, condition):
    """Whether the condition comes true in time, on a busy machine in four times that; errors of what is not there yet count as not true."""
    end = time.monotonic() + 4 * seconds
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, ValueError, IndexError, KeyError):
            pass
        if time.monotonic() > end:
            return None
        time.sleep(0.2)


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


def containers(service):
    return sorted(out("docker", "ps", "-q", "--no-trunc", "--filter", f"label=com.docker.compose.project={os.environ['COMPOSE_PROJECT_NAME']}",
                      "--filter", f"label=com.docker.compose.service={service}").split())


def inspect(container, path):
    return out("docker", "inspect", "-f", "{{" + path + "}}", container)


def pages():
    """The address of each running worker's page."""
    return [f"http://{out('docker', 'port', c, '9464').splitlines()[0]}" for c in containers("worker")]


def ready(count):
    def all_ready():
        urls = pages()
        return len(urls) == count and [get(f"{url}/readyz") for url in urls] and urls
    return within(120, all_ready)


def metric(url, name):
    """The values of one metric by its labels."""
    return {m[1]: float(m[2]) for m in re.finditer(rf"^{name}(\{{.*\}})? (\S+)$", get(f"{url}/metrics"), re.MULTILINE)}


# ---- Kafka, from this machine ------------------------------------------------------------------------------------------------------------

def bootstrap():
    return f"127.0.0.1:{os.environ['KAFKA_PORT']}"


def kcat(*arguments, **more):
    return run("kcat", "-b", bootstrap(), *arguments, **more)


def send(first, last, name="r"):
    lines = "".join(f'o-{i}|{{"Caller": "183260{i:05}", "Callee": "185160{i:05}", "requestId": "{name}-{i}"}}\n' for i in range(first, last + 1))
    return kcat("-P", "-t", "call-requests", "-K|", "-X", "partitioner=murmur2_random", "-X", "acks=all", input=lines, timeout=60)


def results(topic="call-results"):
    lines = kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-X", "isolation.level=read_committed", timeout=60).stdout
    return [json.loads(line) for line in lines.splitlines()]


def each_once(count, seconds=60):
    """Whether each of the requests r-1 to r-count gets one result, and no other has one; returns the statuses, or None."""
    within(seconds, lambda: len([r for r in results() if r["requestId"].startswith("r-")]) >= count)
    found = [r for r in results() if r["requestId"].startswith("r-")]
    ids = sorted(r["requestId"] for r in found)
    if ids != sorted(f"r-{i}" for i in range(1, count + 1)):
        say(f"   {len(ids)} results of {len(set(ids))} requests, not {count}")
        return None
    return [r["status"] for r in found]


# ---- The image ---------------------------------------------------------------------------------------------------------------------------

def sbom(image, program):
    document = json.loads(out("docker", "run", "--rm", "--entrypoint", "cat", image, f"/usr/share/sbom/{program}.cdx.json"))
    packages = out("docker", "run", "--rm", "--entrypoint", "dpkg-query", image, "-W", "-f", "${Package} ${Version}\n").splitlines()
    listed = [f"{c['name']} {c['version']}" for c in document["components"] if c["type"] == "library"]
    return document, sorted(packages), sorted(listed)


def build(debian):
    revision = out("git", "rev-parse", "HEAD")
    for target, image in (("sandbox", SANDBOX), ("worker", WORKER)):
        built = run("docker", "build", "-f", "docker/Dockerfile", "--target", target, "-t", image, "--build-arg", f"DEBIAN={debian}",
                    "--build-arg", f"MIRROR={os.environ.get('MIRROR', '')}", "--build-arg", f"REVISION={revision}", ".", timeout=3000)
        if not check(f"Debian {debian}: the {target}'s image builds", built.returncode == 0, built.stderr):
            return False
    return True


def image(debian):
    if not build(debian):
        return
    size = {name: int(out("docker", "image", "inspect", "-f", "{{.Size}}", name)) / 1e6 for name in (f"debian:{debian}-slim", WORKER, SANDBOX)}
    figure(f"Debian {debian}: worker {size[WORKER]:.0f} MB, sandbox {size[SANDBOX]:.0f} MB, of which {size[f'debian:{debian}-slim']:.0f} MB are the base")
    in_it = ["docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    told = run(*in_it, WORKER, "--version")
    version = re.search(r"\d+(\.\d+)+", told.stdout)
    check(f"Debian {debian}: runs read-only, without capabilities and new privileges: {told.stdout.strip()}", told.returncode == 0 and version, told.stderr)
    config = json.loads(out("docker", "image", "inspect", "-f", "{{json .Config}}", WORKER))
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    check("its user is a number, not root's", config["User"] == "10001", config["User"])
    check("its labels tell version, commit, licence and base", version and labels["version"] == version[0] and labels["licenses"] == "Apache-2.0"
          and labels["revision"] == out("git", "rev-parse", "HEAD") and labels["base.name"] == f"debian:{debian}-slim" and labels["title"], labels)
    there = out(*in_it, "--entrypoint", "sh", WORKER, "-c", "for t in cc gcc ld make cmake python3 curl privacy-call-sandbox; do command -v $t; done; ls / /source 2>/dev/null")
    check("no compiler, sources or sandbox are in it", not re.search(r"/(cc|gcc|ld|make|cmake|python3|curl|privacy-call-sandbox)$|source", there, re.MULTILINE), there)
    check("no file of it can be written by its user", not out(*in_it[:3], "--entrypoint", "sh", WORKER, "-c",
          "find / -xdev -path /proc -prune -o -path /sys -prune -o -path /dev -prune -o -writable ! -type l ! -perm -1000 -print 2>/dev/null"))
    for name, program in ((WORKER, "privacy-call-worker"), (SANDBOX, "privacy-call-sandbox")):
        document, packages, listed = sbom(name, program)
        main = document["metadata"]["component"]
        check(f"the bill of materials of {program} has it and each of its {len(packages)} packages", listed == packages and main["name"] == program
              and version and main["version"] == version[0], f"{main}, {set(packages) ^ set(listed)}")
        librdkafka = [p.partition(" ")[2] for p in packages if p.startswith("librdkafka1 ")]
        check(f"Debian {debian}: the librdkafka of {program} is {librdkafka}, {'with' if debian == '13' else 'without'} our patch",
              ["+pcw" in v for v in librdkafka] == [debian == "13"])


def check_image_12():
    image("12")
    if compose("up", "-d").returncode == 0 and ready(1):
        send(1, 20)
    check("Debian 12: 20 requests have 20 results", each_once(20) == ["succeeded"] * 20)
    compose("down", "-v", "-t", "1")


def check_image_13():
    image("13")
    folder, compiler = os.path.join(STATE, "leaders"), f"{PROJECT}-compiler"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    built = run("docker", "build", "-f", "docker/Dockerfile", "--target", "build", "-t", compiler, "--build-arg", "DEBIAN=13",
                "--build-arg", f"MIRROR={os.environ.get('MIRROR', '')}", ".", timeout=3000)
    compiled = run("docker", "run", "--rm", "-v", f"{ROOT}/tests/compose:/tests:ro", "-v", f"{folder}:/leaders", compiler,
                   "cc", "-O1", "-o", "/leaders/leaders", "/tests/leaders.c", "-lrdkafka")
    run("chmod", "-R", "a+rX", folder)
    told = run("docker", "run", "--rm", "--ulimit", "core=0", "-v", f"{folder}:/leaders:ro", "--entrypoint", "/leaders/leaders", WORKER)
    check(f"Debian 13: {told.stdout.strip() or 'librdkafka survives partitions without a leader, and topics that are made again'}", told.returncode == 0,
          f"{built.stderr} {compiled.stderr} {told.stderr} exit status {told.returncode}")
    run("docker", "rmi", compiler)


# ---- The stack ---------------------------------------------------------------------------------------------------------------------------

def check_first_result():
    built = compose("build", timeout=3000)
    check("Compose builds the images", built.returncode == 0, built.stderr)
    begun = time.monotonic()
    up = compose("up", "-d")
    if not check("`up` from nothing", up.returncode == 0, up.stderr):
        raise SystemExit(1)
    check("a request that is sent at once has a result", within(90, lambda: send(1, 1, "first").returncode == 0)
          and within(60, lambda: [r["status"] for r in results()] == ["succeeded"]))
    figure(f"from `up` to the first result, images built: {time.monotonic() - begun:.0f} s")
    check("the worker is ready", ready(1))


def readme():
    """The commands of README's part about Docker."""
    with open(f"{ROOT}/README.md") as file:
        return re.search(r"^#+ With Docker.*?^```bash\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)[1]


def check_readme():
    compose("down", "-v", "-t", "1")
    told = run("bash", "-euo", "pipefail", "-c", readme(), timeout=600)
    check("README's commands run as they stand", told.returncode == 0, told.stdout + told.stderr)
    check("the one that reads shows the result of the one that sends", re.search(r'"orderId": ?"o-1001", ?"requestId": ?"try-1", ?"status": ?"succeeded"', told.stdout), told.stdout)
    check("and the last one tells a worker's page", told.stdout.strip().rpartition("\n")[2] in [url[7:] for url in pages()], told.stdout)


def assigned(url, topic):
    return len([labels for labels in metric(url, "privacy_call_consumer_lag") if f'topic="{topic}"' in labels])


def spread():
    return {topic: sorted(assigned(url, topic) for url in pages()) for topic in ("call-requests", "recording-requests")}


def check_scale():
    up = compose("up", "-d", "--scale", "worker=3")
    urls = ready(3)
    check("`up -d --scale worker=3`: three workers are ready, each at a port of its own", up.returncode == 0 and urls and len(set(urls)) == 3, up.stderr)
    told = sorted(out(*COMPOSE, "port", "--index", str(i), "worker", "9464") for i in (1, 2, 3))
    check(f"`port --index` tells the page of each: {' '.join(told)}", told == sorted(url[7:] for url in pages()), pages())
    check("each has an instance.id of its own", len({json.loads(get(f"{url}/status"))["instance"] for url in pages()}) == 3)
    check("8 partitions of each topic are spread 3, 3, 2", within(60, lambda: spread() == {t: [2, 3, 3] for t in ("call-requests", "recording-requests")}), spread())


def check_host():
    send(1, 100)
    statuses = each_once(100)
    check("100 requests that are sent from this machine have 100 results, all of them succeeded", statuses == ["succeeded"] * 100, statuses)


def check_own():
    """The command that docs/docker.md has for one's own Kafka and platform, with those of the stack in their place."""
    with open(f"{ROOT}/docs/docker.md") as file:
        command = re.search(r"^docker run -d --name privacy-call-worker .*?privacy-call-worker$", file.read(), re.MULTILINE | re.DOTALL)[0]
    name = f"{PROJECT}-own"
    for was, now_ in (("--name privacy-call-worker", f"--name {name} --network {PROJECT}_default -v {PROJECT}_ca:/ca:ro"), (":9464:9464", "::9464"),
                      ('" privacy-call-worker', f'" {WORKER}')):
        command = command.replace(was, now_)
    run("docker", "rm", "-f", name)
    folder = os.path.join(STATE, "own")
    os.makedirs(os.path.join(folder, "secrets"), exist_ok=True)
    shutil.copy(f"{ROOT}/docker/platform-token", os.path.join(folder, "secrets"))
    with open(os.path.join(folder, "worker.conf"), "w") as file:
        file.write("kafka.bootstrap.servers = kafka:9092\nplatform.url = https://platform:8443\nplatform.ca.file = /ca/ca.pem\n"
                   "platform.app.id = 774e5e14a0874r725bfb90351f1e84f677\nplatform.token.file = /run/secrets/platform-token\n")
    run("chmod", "-R", "a+rX", folder)
    started = subprocess.run(["bash", "-c", command], cwd=folder, text=True, capture_output=True, timeout=60)
    url = f"http://{out('docker', 'port', name, '9464')}"
    try:
        check("`docker run` as documented starts a worker with a configuration and secrets of its own", started.returncode == 0 and within(60, lambda: get(f"{url}/readyz")),
              started.stderr + run("docker", "logs", name).stderr)
        send(1, 100, "own")
        found = lambda: [r for r in results() if r["requestId"].startswith("own-")]  # noqa: E731
        check("100 requests have 100 results beside the other workers", within(60, lambda: [r["status"] for r in found()] == ["succeeded"] * 100))
        check("some of them are its own", within(5, lambda: metric(url, "privacy_call_tries_total")[None] > 0))
        run("docker", "stop", name)
        check("`docker stop` ends it with 0", inspect(name, ".State.ExitCode") == "0")
    finally:
        run("docker", "rm", "-f", name)


def health():
    listed = out("docker", "ps", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", '{{.Label "com.docker.compose.service"}} {{.Status}}')
    return dict(sorted(line.split(" ", 1) for line in listed.splitlines()))


def check_health():
    services = {"kafka", "platform", "worker"}
    fine = within(60, lambda: (h := health()).keys() == services and all("(healthy)" in s for s in h.values()))
    check("each service is healthy", fine, health())
    worker = containers("worker")[0]
    for name in services:
        container = containers(name)[0]
        check(f"{name} has no capability and gets no new privileges", inspect(container, "json .HostConfig.CapDrop") == '["ALL"]'
              and "no-new-privileges" in inspect(container, "json .HostConfig.SecurityOpt"))
    check("worker and platform write nothing", [inspect(containers(n)[0], ".HostConfig.ReadonlyRootfs") for n in ("worker", "platform")] == ["true"] * 2)
    shown = out("docker", "exec", worker, "privacy-call-worker", "--print-config")
    check("the token comes from a secret's file, and is not shown", re.search(r"^platform\.token = \*\*\*", shown, re.MULTILINE)
          and "PRIVACY_CALL_PLATFORM_TOKEN_FILE=/run/secrets/" in inspect(worker, "json .Config.Env") and "akwiKeKEKG" not in inspect(worker, "json .Config.Env") + shown, shown)
    log = run("docker", "logs", worker)
    lines = (log.stdout + log.stderr).splitlines()
    check("each line of the worker's log is JSON", lines and all("@timestamp" in json.loads(line) for line in lines))
    check("`ledger` runs beside the worker", "call-requests" in out("docker", "exec", worker, "privacy-call-worker", "ledger"))


def back(service, count, since):
    """Whether that many containers of the service run, one of which was started since (in Docker's words), and are healthy."""
    def fine():
        states = [json.loads(inspect(c, "json .State")) for c in containers(service)]
        return len(states) == count and all(s["Running"] and s["Health"]["Status"] == "healthy" for s in states) and any(s["StartedAt"] > since for s in states)
    return within(90, fine)


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def busy_worker(workers):
    """The process of a worker with calls in flight. workers: {address: process}"""
    for address, process in workers.items():
        if metric(f"http://{address}", "privacy_call_calls_in_flight").get(None, 0) > 2:
            return process
    return None


def send_for_a_while(first, last):
    """Sends the requests from another thread, over some seconds; returns the thread."""
    def send_them():
        sender = subprocess.Popen(["kcat", "-P", "-b", bootstrap(), "-t", "call-requests", "-K|", "-X", "partitioner=murmur2_random"], stdin=subprocess.PIPE, text=True)
        for i in range(first, last + 1):
            print(f'o-{i}|{{"Caller": "183260{i:05}", "Callee": "185160{i:05}", "requestId": "r-{i}"}}', file=sender.stdin, flush=True)
            time.sleep(0.005)
        sender.stdin.close()
        sender.wait()
    thread = threading.Thread(target=send_them)
    thread.start()
    return thread


def check_kills():
    # Asked for before there are calls, because Docker's answers may take longer than calls, and before the killer, which has its image's labels, too.
    workers = {out("docker", "port", c, "9464").splitlines()[0]: inspect(c, ".State.Pid") for c in containers("worker")}
    # By another process, not by Docker's own kill: from a container that sees all, as the daemon may be in a virtual machine.
    killer = out("docker", "run", "-d", "--rm", "--pid", "host", "--user", "0", "--entrypoint", "sleep", WORKER, "600")
    sender = send_for_a_while(101, 1100)
    victim = within(30, lambda: busy_worker(workers))
    since = now()
    if check("a worker is busy", victim):
        run("docker", "exec", killer, "sh", "-c", f"kill -9 {victim}")
    sender.join()
    run("docker", "rm", "-f", killer)
    statuses = each_once(1100, 90)
    check("after kill -9 of a busy worker each of 1,100 requests has one result", statuses)
    found = {s: (statuses or []).count(s) for s in sorted(set(statuses or []))}
    check(f"those that it was about are `unknown`, all others succeeded: {found}", found.keys() == {"succeeded", "unknown"})
    check("the killed worker is back by itself", back("worker", 3, since))


def check_docker_kill():
    since = now()
    run("docker", "kill", "-s", "INT", containers("worker")[0])
    check("a worker is back after `docker kill -s INT`", back("worker", 3, since), health())
    victim = containers("platform")[0]
    run("docker", "kill", victim)
    time.sleep(5)
    check("Docker lets down what `docker kill` ended, and `up -d` starts it", inspect(victim, ".State.Running") == "false"
          and compose("up", "-d", "--scale", "worker=3").returncode == 0 and inspect(victim, ".State.Running") == "true")
    os.environ["DOCKER_SOCKET"] = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or "/var/run/docker.sock"
    keep = [*COMPOSE, "--profile", "keep"]
    check("the profile `keep` comes up", run(*keep, "up", "-d", "--scale", "worker=3").returncode == 0 and within(30, lambda: "watching" in out(*keep, "logs", "keeper")))
    for service in ("worker", "platform", "kafka"):
        since = now()
        run("docker", "kill", containers(service)[0])
        check(f"{service} is back, and healthy, after `docker kill`", back(service, 3 if service == "worker" else 1, since), out(*keep, "logs", "keeper"))
    check("the workers are ready again", ready(3))
    send(1101, 1200)
    check("and answer", each_once(1200))


# ---- Prometheus and Grafana --------------------------------------------------------------------------------------------------------------

def queries():
    with open(f"{ROOT}/config/dashboard.json") as file:
        expressions = re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', file.read())
    expressions = [e for e in expressions if "platform_clock_offset" not in e] # the simulated platform tells no time; tests/observe has one that does
    return [re.sub(r"\$(job|instance)\b", ".*", json.loads(e)).replace("$__rate_interval", "1m") for e in expressions]


def ask(prometheus, expression):
    return json.loads(get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))["data"]["result"]


def check_observe():
    port = os.environ["PROMETHEUS_PORT"]
    grafana = run("docker", "image", "inspect", "grafana/grafana:12.1.0").returncode == 0 or run("docker", "pull", "grafana/grafana:12.1.0").returncode == 0
    up = compose("--profile", "observe", "up", "-d", "--scale", "worker=3", *([] if grafana else ["prometheus", "worker"]))
    check("the profile `observe` comes up", up.returncode == 0, up.stderr)
    prometheus = f"http://127.0.0.1:{port}"
    send(1201, 1300) # something for the rates
    targets = lambda: json.loads(get(f"{prometheus}/api/v1/targets"))["data"]["activeTargets"]  # noqa: E731
    check("Prometheus scrapes each of the three workers", within(90, lambda: [t["health"] for t in targets()] == ["up"] * 3), run(*COMPOSE, "logs", "prometheus").stdout)
    groups = json.loads(get(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    check(f"and has our {sum(len(g['rules']) for g in groups)} rules, each of them sound", all(r["health"] == "ok" or r["health"] == "unknown" for g in groups for r in g["rules"]), groups)
    expressions = queries()
    unanswered = within(60, lambda: not (left := [e for e in expressions if not ask(prometheus, e)]) and "none") or [e for e in expressions if not ask(prometheus, e)]
    check(f"Prometheus has an answer for each of the dashboard's {len(expressions)} queries", unanswered == "none", unanswered)
    if grafana:
        url = f"http://127.0.0.1:{os.environ['GRAFANA_PORT']}"
        check("Grafana shows the dashboard", within(90, lambda: len(json.loads(get(f"{url}/api/search?type=dash-db"))) == 1))
    else:
        say("   Grafana is left out: its image is not to be had here")
    compose("--profile", "observe", "rm", "-fs", "prometheus", "grafana")


# ---- The end of it -----------------------------------------------------------------------------------------------------------------------------

def check_stops():
    workers = containers("worker")
    begun = time.monotonic() # the keeper is there yet, and lets it be
    compose("stop", "worker")
    check("each worker stops with 0", [inspect(c, ".State.ExitCode") for c in workers] == ["0"] * 3)
    figure(f"three idle workers stop in {time.monotonic() - begun:.1f} s")
    time.sleep(6)
    check("and stays stopped", not containers("worker"), out(*COMPOSE, "--profile", "keep", "logs", "keeper"))


def check_gone():
    compose("--profile", "observe", "--profile", "keep", "down", "-v")
    left = [out("docker", kind, "ls", "-q", *(["-a"] if kind == "container" else []), "--filter", f"label=com.docker.compose.project={PROJECT}")
            for kind in ("container", "volume", "network")]
    check("`down -v` leaves nothing", left == ["", "", ""], left)


# ---- Compose 1.29 ------------------------------------------------------------------------------------------------------------------------

def check_old_compose():
    old = shutil.which("docker-compose") or f"{STATE}/docker-compose-1"
    version = run(old, "version", "--short").stdout.strip() if os.path.exists(old) else ""
    if not version.startswith("1."):
        say("   Compose 1.29 is left out: it is not here")
        return
    old = [old, "-f", "docker/compose.yaml"]
    up = run(*old, "up", "-d", "--scale", "worker=3")
    check(f"Compose {version}: `up -d --scale worker=3`", up.returncode == 0 and ready(3), up.stderr)
    send(1, 30)
    check(f"Compose {version}: 30 requests have 30 results", each_once(30))
    run(*old, "down", "-v")


def main():
    os.environ.update(COMPOSE_PROJECT_NAME=PROJECT, DEBIAN="13")
    os.environ.setdefault("KAFKA_PORT", "9092")
    os.environ.setdefault("PROMETHEUS_PORT", "9090")
    os.environ.setdefault("GRAFANA_PORT", "3000")
    say(out("docker", "version", "-f", "Docker {{.Server.Version}}, client {{.Client.Version}}") + ", " + out("docker", "compose", "version"))
    compose("--profile", "observe", "--profile", "keep", "down", "-v", "-t", "1")
    chosen = sys.argv[2:] or [name[6:] for name in globals() if name.startswith("check_")]
    try:
        for name in chosen:
            begun = time.monotonic()
            try:
                globals()[f"check_{name}"]()
            except (OSError, ValueError, IndexError, KeyError, TypeError, subprocess.SubprocessError):  # the next stages are tried all the same
                check(f"{name} comes to its end", False, traceback.format_exc())
            say(f"   ({name}: {time.monotonic() - begun:.0f} s)")
    finally:
        compose("--profile", "observe", "--profile", "keep", "down", "-v", "-t", "5")
    print("\n".join(["", *figures, f"{'all is well' if not failures else f'{failures} FAILED'}"]))
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
