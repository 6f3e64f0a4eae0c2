"""Measure the figures that are named, all without a name, and write docs/performance.md and .json from what is known.

    run.py [--fresh] [FIGURE...]

A figure that was measured with this state of the sources and as many pairs is not measured again, unless --fresh. One that fails,
or takes too long, is told in the report and keeps no other from being measured. BENCH_PAIRS is how many pairs there are of each.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lab
import report

# In this order: what disturbs others comes last.
FIGURES = ["images", "imports", "builds", "deploys", "fleet", "requests", "pgbench", "data", "server"]
# Seconds that one may take; the whole stays below 40 minutes on two processors.
TIMEOUT = 900
# What a figure follows from.
INPUTS = ["files/sample_app", "inventory/local", "playbooks", "plugins", "roles", "templates", "tests/bench"]


def state() -> str:
    """Return a hash of the sources that the figures follow from, and of the number of pairs."""
    digest = hashlib.sha256(str(lab.PAIRS).encode())
    listed = lab.run("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *INPUTS).splitlines()
    for name in sorted(listed):
        if (lab.ROOT / name).is_file():
            digest.update(name.encode() + hashlib.sha256((lab.ROOT / name).read_bytes()).digest())
    return digest.hexdigest()[:12]


def result(figure: str) -> Path:
    return lab.WORK / "results" / f"{figure}.json"


def measured(figure: str, current: str) -> bool:
    file = result(figure)
    found = json.loads(file.read_text()) if file.exists() else {}
    return found.get("state") == current and not found.get("error")


def keep(figure: str, **told) -> None:
    file = result(figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        json.dumps({"figure": figure, "pairs": lab.PAIRS, "date": time.strftime("%Y-%m-%d"), **told}, indent=1) + "\n"
    )


def measure(figure: str) -> None:
    """Measure one figure in this process and keep what it says."""
    current, began = state(), time.monotonic()
    load = os.getloadavg()[0]
    # A time-out ends it as an interrupt does, so that what it has made is taken away.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    module = importlib.import_module(f"figures.{figure}")
    try:
        rows, charts = module.measure()
    except (Exception, KeyboardInterrupt) as error:
        keep(figure, state=current, error=f"{type(error).__name__}: {error}"[-2000:])
        raise
    told = {"title": module.__doc__.strip(), "rows": rows, "charts": charts, "machine": report.machine(), "load": load}
    keep(figure, state=current, seconds=time.monotonic() - began, **told)


def measure_apart(figure: str) -> bool:
    """Measure one figure in a process of its own, which ends after a time, and tell whether it succeeded."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, "--here", figure])
    try:
        code = process.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        code = f"stopped after {TIMEOUT} s"
    sys.stdout.write(f"{figure}: {'ok' if code == 0 else code}, {time.monotonic() - began:.0f} s\n")
    sys.stdout.flush()
    return code == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.figures) - set(FIGURES):
        parser.error(f"{', '.join(sorted(unknown))} is no figure; use {', '.join(FIGURES)}")
    if arguments.here:
        measure(*arguments.figures)
        return 0
    current = state()
    failed = []
    for figure in arguments.figures or FIGURES:
        if not arguments.fresh and measured(figure, current):
            sys.stdout.write(f"{figure}: known\n")
        elif not measure_apart(figure):
            failed.append(figure)
    report.write({figure: json.loads(result(figure).read_text()) for figure in FIGURES if result(figure).exists()})
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
