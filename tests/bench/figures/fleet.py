"""What a run with nothing to do costs the controller for many hosts, and how it grows with them.

The hosts are names for one stack on this machine: what each of them would compute at the same time as the others is computed here
on the same processors, so that a fleet of real hosts takes less. Two forks for each processor keep them busy; with more of them
the hosts' own looks at the stack would time out here.
"""

from __future__ import annotations

import json
import os
import statistics

import lab
import product

PORT = 8913
NAME = "drydock-bench-fleet"
COUNTS = (1, 10, 25, 50)


def inventory(count: int):
    file = lab.WORK / f"fleet-{count}.json"
    hosts = {f"host{number:02}": {"ansible_connection": "local"} for number in range(1, count + 1)}
    file.write_text(
        json.dumps({"all": {"hosts": hosts, "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}}})
    )
    return file


def builds(count: int) -> int:
    """Return how many of so many alike hosts without the image build it."""
    product.variables()
    from ansible_collections.drydock.stack.plugins.filter.image_sources import FilterModule

    hosts = [
        {
            "inventory_hostname": f"host{number:02}",
            "__fastapi_release": {"converged": False, "image": "app:1"},
            "__fastapi_installed": {"has_image": False},
            "__fastapi_host": {"engine": {"platform": "linux/amd64"}},
        }
        for number in range(count)
    ]
    sources = FilterModule().filters()["image_sources"](hosts)
    return sum(name == source for name, source in sources.items())


def measure():
    found = lab.images()
    images = {f"fastapi_{name}_image": found[name] for name in ("python", "postgres", "caddy")}
    source = lab.clean_source("fleet")
    deploy = lab.ours(source, PORT, NAME)
    given = {"fastapi_name": NAME, "fastapi_source": str(source), "fastapi_port": PORT, **images}
    # What one of them found to do would be done to the stack of all: that ends the figure.
    given["fastapi_lock_wait"] = 0
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    try:
        lab.play(*deploy)
        for _ in range(max(1, lab.PAIRS // 3)):
            for count in COUNTS:
                more = ["-e", json.dumps({**given, "docker_host_daemon_managed": False}), f"--forks={2 * os.cpu_count()}"]
                times[count].append(lab.play(lab.ROOT / "playbooks/deploy.yml", "-i", inventory(count), *more))
    finally:
        lab.drop_ours(NAME)
    medians = [statistics.median(times[count]) for count in COUNTS]
    slope = statistics.linear_regression(COUNTS, medians)
    straight = statistics.correlation(COUNTS, medians) ** 2
    rows = [
        lab.median(f"nothing changed, {COUNTS[-1]} hosts", times[COUNTS[-1]], 45, unit="s"),
        lab.row("growth per host", slope.slope, None, unit="s", note=f"{slope.intercept:.1f} s beside it"),
        lab.row("how straight the line is (r²)", straight, 0.95, least=True),
        lab.row(f"builds per fleet of {COUNTS[-1]} hosts", builds(COUNTS[-1]), 1, unit="builds"),
    ]
    return rows, [
        lab.chart("Nothing changed, by the number of hosts", "s", **{f"{count} hosts": times[count] for count in COUNTS})
    ]
