#!/usr/bin/python3
"""The page for people, in a headless Chromium: in each state of a real worker what the sentence says and in which colour, whether all
of it can be read, reached and named, and that nothing is fetched or run that the page's policy forbids. Pictures of each state, wide
and narrow, light and dark, are left in build/tests/page/. With PICTURE=FILE one of a worker after
MINUTES=14 is written there."""
import json
import os
import random
import re
import signal
import time
import unittest

from browser import PROGRAM, Browser
from case import ProgramCase, main
from programs import BUILD, Worker, wait_until
from records import Offsets, Requests

PICTURES = os.path.join(BUILD, "tests", "page")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'&amp;"

CONTRAST = r"""(() => {
  const rgb = (text) => { const n = text.match(/[\d.]+/g).map(Number); return n.length > 3 && n[3] === 0 ? null : n.slice(0, 3); };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c) return c; } return [255, 255, 255]; };
  const low = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.data.trim() || !e.checkVisibility() || e.closest("noscript, .unseen, svg")) continue;
    texts++;
    const value = ratio(rgb(getComputedStyle(e).color), ground(e));
    if (value < 4.5) low.push(`${value.toFixed(2)} ${node.data.slice(0, 40)}`);
  }
  for (const e of document.querySelectorAll("svg path:not(.grid)")) {
    const style = getComputedStyle(e), colour = rgb(style.fill === "none" ? style.stroke : style.fill);
    if (e.getAttribute("d") && ratio(colour, ground(e.closest("svg").parentElement)) < 3) low.push(`plot ${e.getAttribute("class")}`);
  }
  return { low, texts };
})()"""
FOCUSABLE = """[...document.querySelectorAll("a[href], button, [tabindex='0']")].filter((e) => e.checkVisibility())
  .map((e) => e.id || e.getAttribute("href") || e.getAttribute("aria-label") || e.textContent)"""
FOCUSED = """(() => { const e = document.activeElement; return e === document.body ? null :
  e.id || e.getAttribute("href") || e.getAttribute("aria-label") || e.textContent; })()"""
OFFENDERS = """[...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1 &&
  !e.closest(".scroll, .unseen, .skip, svg")).map((e) => e.outerHTML.slice(0, 80))"""


@unittest.skipUnless(PROGRAM, "there is no Chromium here (tools/install-packages.sh page)")
class Page(ProgramCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        os.makedirs(PICTURES, exist_ok=True)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    # what is started and asked for

    def worker(self, kafka, platform, options=None):
        worker = self.keep(Worker(self.directory, kafka if isinstance(kafka, str) else kafka.bootstrap, platform.url, platform.ca,
                                  {"platform.max.in.flight": "8", "platform.breaker.failures": "3", **(options or {})}, name="worker-1"))
        self.address = re.search(r"http://\S+/", worker.wait_log(r"http://127\.0\.0\.1:\d+/")["message"]).group()
        return worker

    def send(self, bootstrap, count, first=0, topic="call-requests"):
        requests = Requests(bootstrap, topic)
        for n in range(first, first + count):
            requests.send({"Caller": f"183{n:08d}", "Callee": "18516000000"}, f"o-{n}")
        requests.flush()

    def open(self, status=None):
        self.browser.stub("/status", status)
        self.browser.look()
        self.browser.open(self.address)

    def state(self, name, seconds=30):
        """Waits until the page says so; its sentence, without the mark before it."""
        self.browser.wait(f"document.getElementById('band')?.dataset.state === {json.dumps(name)}", seconds)
        return self.headline()

    def headline(self):
        return re.sub(r"^\W+", "", self.browser.run("document.getElementById('headline').innerText"))

    def severity(self):
        return self.browser.run("document.getElementById('band').dataset.severity")

    # what holds in each state

    def check(self, name):
        browser = self.browser
        for dark in (False, True):
            for width in (1280, 390):
                with self.subTest(name=name, dark=dark, width=width):
                    browser.look(width, 900, dark)
                    browser.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
                    found = browser.run(CONTRAST)
                    self.assertEqual([], found["low"])
                    self.assertGreater(found["texts"], 40)
                    self.assertLessEqual(browser.run("document.documentElement.scrollWidth"), width, "the page scrolls sideways")
                    self.assertEqual([], browser.run(OFFENDERS), "stands out of the page")
                    browser.picture(f"{PICTURES}/{name}-{width}{'-dark' if dark else ''}.png")
        self.check_keyboard()
        self.check_names()
        self.assertEqual([], browser.complaints)
        browser.look()

    def check_keyboard(self):
        """Tab reaches everything that can be used, in the order in which it stands."""
        browser = self.browser
        browser.run("document.activeElement.blur(); scrollTo(0, 0)")
        browser.call("Page.bringToFront")
        wanted, reached = browser.run(FOCUSABLE), []
        for _ in wanted:
            browser.key("Tab", 9)
            reached.append(browser.run(FOCUSED))
        self.assertEqual(wanted, reached)

    def check_names(self):
        nodes = [node for node in self.browser.call("Accessibility.getFullAXTree")["nodes"] if not node.get("ignored")]
        roles = {}
        for node in nodes:
            roles.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
        for role in ("banner", "main", "contentinfo"):
            self.assertEqual(1, len(roles.get(role, [])), role)
        for role in ("button", "link", "region", "table", "image", "heading", "group"):
            self.assertNotIn("", roles.get(role, []), f"a {role} without a name")
        self.assertGreaterEqual(len(roles["table"]), 1)
        self.assertIn("status", roles)
        levels = [int(p["value"]["value"]) for node in nodes if node["role"]["value"] == "heading"
                  for p in node["properties"] if p["name"] == "level"]
        self.assertEqual(1, levels.count(1))
        self.assertEqual(1, levels[0], "the sentence is not the first heading")
        self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels)
        self.assertEqual([], self.browser.run("[...document.querySelectorAll('th:not([scope])')].map((e) => e.textContent)"))

    def colour(self):
        """Of the sentence's ground: red, green, blue."""
        return [int(n) for n in re.findall(r"\d+", self.browser.run("getComputedStyle(document.getElementById('band')).backgroundColor"))[:3]]

    # the states

    def test_well(self):
        sandbox = self.sandbox("latency=5-20ms", kafka=True)
        worker = self.worker(sandbox, sandbox)
        wait_until(lambda: [p["state"] for p in worker.status()["partitions"]] == 8 * ["active"])
        self.send(sandbox.bootstrap, 40)
        wait_until(lambda: worker.status()["counts"]["results"]["succeeded"] == 40)
        wait_until(lambda: any(worker.status()["history"]["jobs"][0]["tries"]), 20, "the history has a step")
        self.open()
        self.assertRegex(self.state("well"), r"^All is well: [\d.]+ calls? a second; no unknown result from this worker in the last 15 min$")
        self.assertEqual("ok", self.severity())
        red, green, blue = self.colour()
        self.assertTrue(green > red and green > blue, "not green")
        self.check("well")
        self.assertIn("40\nsucceeded", self.browser.run("document.getElementById('counters').innerText"))
        self.assertRegex(worker.get("/status")[1], r'"errors": \[\]')

    def test_paused(self):
        sandbox = self.sandbox("refuse", kafka=True)
        worker = self.worker(sandbox, sandbox, {"platform.breaker.open.ms": "30000"})
        self.send(sandbox.bootstrap, 37)
        self.open()
        self.state("paused")
        wait_until(lambda: worker.status()["waits"]["orderIds"] == 37)
        self.browser.wait("/37 order ids wait/.test(document.getElementById('headline').innerText)")
        self.assertRegex(self.headline(), r"^Calls paused since \d\d:\d\d: .*Connection refused\); next try in \d+ s; 37 order ids wait$")
        self.assertEqual("error", self.severity())
        red, green, blue = self.colour()
        self.assertTrue(red > 2 * green and red > 2 * blue, "not red")
        announced = self.browser.run("document.getElementById('announcer').textContent")
        self.assertIn("Calls paused", announced)
        before = self.headline()
        self.browser.wait(f"!document.getElementById('headline').innerText.includes({json.dumps(before)})", 10)
        self.assertEqual(announced, self.browser.run("document.getElementById('announcer').textContent"), "each second is announced")
        self.assertRegex(self.browser.run("document.title"), "Calls paused.*worker-1")
        text = worker.status()["summary"]["text"]
        self.assertRegex(text, r"^Calls paused since \d\d:\d\d UTC: .*; next try in \d+ s; 37 order ids wait$")
        self.check("paused")
        sandbox.lift_faults()

    def test_halted(self):
        sandbox = self.sandbox(kafka=True)
        offsets = Offsets(sandbox.bootstrap, "privacy-call-worker")
        offsets.commit("call-requests", 1, 0, "somebody else's")
        offsets.close()
        worker = self.worker(sandbox, sandbox)
        self.open()
        self.assertRegex(self.state("halted"), r"^Partition call-requests/1 halted since \d\d:\d\d: .+; stop the group's workers and run "
                                               r"privacy-call-worker ledger repair -c [^ ]+ --topic call-requests --partition 1 "
                                               r"\(with --offset N if it asks for it\); "
                                               r"the other 7 partitions go on$")
        self.assertEqual("error", self.severity())
        first = self.browser.run("document.querySelector('#partitions tbody').innerText")
        self.assertRegex(first, r"^1\t■ halted(?s:.*)Remedy: Stop all workers of group privacy-call-worker, run privacy-call-worker ledger repair")
        row = next(p for p in worker.status()["partitions"] if p["topic"] == "call-requests" and p["partition"] == 1)
        self.assertEqual(("halted", True), (row["state"], "ledger repair" in row["remedy"]))
        self.assertTrue(row["since"] and row["haltReason"])
        self.check("halted")

    def test_draining_then_gone(self):
        sandbox = self.sandbox("latency=30s", kafka=True)
        worker = self.worker(sandbox, sandbox, {"drain.timeout.ms": "12000"})
        self.send(sandbox.bootstrap, 5)
        self.open()
        wait_until(lambda: worker.status()["inFlight"] == 5)
        self.state("well")
        worker.signal(signal.SIGTERM)
        self.assertRegex(self.state("draining"), r"^Stopping since \d\d:\d\d: no more calls are begun, 5 are under way; ends at the latest in \d+ s$")
        self.assertEqual("notice", self.severity())
        self.check("draining")
        self.assertEqual(0, worker.wait())
        self.assertRegex(self.state("unreachable"), r"^No answer from the worker since \d\d:\d\d: .*; asked again in \d+ s; "
                                                    r"what stands below is as it was then$")
        self.assertEqual("error", self.severity())
        self.browser.complaints = []  # that nobody answers
        self.check_contrast_of("unreachable")

    def check_contrast_of(self, name):
        for dark in (False, True):
            self.browser.look(390, 900, dark)
            self.assertEqual([], self.browser.run(CONTRAST)["low"])
            self.browser.picture(f"{PICTURES}/{name}-390{'-dark' if dark else ''}.png")
        self.browser.look()

    def test_no_kafka(self):
        platform = self.sandbox()
        self.worker("127.0.0.1:1", platform)
        self.open()
        self.assertRegex(self.state("no-kafka"), r"^No answer from Kafka since \d\d:\d\d: .*Connection refused.*; it is tried again all the time")
        self.assertEqual("error", self.severity())
        self.check("no-kafka")

    def test_kafka_that_is_silent_and_comes_back(self):
        kafka, platform = self.sandbox(kafka=True, name="kafka"), self.sandbox(name="platform")
        worker = self.worker(kafka, platform)
        self.open()
        self.state("well")
        wait_until(lambda: {p["state"] for p in worker.status()["partitions"]} == {"active"})
        kafka.signal(signal.SIGSTOP)
        self.state("no-kafka")
        kafka.signal(signal.SIGCONT)
        self.state("well")

    def test_unknown(self):
        sandbox = self.sandbox("reset?caller=18300000003", kafka=True)
        worker = self.worker(sandbox, sandbox)
        self.send(sandbox.bootstrap, 10)
        wait_until(lambda: worker.status()["counts"]["results"]["unknown"] == 1)
        self.open()
        self.assertRegex(self.state("unknown"), r"^1 result unknown since \d\d:\d\d: its call may have been made, and no answer is known; check with "
                                                r"the platform before asking again$")
        self.assertEqual("warning", self.severity())
        self.check("unknown")
        doubt = worker.status()["inDoubt"]
        self.assertEqual((1, 1), (doubt["unknown"], doubt["unknownLately"]))
        self.assertNotRegex(worker.get("/status")[1], r"\bo-\d", "an order id")
        self.assertIn("error", self.browser.run("[...document.querySelectorAll('#counters dd')].find((e) => e.previousSibling.textContent === "
                                                "'unknown').className"), "unknown looks like success")

    def test_many_partitions(self):
        sandbox = self.sandbox(kafka=True, options=("--topic", "call-requests:200", "--topic", "call-results:8", "--topic",
                                                    "recording-requests:4", "--topic", "recording-results:4", "--topic",
                                                    "privacy-call-dead-letters:1"))
        worker = self.worker(sandbox, sandbox)
        wait_until(lambda: sum(p["state"] == "active" for p in worker.status()["partitions"]) == 204, 60)
        self.open()
        self.state("well")
        rows = "document.querySelectorAll('#partitions table')[0].tBodies[0].rows.length"
        self.browser.wait(f"{rows} === 25")
        self.check("200-partitions")
        self.browser.run("document.querySelector('button.more').focus()")
        self.browser.key("Enter", 13)
        self.browser.run("document.querySelector('button.more').click()")
        self.browser.wait(f"{rows} === 200")
        self.assertEqual("Show fewer of call-requests", self.browser.run("document.activeElement.textContent"))
        began = time.monotonic()
        for _ in range(20):
            worker.get("/status")
        self.assertLess((time.monotonic() - began) / 20, 0.2)

    # what comes from elsewhere

    def stubbed(self):
        """A real status to be changed, and the page's address."""
        platform = self.sandbox()
        return self.worker("127.0.0.1:1", platform).status()

    def test_hostile_names(self):
        status = self.stubbed()
        topic = "t" + HOSTILE
        problem = {"severity": "error", "state": "halted", "text": HOSTILE, "what": "Partition " + HOSTILE, "reason": HOSTILE, "next": HOSTILE,
                   "since": status["time"], "waiting": HOSTILE}
        status.update(summary=problem, problems=[problem, {**problem, "severity": HOSTILE}], instance=HOSTILE, group=HOSTILE, version=HOSTILE)
        status["waits"]["oldestUnfinished"] = {"topic": topic, "partition": 1, "at": status["time"]}
        status["errors"] = [{"level": HOSTILE, "at": status["time"], "first": status["time"], "times": 3, "message": HOSTILE, "topic": topic,
                             "partition": 1, "offset": 7}]
        status["jobs"] = [{"job": "calls", "group": HOSTILE, "topic": topic, "inGroup": True, "lacksTopic": False, "partitions": 1, "halted": 1,
                           "lag": 0}]
        status["partitions"] = [{"topic": topic, "partition": 1, "state": "halted", "base": 0, "next": 0, "haltReason": HOSTILE,
                                 "remedy": HOSTILE + "`" + HOSTILE + "`", "since": status["time"], "unfinished": 0, "started": 0, "ledger": 0}]
        self.open(json.dumps(status))
        self.browser.wait("document.getElementById('headline').innerText.includes('onerror')")
        self.assertEqual(1, self.browser.run("document.querySelectorAll('script').length"))
        self.assertEqual(0, self.browser.run("document.querySelectorAll('img').length"))
        for part in ("headline", "others", "who", "waits", "errors", "partitions"):
            self.assertIn(HOSTILE, self.browser.run(f"document.getElementById('{part}').textContent"), part)
        self.check("hostile")

    def test_what_waits_and_what_is_forgotten(self):
        """Hundreds of halted partitions are not all shown at once; a partition that is stuck comes right behind them."""
        status = self.stubbed()
        row = {"topic": "call-requests", "state": "active", "base": 0, "next": 9, "lag": 9, "unfinished": 9, "started": 0, "ledger": 0,
               "since": status["time"], "oldestUnfinished": status["time"]}
        status["jobs"][0].update(partitions=1000, halted=300)
        status["partitions"] = [{**row, "partition": n, **({"state": "halted", "haltReason": "why", "remedy": "what"} if n % 10 < 3 else {}),
                                 **({"stuck": True, "remedy": "look"} if n == 999 else {})} for n in range(1000)]
        self.open(json.dumps(status))
        self.browser.wait("document.querySelectorAll('#partitions table').length")
        self.assertLess(self.browser.run("document.querySelectorAll('#partitions tbody tr').length"), 250)
        status["partitions"] = [p for p in status["partitions"] if p["state"] != "halted" or p["partition"] < 20]
        self.browser.stub("/status", json.dumps(status))
        states = "[...document.querySelectorAll('#partitions tbody tr td:first-of-type')].map((e) => e.innerText).filter(Boolean)"
        self.browser.wait(f"{states}[6] === '■ stuck'", 40)
        self.assertEqual(["■ halted"] * 6 + ["■ stuck", "active"], self.browser.run(states)[:8])

    # how often it asks

    def test_asks_seldom_and_not_unseen(self):
        self.stubbed()
        self.open()
        self.state("no-kafka")
        asked = "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/status')).length"
        first = self.browser.run(asked)
        self.browser.idle(6)
        self.assertLessEqual(self.browser.run(asked) - first, 4)
        self.browser.wait(f"{asked} >= {first + 2}", 30)
        hide = "Object.defineProperty(document, 'hidden', {{ get: () => {}, configurable: true }}); document.dispatchEvent(new Event('visibilitychange'))"
        for stop, go in ((hide.format("true"), hide.format("false")),
                         ("document.getElementById('hold').click()", "document.getElementById('hold').click()")):
            self.browser.run(stop)
            self.browser.idle(0.5)  # one that was asked before
            before = self.browser.run(asked)
            self.browser.idle(4)
            self.assertEqual(before, self.browser.run(asked))
            self.browser.run(go)
            self.browser.wait(f"{asked} > {before}", 5)

    @unittest.skipUnless("PICTURE" in os.environ, "")
    def test_picture(self):
        sandbox = self.sandbox("latency=60-260ms,flag=1003@4%,latency=900ms@2%", kafka=True)
        self.worker(sandbox, sandbox, {"platform.breaker.open.ms": "20000", "kafka.group.id": "calls-production"})
        requests, n = Requests(sandbox.bootstrap, "call-requests"), 0
        seconds = 60 * int(os.environ.get("MINUTES", 14))
        for second in range(seconds):
            if second == seconds - 25:
                sandbox.add_fault("refuse")
            for n in range(n + 1, n + 1 + (random.randint(18, 30) if second < seconds - 25 else 44)):
                requests.send({"Caller": f"183{n:08d}", "Callee": "18516000000"}, f"o-{n}")
            if second % 5 == 0:
                requests.send({"CallIdentifier": f"c-{n}"}, f"o-{n}", topic="recording-requests")
            requests.flush()
            time.sleep(1)
        self.open()
        self.state("paused")
        self.browser.look(1120, 770)
        self.browser.idle(3)
        self.browser.picture(os.environ["PICTURE"], whole=False)


if __name__ == "__main__":
    if "PICTURE" not in os.environ:
        del Page.test_picture
    main()
