"""A server of the lab with the application that fails on demand, and what a test does to it and reads from it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = ROOT / ".cache" / "molecule" / "faults"
INVENTORY = MEMORY / "inventory"
PLAYBOOKS = ROOT / "molecule" / "faults"
SERVER = "drydock-lab-faults"
HERE = Path(__file__).parent
# Seconds; several times what a deploy takes on two busy cores.
DEPLOY_TIMEOUT = 300
# Sparse: an engine with the images of the stack takes two of them.
DISK_BYTES = 6 * 1024**3


@dataclass
class Run:
    """An ansible-playbook that is running or has ended, in a process group of its own."""

    process: subprocess.Popen[str]
    log: Path
    began: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> str:
        """All that it said so far, on one line, as Ansible breaks lines where it likes."""
        return " ".join(self.log.read_text(errors="replace").split())

    @property
    def steps(self) -> list[str]:
        """What it said that it was going to do."""
        told = self.log.read_text().partition("release | Show what is to be done")[2]
        return re.findall(r"^    - '?(.*?)'?$", re.split(r"\n(?=TASK|PLAY)", told)[0], re.MULTILINE)

    def wait(self) -> int:
        try:
            return self.process.wait(timeout=DEPLOY_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"no end after {DEPLOY_TIMEOUT} s: {self.output[-2000:]}")

    def wait_for(self, words: str) -> None:
        end = time.monotonic() + DEPLOY_TIMEOUT
        while words not in self.output:
            assert self.process.poll() is None, f"ended before {words!r}: {self.output[-2000:]}"
            assert time.monotonic() < end, f"never said {words!r}: {self.output[-2000:]}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End the whole of it at once, as a machine does that loses its power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


Play = Callable[..., Run]


class Server:
    """A server of the lab and the stack `fault` on it."""

    def __init__(self, name: str, play: Play) -> None:
        self.name = name
        self.play = play
        self.editions = 0
        self.good = ""

    # --- What is done to it ---

    def sh(self, command: str, check: bool = True, timeout: float = 120) -> str:
        done = subprocess.run(
            ["docker", "exec", self.name, "bash", "-c", command], capture_output=True, text=True, check=False, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def put(self, file: Path) -> None:
        """Copy a program of the tests to /root of the server."""
        subprocess.run(["docker", "cp", str(file), f"{self.name}:/root/{file.name}"], check=True, capture_output=True)

    def start(self, playbook: str = "converge", options: tuple[str, ...] = (), **variables: Any) -> Run:
        path = PLAYBOOKS / "converge.yml" if playbook == "converge" else ROOT / "playbooks" / f"{playbook}.yml"
        return self.play(INVENTORY, path, PLAYBOOKS / "vars" / "main.yml", options, **variables)

    def run(self, playbook: str = "converge", **variables: Any) -> Run:
        run = self.start(playbook, **variables)
        run.wait()
        return run

    def next_edition(self) -> str:
        self.editions += 1
        return f"edition {self.editions}"

    def deploy(self, **variables: Any) -> Run:
        """Deploy a new edition, which has to work."""
        edition = self.next_edition()
        run = self.run(lab_edition=edition, **variables)
        assert run.process.returncode == 0, run.output[-3000:]
        assert self.edition() == edition
        self.good = edition
        return run

    def fails(self, *messages: str, **variables: Any) -> Run:
        """Deploy a new edition, which has to fail with the messages and to change nothing that serves."""
        before = self.state()
        run = self.run(**{"lab_edition": self.next_edition(), **variables})
        assert run.process.returncode != 0, run.output[-3000:]
        for message in messages:
            assert message in run.output, f"{message!r} is not in: {run.output[-4000:]}"
        self.is_as_before(before)
        return run

    def migrates_down(self, statement: str = "") -> None:
        """Take the database back to the first migration, as an operator would by hand, for the tests that follow."""
        for command in (statement, "UPDATE alembic_version SET version_num = 'a000000000001'"):
            self.sh(f'docker exec fault-db-1 psql -qU fault -d fault -c "{command}"')

    # --- What is read from it ---

    def edition(self) -> str:
        return json.loads(
            self.sh("python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:8000/\").read().decode())'")
        )

    def state(self) -> dict[str, Any]:
        """Return what must be as it was after a deploy that failed."""
        containers = self.sh("docker ps --all --no-trunc --format '{{.Names}} {{.ID}}'")
        return {
            "containers": dict(line.split() for line in containers.splitlines()),
            "releases": sorted(self.sh("ls -A /opt/fault/releases").split()),
            "current": self.sh("readlink /opt/fault/current"),
            "live": self.sh("ls -A /opt/fault/proxy/live"),
            "caddyfile": self.sh("sha256sum < /opt/fault/proxy/Caddyfile"),
            "lock": self.sh("cat /opt/fault/lock", check=False),
            "leftovers": sorted(self.sh("ls -A /opt/fault").split()),
        }

    def images(self) -> list[str]:
        """Return the references of the stack's images."""
        return self.sh("docker image ls --filter label=drydock.stack=fault --format '{{.Repository}}:{{.Tag}}'").split()

    def rows(self) -> str:
        """Return how many rows have been written."""
        return self.sh("docker exec fault-db-1 psql -qAtU fault -d fault -c 'SELECT count(*) FROM written'")

    def is_as_before(self, before: dict[str, Any]) -> None:
        now = self.state()
        # A record of the last run is written by each of them.
        for state in (before, now):
            state["leftovers"] = [name for name in state["leftovers"] if name != "last_run"]
        assert now == before

    def is_clean(self) -> None:
        """Assert that a deploy has left what it should, and nothing else."""
        state = self.state()
        slot = state["live"]
        assert slot in ("blue", "green"), slot
        assert set(state["containers"]) == {"fault-db-1", "fault-proxy-1", f"fault-app-{slot}-1"}
        assert state["lock"] == ""
        assert state["current"].removeprefix("releases/") in state["releases"]
        assert not [name for name in state["releases"] if name.startswith(".")], state["releases"]
        assert set(state["leftovers"]) <= {
            "backup.json",
            "backups",
            "bin",
            "certificates",
            "current",
            "last_run",
            "proxy",
            "releases",
            "secrets",
        }, state["leftovers"]

    def converges(self) -> None:
        """Assert that the next run of the last good edition ends well and leaves nothing behind."""
        run = self.run(lab_edition=self.good)
        assert run.process.returncode == 0, run.output[-3000:]
        self.is_clean()
        assert self.edition() == self.good

    def wait_until_serving(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        probe = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"
        while subprocess.run(["docker", "exec", self.name, "python3", "-c", probe], capture_output=True, check=False).returncode:
            assert time.monotonic() < end, f"not serving after {seconds} s"
            time.sleep(0.3)


class Load:
    """Clients on a server that ask without a pause for a retry, until they are stopped."""

    def __init__(self, server: Server, connections: int, pause: float) -> None:
        self.server = server
        server.sh("rm -f /root/stop /root/answers.json")
        subprocess.run(
            ["docker", "cp", str(HERE / "client.py"), f"{server.name}:/root/client.py"], check=True, capture_output=True
        )
        command = f"python3 /root/client.py 8000 {connections} {pause} /root/stop /root/answers.json"
        subprocess.run(["docker", "exec", "--detach", server.name, "bash", "-c", command], check=True)

    def stop(self) -> dict[str, Any]:
        self.server.sh("touch /root/stop")
        self.server.sh("until [ -e /root/answers.json ]; do sleep 0.2; done", timeout=90)
        return json.loads(self.server.sh("cat /root/answers.json"))


@pytest.fixture(scope="session")
def play() -> Play:
    """Start ansible-playbook with an inventory, a playbook, a file of variables, options and more variables."""
    environment = {
        **os.environ,
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
        "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
    }

    def start(inventory: Path, playbook: Path, file: Path, options: tuple[str, ...] = (), **variables: Any) -> Run:
        log = ROOT / ".cache" / "faults" / f"{time.time_ns()}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        extra = ["--extra-vars", f"@{file}", *(["--extra-vars", json.dumps(variables)] if variables else [])]
        process = subprocess.Popen(
            ["ansible-playbook", "--inventory", str(inventory), str(playbook), *options, *extra],
            cwd=ROOT, env={**environment, "MOLECULE_EPHEMERAL_DIRECTORY": str(inventory.parent)}, stdin=subprocess.DEVNULL,
            stdout=log.open("w"), stderr=subprocess.STDOUT, text=True, start_new_session=True,
            # In a run that was started in the background an interrupt would be ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        return Run(process, log)

    return start


@pytest.fixture(scope="session")
def disk() -> Iterator[None]:
    """The server's disk for its engine: as small as a test can fill without harm to the machine, and there after a reboot."""
    image = ROOT / ".cache" / "faults" / "disk.img"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    loop = subprocess.run(["losetup", "--find", "--show", str(image)], check=True, capture_output=True, text=True).stdout.strip()
    # A run that was cut off has left its own.
    subprocess.run(["docker", "rm", "--force", SERVER], check=True, capture_output=True)
    subprocess.run(["docker", "volume", "rm", "--force", SERVER], check=True, capture_output=True)
    options = ["--driver", "local", "--opt", "type=ext4", "--opt", f"device={loop}"]
    subprocess.run(["docker", "volume", "create", *options, SERVER], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "rm", "--force", SERVER], check=False, capture_output=True)
    subprocess.run(["docker", "volume", "rm", "--force", SERVER], check=False, capture_output=True)
    subprocess.run(["losetup", "--detach", loop], check=True)
    image.unlink()


@pytest.fixture(scope="session")
def server(lab: None, disk: None, run: Callable[..., None], play: Play) -> Iterator[Server]:
    """The server, with one good edition; kept for all tests, as each of them leaves it serving."""
    shutil.rmtree(MEMORY, ignore_errors=True)
    memory = {"MOLECULE_EPHEMERAL_DIRECTORY": str(MEMORY)}
    run("faults: create", ["molecule", "create", "--scenario-name", "faults"], "faults/create.log", timeout=600, **memory)
    run("faults: converge", ["molecule", "converge", "--scenario-name", "faults"], "faults/converge.log", timeout=900, **memory)
    server = Server(SERVER, play)
    server.good = "first"
    yield server
    run("faults: destroy", ["molecule", "destroy", "--scenario-name", "faults"], "faults/destroy.log", timeout=300, **memory)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let a fixture know how its test went."""
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


@pytest.fixture(autouse=True)
def mended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bring the server back to the last good edition after a test that failed, so that the next one fails for its own reasons."""
    yield
    report = getattr(request.node, "report_call", None)
    if report and report.failed and "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        server.sh("rm -f /opt/fault/lock")
        server.migrates_down()
        server.run(lab_edition=server.good)


@pytest.fixture
def load(server: Server) -> Iterator[Callable[..., Load]]:
    """Start clients; they end with the test at the latest."""
    started = []

    def start(connections: int = 4, pause: float = 0.02) -> Load:
        started.append(Load(server, connections, pause))
        return started[-1]

    yield start
    if started:
        server.sh("touch /root/stop", check=False)


def keep(name: str, text: str) -> None:
    """Keep a figure of a test for docs/reliability.md."""
    file = ROOT / ".cache" / "faults" / "figures.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    # The files of these tests may run at the same time.
    with file.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.seek(0)
        known = json.loads(held.read() or "{}")
        held.truncate(0)
        held.write(json.dumps({**known, name: text}, indent=2))


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Keep what a test that held has to say, and how long it took."""
    said: list[str] = []
    start = time.monotonic()
    yield said
    report = getattr(request.node, "report_call", None)
    if report and report.passed:
        keep(request.node.name, "; ".join([*said, f"{time.monotonic() - start:.0f} s"]))


@pytest.fixture
def figure(request: pytest.FixtureRequest, figures: list[str], say: Callable[[str], None]) -> Callable[[str], None]:
    """Show a figure of a test, and have it kept."""

    def shown(text: str) -> None:
        figures.append(text)
        say(f"{request.node.name}: {text} ")

    return shown
