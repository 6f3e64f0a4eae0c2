"""A backup and a restore of 1 GB, as the host makes them, and by pg_dump and pg_restore alone, on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import lab

PORT = 8913
DATABASE, SUPERUSER = f"{lab.NAME}-db-1", "postgres"
# Each pair moves the gigabyte four times.
PAIRS = min(lab.PAIRS, 3)
FILL = """
CREATE TABLE ledger (id bigint PRIMARY KEY, made timestamptz NOT NULL, entry text NOT NULL);
INSERT INTO ledger SELECT i, to_timestamp(i), repeat(md5(i::text), 4) FROM generate_series(1, 5400000) i;
"""
SIZE = "SELECT pg_database_size(current_database())"


def execute(program: str, *words: str, **more) -> str:
    """Run a program in the database's container, as the superuser, who may make another database."""
    command = ["docker", "exec", "--interactive", DATABASE, program, f"--username={SUPERUSER}", *words]
    return lab.run(*command, **more).strip()


def timed(action) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def backup(number: int) -> float:
    return timed(lambda: lab.run("/usr/bin/python3", "-I", f"/opt/{lab.NAME}/bin/data", "backup"))


def plain_backup(file: Path):
    command = ["docker", "exec", DATABASE, "pg_dump", f"--username={SUPERUSER}", "--format=custom", lab.NAME]

    def once(number: int) -> float:
        with file.open("wb") as dump:
            return timed(lambda: subprocess.run(command, stdout=dump, check=True))

    return once


def restore(away: list[float]):
    """Restore the newest backup by the playbook, and note for how long the application was away."""
    given = {"fastapi_name": lab.NAME, "fastapi_port": PORT, "fastapi_restore_confirm": lab.NAME}
    playbook, inventory = lab.ROOT / "playbooks/restore.yml", lab.ROOT / "inventory/local"

    def once(number: int) -> float:
        began = time.monotonic()
        said = " ".join(lab.run("ansible-playbook", playbook, "-i", inventory, "-e", json.dumps(given)).split())
        seconds = time.monotonic() - began
        away.append(float(re.search(r"away for ([\d.]+) s", said)[1]))
        lab.docker("volume", "rm", re.search(r"docker volume rm ([\w-]+)", said)[1])
        return seconds

    return once


def plain_restore(file: Path):
    def once(number: int) -> float:
        execute("createdb", "plain")
        with file.open("rb") as dump:
            seconds = timed(lambda: execute("pg_restore", "--dbname=plain", "--exit-on-error", stdin=dump))
        execute("dropdb", "plain")
        return seconds

    return once


def measure():
    file, away = lab.WORK / "plain.dump", []
    try:
        lab.play(*lab.ours(lab.clean_source("data"), PORT))
        execute("psql", f"--dbname={lab.NAME}", "--quiet", f"--command={FILL}")
        size = int(execute("psql", f"--dbname={lab.NAME}", "--tuples-only", f"--command={SIZE}"))
        backups = lab.pairs(backup, plain_backup(file), PAIRS)
        dumped = max(Path(f"/opt/{lab.NAME}/backups").glob("*.dump")).stat().st_size
        restores = lab.pairs(restore(away), plain_restore(file), PAIRS)
    finally:
        file.unlink(missing_ok=True)
        lab.drop_ours()
    rows = [
        lab.row("size of the database", size / 1e9, None, unit="GB", note=f"{dumped / 1e6:.0f} MB dumped"),
        lab.median("backup", backups[0], None, unit="s", note="dumped, read again, counted, hashed, on the disk"),
        lab.ratio("backup, against pg_dump", *backups, None, of="s"),
        lab.median("restore, Ansible and all", restores[0], None, unit="s", note="in a new volume, compared, swapped in"),
        lab.ratio("restore, against pg_restore", *restores, None, of="s"),
        lab.median("application away meanwhile", away, None, unit="s"),
    ]
    return rows, [
        lab.chart("Backup of 1 GB", "s", **{"ours": backups[0], "pg_dump": backups[1]}),
        lab.chart("Restore of 1 GB", "s", **{"ours": restores[0], "pg_restore": restores[1]}),
    ]
