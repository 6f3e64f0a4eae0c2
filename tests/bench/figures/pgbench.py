"""pgbench with the settings that the role makes, against the image's own, with the same memory limit."""

from __future__ import annotations

import json
import re
import subprocess

import lab
import product
import yaml

NAME = "drydock-bench-pgbench"
MEMORY, PROCESSORS = "1g", "2"
# 300 MB: more than the image's shared_buffers hold, less than the container's memory.
SCALE, CLIENTS = 20, 8
SECONDS = {"tpcb": 12, "select": 6}


def command() -> list[str]:
    settings = {"fastapi_database_memory_limit": MEMORY, "fastapi_database_cpu_limit": PROCESSORS, "fastapi_workers": 2}
    folder = product.release(lab.WORK / "releases/pgbench", fastapi_postgres_image=lab.images()["postgres"], **settings)
    database = yaml.safe_load((folder / "compose.yaml").read_text())["services"]["db"]
    return [f"--shm-size={database['shm_size']}"], database["command"]


def start(name: str, options: list[str], words: list[str]) -> None:
    lab.remove(name)
    lab.docker(
        *("run", "--detach", f"--name={name}", f"--memory={MEMORY}", f"--cpus={PROCESSORS}", "--network=none", *options),
        *("--env=POSTGRES_PASSWORD=bench", "--env=POSTGRES_INITDB_ARGS=--data-checksums", lab.images()["postgres"], *words),
    )
    # The server of the initialisation answers over the socket only.
    ready = ["docker", "exec", name, "pg_isready", "--host=127.0.0.1", "--quiet"]
    lab.wait_for(lambda: subprocess.run(ready, check=False).returncode == 0)
    execute(name, "pgbench", "--initialize", f"--scale={SCALE}", "--quiet")


def execute(name: str, *words: str) -> str:
    return lab.docker("exec", "--user=postgres", name, *words)


def rate(name: str, kind: str):
    def once(number: int) -> float:
        # Each run begins alike, with its first write to every page ahead of it.
        execute(name, "psql", "--command=CHECKPOINT")
        more = ["--select-only"] if kind == "select" else []
        said = execute(name, "pgbench", f"--client={CLIENTS}", "--jobs=2", f"--time={SECONDS[kind]}", "--no-vacuum", *more)
        return float(re.search(r"tps = ([\d.]+)", said)[1])

    return once


def measure():
    names = f"{NAME}-tuned", f"{NAME}-image"
    options, words = command()
    try:
        start(names[0], options, words)
        start(names[1], [], [])
        for name in names:
            rate(name, "select")(0)
        found = {kind: lab.pairs(rate(names[0], kind), rate(names[1], kind)) for kind in SECONDS}
    finally:
        lab.remove(*names)
    rows = []
    for kind, what, target in (("tpcb", "TPC-B-like", 1.2), ("select", "read-only", 1.1)):
        faster = [own / other for own, other in zip(*found[kind], strict=True)]
        samples = {"ours": found[kind][0], "theirs": found[kind][1]}
        line = lab.median(f"pgbench, {what}, tuned against the image's settings", faster, target, least=True, unit="times")
        rows.append({**line, "samples": samples})
    settings = json.dumps(dict(word.split("=") for word in words[2::2]))
    rows[0]["note"] = f"{MEMORY} of memory, {PROCESSORS} processors: {settings}"
    return rows, [
        lab.chart(title, "transactions/s", **{"tuned": found[kind][0], "image's settings": found[kind][1]})
        for kind, title in (("tpcb", "pgbench, TPC-B-like"), ("select", "pgbench, read-only"))
    ]
