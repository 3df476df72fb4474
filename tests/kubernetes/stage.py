"""What the test puts into the cluster: the simulated platform, and docker/kubernetes/overlays/production with the few changes that the test needs."""
import base64
import os
import subprocess

import yaml

from cluster import MANIFESTS, NAME, Cluster, is_ready, until

TOKENS = ("first-token-of-the-test", "second-token-of-the-test")
APP_ID = "774e5e14a0874r725bfb90351f1e84f677"

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: %(name)s}
spec:
  egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - ports: [%(ports)s]
  - to: [{podSelector: {matchLabels: {app: platform}}}]
    ports: [{port: 8443, protocol: TCP}]
"""

# Prometheus is somewhere else in this test: all that it changes in the rule for it.
SCRAPER = """
- op: replace
  path: /spec/ingress/0/from/0/namespaceSelector/matchLabels/kubernetes.io~1metadata.name
  value: %(scraper)s
"""

# A pod that listens on the platform's port, and from which something is tried. It is no part of what is tested.
NEIGHBOUR = """
apiVersion: v1
kind: Pod
metadata: {name: neighbour, labels: {app: neighbour}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: neighbour
    image: %(image)s
    command: [perl, -MIO::Socket::INET, -e, "$s = IO::Socket::INET->new(Listen => 5, LocalPort => 8443) or die; while ($c = $s->accept) { close $c }"]
    readinessProbe: {tcpSocket: {port: 8443}, periodSeconds: 1}
    resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {memory: 128Mi}}
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""

# The same thing as in production, in a hurry: what takes minutes there takes seconds here.
SCALED = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: %(name)s, annotations: {autoscaling.keda.sh/paused: "true"}}
spec:
  maxReplicaCount: 4
  pollingInterval: 2
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown: {stabilizationWindowSeconds: 5, policies: [{type: Pods, value: 1, periodSeconds: 5}]}
"""


def kustomized(image):
    """An image's name as kustomize wants it: name[:tag][@digest] in parts."""
    image, _, digest = image.partition("@")
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # no tag, but perhaps a registry's port
        name, tag = image, "latest"
    return {"newName": name, **({"digest": digest} if digest else {"newTag": tag})}


def production():
    """The keys of the production overlay's worker.conf."""
    with open(os.path.join(MANIFESTS, "overlays", "production", "worker.conf")) as file:
        return dict([part.strip() for part in line.split("=", 1)] for line in file if "=" in line and not line.startswith("#"))


class Stage:
    """image, sandbox: images that the cluster's nodes can get; kafka: the address that pods use; prefix: of this run's topics and group."""

    def __init__(self, folder, namespace, image, sandbox, kafka, prefix):
        self.cluster = Cluster(namespace)
        self.scraper = Cluster(namespace + "-monitoring")
        self.folder, self.image, self.sandbox, self.kafka, self.prefix = folder, image, sandbox, kafka, prefix
        self.settings = {}
        self.used = ""  # the token that the platform takes
        self.ca = ""  # of the simulated platform, once that runs
        self.login = {}  # while the worker logs in by TLS and SASL: what its configuration has otherwise than the production overlay's
        self.keda_kafka = None  # Kafka's address with TLS and SASL, while KEDA logs in there
        self.keda = self.cluster.has("scaledobjects.keda.sh")
        self.monitoring = self.cluster.has("podmonitors.monitoring.coreos.com") and self.cluster.has("prometheusrules.monitoring.coreos.com")
        self.change = lambda objects: objects  # of what kustomize renders, before it is applied

    @property
    def topics(self):
        return [(f"{self.prefix}-call-requests", 8), (f"{self.prefix}-recording-requests", 8)]

    @property
    def answers(self):
        return [(f"{self.prefix}-{t}", 8) for t in ("call-results", "recording-results", "dead-letters")]

    def configuration(self):
        p = self.prefix
        login = {k: v for k, v in production().items() if k.startswith("kafka.")} if self.login else {}
        lines = {**login, "kafka.bootstrap.servers": self.kafka, **self.login, "kafka.group.id": p, "platform.url": "https://platform:8443", "platform.app.id": APP_ID,
                 "platform.token.file": "/run/secrets/privacy-call-worker/platform-token",
                 "platform.ca.file": "/run/secrets/privacy-call-worker/platform-ca.pem", "http.listen": "0.0.0.0:9464",
                 "topic.call.requests": f"{p}-call-requests", "topic.call.results": f"{p}-call-results",
                 "topic.recording.requests": f"{p}-recording-requests", "topic.recording.results": f"{p}-recording-results",
                 "topic.dead.letters": f"{p}-dead-letters", **self.settings}
        return "".join(f"{k} = {v}\n" for k, v in lines.items())

    def overlay(self, name, files, **kustomization):
        """Writes a folder with a kustomization, and returns it. Resources and components are paths under docker/kubernetes."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        for kind in ("resources", "components"):
            kustomization[kind] = [r if os.path.exists(os.path.join(folder, r)) or r in files else os.path.relpath(os.path.join(MANIFESTS, r), os.path.realpath(folder))
                                   for r in kustomization.get(kind, ())]
        files["kustomization.yaml"] = yaml.safe_dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                                                      "namespace": self.cluster.namespace, **{k: v for k, v in kustomization.items() if v}}, sort_keys=False)
        for file, text in files.items():
            with open(os.path.join(folder, file), "w") as out:
                out.write(text)
        return folder

    def objects(self):
        """The manifests of production (of minimal, where the cluster has no KEDA and no Prometheus operator), for this test."""
        # A policy counts at once, also for pods that still have the configuration without a login.
        servers = {self.kafka, self.login.get("kafka.bootstrap.servers", self.kafka)}
        names = {"name": NAME, "ports": ", ".join("{port: %s, protocol: TCP}" % server.rsplit(":", 1)[1] for server in servers), "scraper": self.scraper.namespace}
        full = self.keda and self.monitoring
        patches = [POLICY % names] + ([SCALED % names] if full else [])
        folder = self.overlay("overlay", {"worker.conf": self.configuration()}, resources=["overlays/production" if full else "overlays/minimal"],
                              images=[{"name": "registry.example/" + NAME, **kustomized(self.image)}],
                              configMapGenerator=[{"name": NAME, "namespace": "privacy-call", "behavior": "replace", "files": ["worker.conf"]}],
                              patches=[{"patch": p} for p in patches] + [{"target": {"kind": "NetworkPolicy", "name": NAME}, "patch": SCRAPER % names}])
        return self.change(self.scaled(self.cluster.render(folder)))

    def scaled(self, objects):
        """Production's own triggers, on this run's topics. They have a login only where self.keda_kafka is a listener that wants one."""
        for o in objects:
            if o["kind"] != "ScaledObject":
                continue
            for trigger, group, (topic, _) in zip(o["spec"]["triggers"], (self.prefix, self.prefix + "-recordings"), self.topics):
                trigger["metadata"].update(bootstrapServers=self.keda_kafka or self.kafka, consumerGroup=group, topic=topic, lagThreshold="20")
                if not self.keda_kafka:
                    del trigger["metadata"]["sasl"], trigger["metadata"]["tls"], trigger["authenticationRef"]
        return [o for o in objects if self.keda_kafka or o["kind"] != "TriggerAuthentication"]

    def apply(self):
        self.cluster.apply(self.objects())

    def rollout(self, kind="deployment", seconds=180):
        self.cluster.run("rollout", "status", f"{kind}/{NAME}", f"--timeout={seconds}s", seconds=seconds + 30)

    def start(self):
        """The namespace, the platform, the secret."""
        self.namespace(self.cluster)
        self.platform(TOKENS[0])
        files = {n: self.cluster.run("exec", "deploy/platform", "-c", "platform", "--", "cat", "/ca/" + n) for n in ("ca.pem", "ca.pem.key")}
        self.ca = files["ca.pem"]
        self.secret("platform-ca", files)
        self.token(TOKENS[0])

    def namespace(self, cluster):
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.namespace, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}])
        until(30, lambda: cluster.get("serviceaccount", "default"), "the namespace's service account")

    def neighbours(self):
        """A pod beside the worker's, and one in the namespace that scrapes. Returns their addresses."""
        self.namespace(self.scraper)
        for cluster in (self.cluster, self.scraper):
            cluster.apply(list(yaml.safe_load_all(NEIGHBOUR % {"image": self.sandbox})))
        return [until(60, lambda c=cluster: (lambda p: is_ready(p) and p["status"]["podIP"])(c.get("pod", "neighbour")), "the neighbour ready")
                for cluster in (self.cluster, self.scraper)]

    def platform(self, token):
        """The simulated platform, which takes this token and no other."""
        self.used = token
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "platform.yaml")) as file:
            text = file.read().replace("image: privacy-call-sandbox", "image: " + self.sandbox).replace("TOKEN", token)
        self.cluster.apply(list(yaml.safe_load_all(text)))
        self.rollout_of("platform")

    def rollout_of(self, name):
        self.cluster.run("rollout", "status", f"deployment/{name}", "--timeout=120s", seconds=150)

    def secret(self, name, files):
        self.cluster.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                             "data": {k: base64.b64encode(v.encode()).decode() for k, v in files.items()}}])

    def token(self, token):
        self.secret(NAME, {"platform-token": token, "platform-ca.pem": self.ca})

    def close(self):
        """Takes the namespace away, and waits until it is gone. Objects of KEDA go first, as their finalizers need its operator."""
        if self.keda:
            subprocess.run(["kubectl", "-n", self.cluster.namespace, "delete", "scaledobjects.keda.sh", "--all", "--timeout=60s"], check=False,
                           stdout=subprocess.DEVNULL)
        subprocess.run(["kubectl", "delete", "namespace", self.cluster.namespace, self.scraper.namespace, "--timeout=180s", "--ignore-not-found"], check=False,
                       stdout=subprocess.DEVNULL, timeout=200)
