#!/bin/sh
# What can be said of docker/ without Docker, within a second: its scripts do what the image needs, and what runs in containers is no nonsense.
# tests/compose/run does the rest.
# usage: check.sh SOURCE_DIRECTORY BUILD_DIRECTORY
source=${1:?usage: check.sh SOURCE_DIRECTORY BUILD_DIRECTORY} build=${2:?}
bad=0
expect() { # WHAT COMMAND...
    what=$1; shift
    told=$("$@" 2>&1) || { bad=1; echo "$what:"; echo "$told"; }
}
packages=$("$source/docker/runtime-packages" "$build/privacy-call-worker") || bad=1
for package in libc6 librdkafka1 libjansson4 libmicrohttpd12; do
    echo "$packages" | grep -q "^$package\(t64\)*\$" || { bad=1; echo "runtime-packages does not name $package but:"; echo "$packages"; }
done
echo "$packages" | grep -e '-dev$' && { bad=1; echo 'runtime-packages names a package for developers'; }
expect 'a program that needs a library of no package' sh -c "! '$source/docker/runtime-packages' /nowhere 2>/dev/null | grep ."

SOURCE_DATE_EPOCH=1768212043 "$source/docker/sbom" worker 1.2.3 | /usr/bin/python3 -c '
import json, subprocess, sys
document = json.load(sys.stdin)
listed = [c["name"] for c in document["components"] if c["type"] == "library"]
installed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], capture_output=True, text=True, check=True).stdout
assert sorted(listed) == sorted(l.split()[0] for l in installed.splitlines() if l.endswith(" installed")), "packages"
assert document["metadata"]["timestamp"] == "2026-01-12T10:00:43Z", document["metadata"]
assert document["metadata"]["component"]["version"] == "1.2.3"
assert all(c["purl"] == c["bom-ref"] and c["version"] for c in document["components"] if c["type"] == "library"), "package URLs"
references = [c["bom-ref"] for c in document["components"]]
assert len(set(references)) == len(references), "two components have one reference"
' || { bad=1; echo 'sbom: see above'; }

# `up` gives up when a service that others wait for is unhealthy, and a busy machine may take minutes to start Kafka.
/usr/bin/python3 -c '
import sys, yaml
def seconds(text):
    return int(text[:-1]) * {"s": 1, "m": 60}[text[-1]]
services = yaml.safe_load(open(sys.argv[1]))["services"]
waited = {name for s in services.values() if isinstance(s.get("depends_on"), dict) for name, on in s["depends_on"].items() if on["condition"] == "service_healthy"}
for name in sorted(waited):
    check = services[name]["healthcheck"]
    patience = seconds(check.get("start_period", "0s")) + seconds(check["interval"]) * check["retries"]
    assert patience >= 600, f"others wait {patience} s for {name}"
assert {"kafka", "platform"} <= waited, waited
' "$source/docker/compose.yaml" || { bad=1; echo 'compose.yaml: see above'; }

for script in run daemon base-images clients kafka/run kafka/tool; do expect "tests/compose/$script" bash -n "$source/tests/compose/$script"; done
expect docker/librdkafka/build sh -n "$source/docker/librdkafka/build"
expect docker/keeper perl -c "$source/docker/keeper"
version=$(sed -n 's/^project(.* VERSION \([0-9.]*\).*/\1/p' "$source/CMakeLists.txt")
expect "the image's label has the version $version" grep -q "^ARG VERSION=$version\$" "$source/docker/Dockerfile"
exit $bad
