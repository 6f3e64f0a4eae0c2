"""Requests per second and the slowest of a hundred, through the front door and past it, against the template's own command.

Both applications use one database and all processors; one of them is asked at a time, by wrk on the same machine, on the port
that the engine publishes. What the front door costs is told by asking it and the application at their own addresses, as the
engine's forwarding of a port of the loopback address has a cost of its own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import lab

PORT, THEIR_PORT = 8914, 8915
NAME, THEIRS = "drydock-bench-requests", "drydock-bench-template"
PATH = "/notes?limit=10"
SECONDS, CONNECTIONS, NOTES = 8, 16, 100
UNITS = {"us": 0.001, "ms": 1, "s": 1000}


def load(url: str) -> dict[str, float]:
    """Return requests per second and the 99th percentile of the latency in ms; any answer but 2xx ends the figure."""
    said = lab.run(
        "wrk",
        "--threads=1",
        f"--connections={CONNECTIONS}",
        f"--duration={SECONDS}s",
        "--latency",
        "--timeout=10s",
        f"{url}{PATH}",
    )
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
    return {"rate": float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]), "p99": float(number) * UNITS[unit]}


def address(container: str) -> str:
    """Return where a container answers on the network of the front door."""
    networks = json.loads(lab.docker("inspect", "--format={{json .NetworkSettings.Networks}}", container))
    return f"http://{networks[f'{NAME}_front']['IPAddress']}:8000"


def memory(*containers: str) -> float:
    """Return the memory of the processes of containers in MB, each page shared out among those that have it.

    What the engine says counts the page cache, and is nothing at all where the kernel keeps no account of memory.
    """
    processes = [int(word) for name in containers for word in lab.docker("top", name, "-eo", "pid").split()[1:]]
    shares = [re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{one}/smaps_rollup").read_text(), re.MULTILINE) for one in processes]
    return sum(int(share[1]) for share in shares) * 1024 / 1e6


def start_template() -> None:
    tag = f"{lab.NAME}:template"
    source = lab.clean_source("template")
    (source / ".dockerignore").write_text((lab.BASELINES / "template/.dockerignore").read_text())
    lab.build(tag, source, lab.BASELINES / "template/Dockerfile", base=lab.images()["full"])
    settings = Path("/opt") / NAME / "current/.env"
    lab.remove(THEIRS)
    lab.docker(
        *("create", f"--name={THEIRS}", f"--network={NAME}_front", f"--publish=127.0.0.1:{THEIR_PORT}:8000"),
        *(f"--env-file={unquoted(settings)}", tag),
    )
    lab.docker("network", "connect", f"{NAME}_app-network", THEIRS)
    lab.docker("start", THEIRS)


def unquoted(settings: Path) -> Path:
    """Write the variables of ours for `docker run`, which takes quotes for a part of the value, without the number of workers."""
    file = lab.WORK / "template.env"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("WEB_CONCURRENCY=")]
    file.write_text("".join(re.sub(r'^(\w+)="(.*)"$', r"\1=\2", line) + "\n" for line in lines))
    return file


def measure():
    urls = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{THEIR_PORT}"
    try:
        lab.play(*lab.ours(lab.clean_source("requests"), PORT, NAME))
        slot = lab.docker("ps", f"--filter=name={NAME}-app-", "--format={{.Names}}")
        door, direct = address(f"{NAME}-proxy-1"), address(slot)
        lab.wait_for(lambda: lab.answer(f"{urls[0]}/readyz"))
        mine = memory(slot, f"{NAME}-db-1", f"{NAME}-proxy-1")
        database = memory(f"{NAME}-db-1")
        start_template()
        lab.wait_for(lambda: lab.answer(f"{urls[1]}/readyz"))
        theirs = database + memory(THEIRS)
        for number in range(NOTES):
            lab.run("curl", "--silent", "--fail", "--json", json.dumps({"text": f"note {number}"}), f"{urls[0]}/notes")
        asked: dict[str, list[dict[str, float]]] = {url: [] for url in (*urls, door, direct)}
        for url in asked:
            load(url)
        for _ in range(lab.PAIRS):
            for url, found in asked.items():
                found.append(load(url))
    finally:
        lab.remove(THEIRS)
        lab.drop_ours(NAME)
    rates = [[one["rate"] for one in found] for found in asked.values()]
    slowest = [[one["p99"] for one in found] for found in asked.values()]
    faster = [own / other for own, other in zip(rates[0], rates[1], strict=True)]
    slower = [own / other for own, other in zip(slowest[0], slowest[1], strict=True)]
    lost = [1 - own / other for own, other in zip(rates[2], rates[3], strict=True)]
    later = [own - other for own, other in zip(slowest[2], slowest[3], strict=True)]
    rows = [
        lab.median(
            "requests per second through the front door, against the template's command", faster, 1.3, least=True, unit="times"
        ),
        lab.median("p99 through the front door, against the template's command", slower, 0.8, unit="times"),
        lab.median("the front door's cost in throughput", lost, 0.10, unit="of the requests"),
        lab.median("the front door's cost at p99", later, 1, unit="ms"),
        lab.row("memory of the idle stack", mine, theirs, unit="MB", note=f"template, without a front door: {theirs:.0f} MB"),
    ]
    names = ("ours", "template's command", "ours, unpublished", "ours, past the front door")
    return rows, [
        lab.chart("Requests per second", "1/s", **dict(zip(names, rates, strict=True))),
        lab.chart("p99", "ms", **dict(zip(names, slowest, strict=True))),
        lab.chart("Memory of the idle stack", "MB", ours=mine, template=theirs),
    ]
