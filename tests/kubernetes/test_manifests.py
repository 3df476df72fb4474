"""docker/kubernetes without a cluster: do the manifests fit the worker, config/alerts.yaml and each other?

What the API server would say about them is `make kubernetes-check`'s, and what a cluster makes of them `make kubernetes`'s."""
import glob
import os
import re
import subprocess
import tempfile
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MANIFESTS = os.path.join(ROOT, "docker", "kubernetes")
WORKER = os.path.join(os.environ.get("BUILD_DIR", os.path.join(ROOT, "build")), "privacy-call-worker")
SECRETS = "/run/secrets/privacy-call-worker/"
LISTS = {"resources", "components", "patches", "configMapGenerator"}


class Once(yaml.SafeLoader):
    """A loader for which a key that is given twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError(f"a key is given twice: {keys} {node.start_mark}")
        return super().construct_mapping(node, deep)


def load(path):
    with open(os.path.join(MANIFESTS, path)) as file:
        return yaml.load(file, Once)


def in_force(conf, folder):
    """The keys that the worker takes from a worker.conf: {key: value}, with files of the Secret that exist and hold something."""
    with open(os.path.join(MANIFESTS, conf)) as file:
        text = file.read()
    options = []
    for line in text.splitlines():
        if SECRETS in line and not line.startswith("#"):
            key, path = (part.strip() for part in line.split("=", 1))
            with open(os.path.join(folder, os.path.basename(path)), "w") as file:
                file.write(CERTIFICATE if path.endswith(".pem") else "something")
            options += ["-o", f"{key}={file.name}"]
    command = [WORKER, "-c", os.path.join(MANIFESTS, conf), *options]
    check = subprocess.run([*command, "--check"], env={}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False)
    if check.returncode:
        raise AssertionError(f"{conf}: {check.stdout}")
    printed = subprocess.run([*command, "--print-config"], env={}, text=True, stdout=subprocess.PIPE, check=True, timeout=20).stdout
    return dict((part.strip() for part in line.split("  # ")[0].split("=", 1)) for line in printed.splitlines() if " = " in line)


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        global CERTIFICATE
        made = os.path.join(cls.folder.name, "made.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test",
                        "-keyout", os.devnull, "-out", made], check=True, stderr=subprocess.DEVNULL)
        with open(made) as file:
            CERTIFICATE = file.read()
        cls.settings = {place: in_force(f"{place}/worker.conf", cls.folder.name) for place in ("base", "overlays/minimal", "overlays/production")}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_each_file_is_used(self):
        for path in glob.glob(f"{MANIFESTS}/**/kustomization.yaml", recursive=True):
            folder = os.path.dirname(path)
            named = set()
            for key, entries in load(path).items():
                for entry in entries if key in LISTS else ():
                    named |= {entry} if isinstance(entry, str) else {entry["path"]} if "path" in entry else set(entry.get("files", ()))
            for name in named:
                self.assertTrue(os.path.exists(os.path.join(folder, name)), f"{path} names {name}")
            there = {n for n in os.listdir(folder) if n.endswith((".yaml", ".conf")) and n != "kustomization.yaml"}
            self.assertEqual(there - named, set(), f"not used by {path}")

    def test_yaml(self):
        for path in glob.glob(f"{MANIFESTS}/**/*.yaml", recursive=True):
            self.assertIn("kind", load(path), path)

    def test_a_stop_has_its_time(self):
        pod = load("base/deployment.yaml")["spec"]["template"]["spec"]
        for place, settings in self.settings.items():
            self.assertGreater(pod["terminationGracePeriodSeconds"], int(settings["drain.timeout.ms"]) / 1000 + 5, place)
        self.assertLess(pod["containers"][0]["livenessProbe"]["terminationGracePeriodSeconds"], 5)

    def test_a_worker_is_asked_where_it_listens(self):
        container = load("base/deployment.yaml")["spec"]["template"]["spec"]["containers"][0]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        for place, settings in self.settings.items():
            self.assertEqual(settings["http.listen"], f"0.0.0.0:{ports['http']}", place)
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"})

    def test_the_network_policy_lets_out_what_is_configured(self):
        for place, policy in (("base", "base"), ("overlays/minimal", "base"), ("overlays/production", "overlays/production")):
            ranges = [(p["port"], p.get("endPort", p["port"])) for rule in load(f"{policy}/network-policy.yaml")["spec"]["egress"] for p in rule["ports"]]
            for server in self.settings[place]["kafka.bootstrap.servers"].split(","):
                port = int(server.rsplit(":", 1)[1])
                self.assertTrue(any(first <= port <= last for first, last in ranges), f"{place}: {server}, {ranges}")
            self.assertIn((443, 443), ranges)
            self.assertIn((53, 53), ranges)
            self.assertEqual(len(ranges), 4)

    def test_keda_looks_at_the_workers_groups(self):
        for place, conf in (("components/keda", "base"), ("overlays/production", "overlays/production")):
            triggers = load(f"{place}/scaled-object.yaml")["spec"]["triggers"]
            settings = self.settings[conf]
            self.assertEqual([(t["metadata"]["bootstrapServers"], t["metadata"]["consumerGroup"], t["metadata"]["topic"]) for t in triggers],
                             [(settings["kafka.bootstrap.servers"], settings[group], settings[topic]) for group, topic in
                              (("kafka.group.id", "topic.call.requests"), ("recording.group.id", "topic.recording.requests"))])

    def test_the_documented_secret_holds_what_the_worker_reads(self):
        with open(os.path.join(ROOT, "docs", "kubernetes.md")) as file:
            commands = re.findall(r"create secret generic privacy-call-worker (?:.*\\\n)*.*", file.read())
        with open(os.path.join(MANIFESTS, "overlays", "production", "worker.conf")) as file:
            wanted = set(re.findall(rf"^\w.*{SECRETS}(\S+)$", file.read(), re.MULTILINE))
        self.assertIn("platform-token", wanted)
        self.assertEqual([set(re.findall(r"--from-file=(\S+)", c)) for c in commands], [wanted] * 2)

    def test_keda_logs_in_with_what_the_documented_secret_holds(self):
        with open(os.path.join(ROOT, "docs", "kubernetes.md")) as file:
            command = next(line for line in file if "create secret generic privacy-call-worker-keda" in line)
        given = set(re.findall(r"--from-(?:literal|file)=([^\s=]+)", command))
        authentication = load("overlays/production/trigger-authentication.yaml")
        wanted = authentication["spec"]["secretTargetRef"]
        self.assertEqual({(w["name"], w["key"]) for w in wanted}, {("privacy-call-worker-keda", key) for key in given})
        for trigger in load("overlays/production/scaled-object.yaml")["spec"]["triggers"]:
            self.assertEqual(trigger["authenticationRef"]["name"], authentication["metadata"]["name"])

    def test_alerts_are_those_of_the_repository(self):
        folder = os.path.join(MANIFESTS, "components", "prometheus-operator")
        made = subprocess.run([os.path.join(folder, "prometheus-rule")], check=True, text=True, stdout=subprocess.PIPE).stdout
        with open(os.path.join(folder, "prometheus-rule.yaml")) as file:
            self.assertEqual(file.read(), made, "config/alerts.yaml has changed: make prometheus-rule.yaml again, its first line says how")
        with open(os.path.join(ROOT, "config", "alerts.yaml")) as file:
            self.assertEqual(yaml.safe_load(made)["spec"], yaml.safe_load(file))

    def test_a_pod_has_no_rights(self):
        pod = load("base/deployment.yaml")["spec"]["template"]["spec"]
        self.assertIs(pod["automountServiceAccountToken"], False)
        self.assertIs(load("base/service-account.yaml")["automountServiceAccountToken"], False)
        self.assertEqual((pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]), (True, {"type": "RuntimeDefault"}))
        self.assertEqual(pod["containers"][0]["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
        self.assertFalse(any("subPath" in m for m in pod["containers"][0]["volumeMounts"]), "a file of a subPath is never renewed")


if __name__ == "__main__":
    unittest.main()
