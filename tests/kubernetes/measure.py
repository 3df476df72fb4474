#!/usr/bin/python3
"""Which identity pays: Deployment or StatefulSet, dynamic or static membership? The table of docs/kubernetes.md; `make kubernetes-identity` runs it.

Environment as for prove.py, with KILL; NODE_DOWN and NODE_UP: commands that let the node $1 die and bring it back. Three workers under a steady
load of RATE requests a second; in each row: requests in doubt, the longest that a request waited for its result, how many waited over 2 s.
usage: measure.py [VARIANT...]
"""
import os
import subprocess
import sys
import time

from cluster import NAME, Problem, until
from load import Load, drop_topics, make_topics
from prove import BUILD, RATE
from stage import Stage

WORKERS = 3


def stateful(objects, static):
    """The Deployment as a StatefulSet; static: members of the group under the pods' names."""
    for o in objects:
        if o["kind"] == "Deployment":
            o["kind"] = "StatefulSet"
            for key in ("strategy", "progressDeadlineSeconds"):
                o["spec"].pop(key)
            o["spec"]["podManagementPolicy"] = "Parallel"
            if static:
                static_members(o)
    return [o for o in objects if o["kind"] != "ScaledObject"]


def static_members(workload):
    workload["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "PRIVACY_CALL_KAFKA_GROUP_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PRIVACY_CALL_KAFKA_PARTITION_ASSIGNMENT_STRATEGY", "value": "range"}]


def deployment(objects, static):
    for o in objects:
        if o["kind"] == "Deployment" and static:
            static_members(o)
    return [o for o in objects if o["kind"] != "ScaledObject"]


VARIANTS = {"deployment": ("deployment", lambda o: deployment(o, False), "Deployment, dynamic membership"),
            "stateful-static": ("statefulset", lambda o: stateful(o, True), "StatefulSet, static membership"),
            "stateful": ("statefulset", lambda o: stateful(o, False), "StatefulSet, dynamic membership"),
            "deployment-static": ("deployment", lambda o: deployment(o, True), "Deployment, static membership")}


class Measure:
    def __init__(self, variant):
        self.kind, change, self.title = VARIANTS[variant]
        e = os.environ
        self.kafka = e.get("KAFKA_HERE") or e["KAFKA"]
        self.stage = Stage(os.path.join(BUILD, "kubernetes-" + variant), "privacy-call-test", e["IMAGE"], e.get("SANDBOX_IMAGE") or e["IMAGE"], e["KAFKA"],
                           f"pcw-{variant}-{os.getpid()}")
        self.stage.change = change
        self.cluster = self.stage.cluster
        self.load = None

    def event(self, name, action, settle=3.0):
        first = self.load.mark()
        self.load.rate = RATE
        try:
            time.sleep(3)
            begun = time.monotonic()
            note = action() or ""
            took = time.monotonic() - begun
            time.sleep(settle)
        finally:
            self.load.rate = 0
        window = self.load.window(first)
        print(f"| {self.title} | {name} | {window.unknown} | {window.longest:.1f} s | {window.held} of {window.count} | {took:.0f} s{note} |"
              + (f" LOST {len(window.lost)} TWICE {len(window.twice)}" if window.lost or window.twice else ""), flush=True)

    def even(self, count=WORKERS):
        self.cluster.ready(count)
        self.cluster.spread(count, self.stage.topics, seconds=90)

    def command(self, variable, argument):
        subprocess.run([*os.environ[variable].split(), argument], check=True, timeout=120, env={**os.environ, "NAMESPACE": self.cluster.namespace})

    def rolling(self):
        self.cluster.run("rollout", "restart", f"{self.kind}/{NAME}")
        self.stage.rollout(self.kind, seconds=300)
        self.even()

    def killed(self):
        name = sorted(p["metadata"]["name"] for p in self.cluster.pods())[0]
        self.command("KILL", name)
        until(60, lambda: self.cluster.get("pod", name)["status"]["containerStatuses"][0]["restartCount"] > 0, "the container's restart")
        self.even()

    def fewer(self):
        self.cluster.scale(WORKERS - 1, self.kind)
        self.even(WORKERS - 1)

    def node(self):
        self.command("NODE_DOWN", "two")
        try:
            until(180, lambda: len([p for p in self.cluster.pods() if p["spec"]["nodeName"] == "one"]) == WORKERS, "all workers on the other node")
            return ", all workers are back"
        except Problem:
            return ", its workers are not replaced"

    def run(self):
        topics = self.stage.topics + self.stage.answers
        make_topics(self.kafka, topics)
        try:
            self.stage.close()
            if os.environ.get("NODE_DOWN"):
                subprocess.run(["kubectl", "cordon", "two"], check=True, stdout=subprocess.DEVNULL)
            self.stage.start()  # the platform stays on the node that lives
            subprocess.run(["kubectl", "uncordon", "two"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.load = Load(self.kafka, topics[0][0], topics[2][0], 8)
            self.stage.apply()
            self.stage.rollout(self.kind)
            self.cluster.scale(WORKERS, self.kind)
            self.even()
            self.load.burst(50)
            self.event("rolling update", self.rolling)
            self.event("kill -9 of a container", self.killed)
            self.event("scaled from 3 to 2", self.fewer, settle=40)
            if os.environ.get("NODE_DOWN"):
                self.cluster.scale(WORKERS, self.kind)
                self.even()
                try:
                    self.event("a node's death", self.node)
                finally:
                    self.command("NODE_UP", "two")
        finally:
            if self.load:
                self.load.close()
            if not os.environ.get("KEEP"):
                self.stage.close()
                drop_topics(self.kafka, topics)


if __name__ == "__main__":
    print("| what | event | `unknown` | longest wait for a result | waited over 2 s | until all are ready again |\n| --- | --- | --- | --- | --- | --- |")
    for chosen in sys.argv[1:] or VARIANTS:
        Measure(chosen).run()
