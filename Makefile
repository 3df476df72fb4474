# Shortcuts; CMake does the work. PRESET (dev, release, asan, tsan) chooses the build, JOBS the number of jobs.
PRESET ?= dev
JOBS ?= $(shell nproc)
BUILD := $(if $(filter dev,$(PRESET)),build,build/$(PRESET))
# The tests need more packages than the programs, so they are configured when they are first wanted, and stay configured.
CONFIGURE = $(if $(wildcard $(BUILD)/CMakeCache.txt),,-DBUILD_TESTING=OFF)
CTEST_FLAGS ?= --output-on-failure
# Four jobs more than there are cores, because most tests wait most of the time for time-outs and sessions. tests/CMakeLists.txt counts a
# test that does not as several.
TESTS_AT_ONCE ?= $(shell expr $(JOBS) + 4)

.NOTPARALLEL:
.PHONY: help build install install-sandbox deb deb-test page demo play test test-packages simulate takeover broker-death spread outages clients chaos soak compose arm64 bench bench-page asan tsan lint format distro kubernetes kubernetes-identity kubernetes-check clean

build:
	@tools/install-packages.sh build
	@mkdir -p $(BUILD)
	@cmake --preset $(PRESET) $(CONFIGURE) >$(BUILD)/configure.log 2>&1 || { cat $(BUILD)/configure.log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS)

help:
	@sed -n 's/^    \(make .*\)/\1/p' README.md

# Installs the release build, whatever PRESET is. cmake itself uses DESTDIR.
PREFIX ?= /usr/local
install:
	@$(MAKE) --no-print-directory build PRESET=release
	@cmake --install build/release --prefix $(PREFIX)

# A separate component, because the sandbox does not belong on a production machine.
install-sandbox:
	@$(MAKE) --no-print-directory build PRESET=release
	@cmake --install build/release --prefix $(PREFIX) --component sandbox

# deb builds Debian packages into build/deb, for the Debian that it runs on. deb-test installs, runs, upgrades and removes them in fresh
# Debian 12 and 13 root file systems with systemd as pid 1 (as root; only making the root file systems needs the network).
deb:
	@tools/install-packages.sh deb
	@tools/deb

deb-test: deb
	@tools/install-packages.sh distro
	@tests/packaging/deb-test build/deb

demo play: build
	@tools/demo $@ $(BUILD)

test lint chaos soak: CONFIGURE = -DBUILD_TESTING=ON
test: test-packages build
	@ctest --test-dir $(BUILD) -j $(TESTS_AT_ONCE) $(CTEST_FLAGS)

test-packages:
	@tools/install-packages.sh test

asan tsan: test-packages
	@tests/sanitizers/run $@

SEEDS ?= 100000
simulate: CONFIGURE = -DBUILD_TESTING=ON
simulate: test-packages build
	@$(BUILD)/tests/simulation/simulate --seeds $(SEEDS)

PYTHON_TEST = PYTHONPATH=tests/support PYTHONDONTWRITEBYTECODE=1 BUILD_DIR=$(abspath $(BUILD)) /usr/bin/python3
KILLS ?= 20
takeover broker-death spread outages clients: CONFIGURE = -DBUILD_TESTING=ON
takeover: test-packages build
	@KILLS=$(KILLS) $(PYTHON_TEST) tests/takeover/takeover.py
	@KILLS=$(KILLS) $(PYTHON_TEST) tests/takeover/broker_death.py

broker-death: test-packages build
	@KILLS=$(KILLS) $(PYTHON_TEST) tests/takeover/broker_death.py

spread: test-packages build
	@SPREAD=2,3,4,8,12 $(PYTHON_TEST) tests/integration/test_spread.py

outages: test-packages build
	@CI=true CHAOS=long $(PYTHON_TEST) tests/chaos/test_chaos.py -k test_outage

clients: test-packages build
	@CI=true $(PYTHON_TEST) tests/clients/test_clients.py

chaos: test-packages build
	@CI=true CHAOS=long CHAOS_REPORT=docs/chaos.md $(PYTHON_TEST) tests/chaos/test_chaos.py

MINUTES ?= 30
soak: test-packages build
	@tests/soak/soak.py $(BUILD) $(MINUTES)

compose:
	@tests/compose/run $(CHECKS)

bench:
	@$(MAKE) --no-print-directory build PRESET=release
	@tools/install-packages.sh bench
	@tests/bench/run build/release

# Writes the results of the last runs of the benchmark into docs/performance.md.
bench-page:
	@/usr/bin/python3 -B tests/bench/page.py take $(or $(RESULTS),build/release/bench/results.jsonl)

# Tests the page for people in a headless Chromium, and leaves pictures of each state in build/tests/page. PICTURE=docs/page.png renews
# the picture of the README, which shows a worker after a quarter of an hour.
page: build
	@tools/install-packages.sh page
	@CI=true PYTHONPATH=tests/support PYTHONDONTWRITEBYTECODE=1 BUILD_DIR=$(abspath $(BUILD)) /usr/bin/python3 tests/page/test_page.py

lint: test-packages build
	@tools/lint $(BUILD)

format:
	@tools/install-packages.sh test
	@git ls-files '*.c' '*.h' | xargs clang-format -i

# Cross-compiles the release for arm64, and runs its unit tests and a short simulation in an emulator.
arm64:
	@tools/arm64

DISTRO ?= trixie
distro:
	@CTEST_FLAGS='$(CTEST_FLAGS)' tools/distro $(DISTRO) make test

# Tests docker/kubernetes on the cluster that kubectl points at. tests/kubernetes/prove.py describes IMAGE, KAFKA and the other variables.
kubernetes kubernetes-identity: export PYTHONDONTWRITEBYTECODE := 1
kubernetes kubernetes-identity: export BUILD_DIR := $(abspath $(BUILD))
kubernetes:
	@tools/install-packages.sh kubernetes
	@/usr/bin/python3 tests/kubernetes/prove.py $(STEPS)

kubernetes-identity:
	@tools/install-packages.sh kubernetes
	@/usr/bin/python3 tests/kubernetes/measure.py

# Validates the manifests with the API server's own code, without a server. Its modules are built once (a minute and a half of CPU).
kubernetes-check:
	@tools/install-packages.sh kubernetes-check
	@mkdir -p build
	@cd tests/kubernetes/check && CGO_ENABLED=0 go build -trimpath -o $(abspath build)/kubernetes-check .
	@build/kubernetes-check docker/kubernetes/overlays/minimal docker/kubernetes/overlays/production --crds tests/kubernetes/crds

clean:
	@rm -rf build
