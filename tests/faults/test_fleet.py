"""Three servers that change together, over ssh: what goes wrong on one of them changes none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = ROOT / ".cache" / "molecule" / "fleet"
SERVERS = [f"drydock-lab-fleet-{number}" for number in (1, 2, 3)]
BROKEN = SERVERS[1]
LOCK = {"token": "t", "owner": "ann@laptop", "pid": 4711, "release": "abcabcabcabc", "controller": "another"}


def on_the_second(value: str, otherwise: str) -> str:
    """Return a template that gives one thing on the second server and another on the rest."""
    return f"{{{{ {value} if inventory_hostname == '{BROKEN}' else {otherwise} }}}}"


class Fleet:
    """The three servers, with the stack of the fault tests beside that of the scenario."""

    def __init__(self, play: Callable[..., Any]) -> None:
        self.play = play
        self.editions = 0
        self.good = ""

    def sh(self, server: str, command: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", "exec", server, "bash", "-c", command], capture_output=True, text=True, check=False, timeout=120
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def start(self, **variables: Any) -> Any:
        self.editions += 1
        given = {"fastapi_port": 8001, "fastapi_lock_wait": 2, "lab_edition": f"edition {self.editions}", **variables}
        fleet = ROOT / "molecule" / "fleet"
        return self.play(
            MEMORY / "inventory", fleet / "converge.yml", ROOT / "molecule" / "faults" / "vars" / "main.yml", **given
        )

    def deploy(self, **variables: Any) -> Any:
        run = self.start(**variables)
        assert run.wait() == 0, run.output[-3000:]
        self.good = f"edition {self.editions}"
        assert self.editions_served() == [self.good] * 3
        return run

    def edition(self, server: str) -> str:
        probe = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8001/', timeout=5).read().decode())"
        return json.loads(self.sh(server, f'python3 -c "{probe}"'))

    def editions_served(self) -> list[str]:
        return [self.edition(server) for server in SERVERS]

    def state(self) -> list[str]:
        """Return what has to be as it was where no server changes."""
        return [
            self.sh(
                server,
                "cd /opt/fault && readlink current && ls -A proxy/live releases && sha256sum proxy/Caddyfile "
                "&& docker ps --all --no-trunc --filter name=fault --format '{{.Names}} {{.ID}}' | sort; cat lock",
                check=False,
            )
            for server in SERVERS
        ]

    def fails(self, *messages: str, **variables: Any) -> Any:
        """Deploy a new edition, which has to fail with the messages and to change no server."""
        before = self.state()
        run = self.start(**variables)
        assert run.wait() != 0, run.output[-3000:]
        for message in messages:
            assert message in run.output, f"{message!r} is not in: {run.output[-5000:]}"
        assert self.state() == before
        assert self.editions_served() == [self.good] * 3
        return run


@pytest.fixture(scope="module")
def fleet(lab: None, run: Callable[..., None], play: Callable[..., Any]) -> Iterator[Fleet]:
    """Run the scenario on the servers, keep them, and put the stack of the fault tests on them as well."""
    shutil.rmtree(MEMORY, ignore_errors=True)
    memory = {"MOLECULE_EPHEMERAL_DIRECTORY": str(MEMORY)}
    command = ["molecule", "test", "--scenario-name", "fleet", "--destroy=never"]
    try:
        run("scenario fleet", command, "molecule/fleet.log", timeout=1800, **memory)
        found = Fleet(play)
        found.deploy()
        yield found
    finally:
        run("fleet: destroy", ["molecule", "destroy", "--scenario-name", "fleet"], "faults/fleet.log", timeout=300, **memory)


def test_one_builds_for_all_and_a_second_edition_follows(fleet, tmp_path):
    """The scenario `fleet`: one server builds, the others have what is new of its image, and all change together."""
    source = shutil.copytree(ROOT / "tests" / "faults" / "app", tmp_path / "app")
    with (source / "main.py").open("a") as file:
        file.write("# edited\n")
    run = fleet.deploy(fastapi_source=str(source))
    moved = [float(size) for size in re.findall(rf"([0-9.]+) MB from {SERVERS[0]}, ", run.output)]
    assert len(moved) == 2, run.output[-3000:]
    # Of an image of 60 MB, compressed.
    assert max(moved) < 1
    fleet.deploy()


def test_a_server_that_joins_has_the_image_of_the_others(fleet):
    """A server joins those that run a release: it has their image, and nobody builds."""
    joins = SERVERS[0]
    fleet.sh(
        joins,
        "docker compose --project-name fault down --volumes; docker image rm $(docker image ls --quiet fault); rm -rf /opt/fault",
    )
    run = fleet.start(lab_edition=fleet.good)
    assert run.wait() == 0, run.output[-3000:]
    assert f"MB from {SERVERS[1]}" in run.output
    assert "build | Ensure the image is built" not in run.output
    assert fleet.editions_served() == [fleet.good] * 3


def long(variables, said):
    """Leave it to make test-all."""
    return pytest.param(variables, said, marks=pytest.mark.long)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        long({"fastapi_keep_releases": on_the_second("0", "3")}, "fastapi_keep_releases is 0"),
        long({"fastapi_disk_required": on_the_second("999999", "0")}, "fastapi_disk_required is 999999"),
        long({"fastapi_postgres_image": on_the_second("'nowhere/postgres:17'", "omit")}, "given up at: database |"),
        long({"fastapi_migrate_command": on_the_second("['false']", "['true']")}, "given up at: migrate |"),
        ({"fastapi_smoke_command": on_the_second("['false']", "['true']")}, "fastapi_smoke_command ended with 1"),
        ({"lab_fault": on_the_second("'wrong through the front door'", "''")}, "given up at: activate |"),
    ],
    ids=["validate", "inspect", "database", "migrate", "start", "activate"],
)
def test_a_step_fails_on_the_second_server(fleet, variables, said):
    """The second of three servers fails at a step: none is on the new release, those that had flipped went back."""
    if "omit" in str(variables):
        image = fleet.sh(BROKEN, "docker inspect --format '{{.Config.Image}}' fault-db-1")
        variables = {key: value.replace("omit", f"'{image}'") for key, value in variables.items()}
    fleet.fails(said, f"{BROKEN} did not come as far as this host", **variables)


@pytest.mark.long
def test_the_lock_is_held_on_the_second_server(fleet):
    """The lock of the second server is held by somebody who lives: none changes."""
    lock = json.dumps({**LOCK, "since": time.time(), "expires": time.time() + 600})
    fleet.sh(BROKEN, f"cat > /opt/fault/lock <<'EOF'\n{lock}\nEOF")
    try:
        fleet.fails("is being changed by ann@laptop", f"{BROKEN} did not come as far as this host")
    finally:
        fleet.sh(BROKEN, "rm /opt/fault/lock")


@pytest.mark.long
def test_the_disk_of_the_second_server_is_full(fleet):
    """The second server has no room for the release, or its record fails after its flip: none stays on the new release."""
    fleet.sh(BROKEN, "mount --bind /opt/fault/releases /mnt && mount --bind --options ro /mnt /opt/fault/releases")
    fleet.sh(BROKEN, "mount --options remount,ro,bind /opt/fault/releases")
    try:
        fleet.fails("given up at: release |", f"{BROKEN} did not come as far as this host")
    finally:
        fleet.sh(BROKEN, "umount /opt/fault/releases; umount /mnt")


def test_the_record_fails_on_the_second_server(fleet):
    """The second server flips and then cannot record it: all go back."""
    fleet.sh(BROKEN, "mkdir /opt/fault/.current.partial")
    try:
        fleet.fails("given up at: record |", f"{BROKEN} did not come as far as this host")
    finally:
        fleet.sh(BROKEN, "rmdir /opt/fault/.current.partial")


def test_a_server_is_away_from_the_start(fleet):
    """A server cannot be reached from the start: none changes, and it is said which."""
    before = fleet.state()
    subprocess.run(["docker", "stop", BROKEN], check=True, capture_output=True, timeout=120)
    try:
        run = fleet.start()
        assert run.wait() != 0
        assert f"{BROKEN} did not come as far as this host" in run.output
    finally:
        fleet_is_back(fleet)
    assert fleet.editions_served() == [fleet.good] * 3
    assert fleet.state()[0] == before[0]
    assert fleet.state()[2] == before[2]


def test_a_server_goes_away_after_its_flip(fleet):
    """A server goes away after its flip: the others go back, and the next run brings all to one release."""
    run = fleet.start(fastapi_settle_time=on_the_second("0", "15"))
    run.wait_for("activate | Ensure the front door sends")
    end = time.monotonic() + 60
    new = f"edition {fleet.editions}"
    while fleet.edition(BROKEN) != new:
        assert time.monotonic() < end, f"{BROKEN} never flipped"
        time.sleep(0.2)
    subprocess.run(["docker", "stop", BROKEN], check=True, capture_output=True, timeout=120)
    try:
        assert run.wait() != 0, run.output[-3000:]
    finally:
        fleet_is_back(fleet)
    assert [fleet.edition(server) for server in (SERVERS[0], SERVERS[2])] == [fleet.good] * 2
    assert f"{BROKEN} did not come as far as this host" in run.output
    fleet.deploy()


def fleet_is_back(fleet: Fleet) -> None:
    """Start the server that was stopped and wait until its stack serves."""
    subprocess.run(["docker", "start", BROKEN], check=True, capture_output=True)
    end = time.monotonic() + 90
    while True:
        try:
            fleet.edition(BROKEN)
        except AssertionError:
            assert time.monotonic() < end, f"{BROKEN} does not serve"
            time.sleep(0.5)
        else:
            return
