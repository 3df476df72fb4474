"""Debian's Prometheus for the tests: the installed one, or the package unpacked (nothing is installed, no daemon is started)."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "privacy-call-worker" / "prometheus"


def unpack():
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", "prometheus"], cwd=CACHE, check=True, capture_output=True, timeout=120)
    package = max(CACHE.glob("prometheus_*.deb"), key=lambda path: path.stat().st_mtime)
    subprocess.run(["dpkg-deb", "-x", package, CACHE], check=True, timeout=120)
    package.unlink()


def tool(name):
    """The path of `prometheus` or `promtool`. Ends the test as skipped where it cannot be had, and as failed where CI=true."""
    path = shutil.which(name) or CACHE / "usr/bin" / name
    if not os.path.exists(path):
        try:
            unpack()
        except (OSError, subprocess.SubprocessError) as why:
            print(f"SKIPPED: no {name} here, and Debian's package `prometheus` cannot be had ({why})")
            sys.exit(1 if os.environ.get("CI") == "true" else 77)
    return str(path)
