"""A server of the lab with a stack whose database is backed up, and what a test does to it and reads from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEMORY = ROOT / ".cache" / "molecule" / "data"
SCENARIO = ROOT / "molecule" / "data"
SERVER = "drydock-lab-data"
HERE = Path(__file__).parent
# Seconds; several times what the longest playbook takes on two busy cores.
TIMEOUT = 400


class Server:
    """A server of the lab, and the stack `fault` on it."""

    def __init__(self, environment: dict[str, str], name: str = SERVER) -> None:
        self.environment = environment
        self.name = name

    def sh(self, command: str, check: bool = True, timeout: float = TIMEOUT) -> str:
        done = subprocess.run(
            ["docker", "exec", self.name, "bash", "-c", command], capture_output=True, text=True, check=False, timeout=timeout
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def sql(self, statement: str, check: bool = True, user: str = "fault") -> str:
        """Run a statement as the application's role, or another one, over the socket."""
        return self.sh(f'docker exec fault-db-1 psql -v ON_ERROR_STOP=1 -qAtU {user} -d fault -c "{statement}"', check=check)

    def admin(self, statement: str) -> str:
        """Run a statement as the superuser."""
        return self.sql(statement, user="postgres")

    def start(self, playbook: str, *options: str, **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook of the collection, or the scenario's deploy; it is read with C(ended)."""
        path = SCENARIO / "converge.yml" if playbook == "deploy" else ROOT / "playbooks" / f"{playbook}.yml"
        known = ["--extra-vars", f"@{SCENARIO / 'vars' / 'main.yml'}"] if playbook != "deploy" else []
        source = {"fastapi_source": str(ROOT / "tests" / "faults" / "app")}
        return subprocess.Popen(
            ["ansible-playbook", "--inventory", str(MEMORY / "inventory"), "--limit", self.name, str(path), *options, *known,
             "--extra-vars", json.dumps({**source, **variables})],
            cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Return the code of a playbook and what it said, on one line."""
        said, _ = process.communicate(timeout=TIMEOUT)
        return process.returncode, " ".join(said.split())

    def cut_off(self, process: subprocess.Popen[str]) -> str:
        """End a playbook, and what it has the server do, as if both had lost their power; return what it had said."""
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        # Modules come through a pipe, so that they have no name.
        running = "pgrep -fx /usr/bin/python3; pgrep -f '[d]ocker-compose|[d]ocker .*compose|/usr/bin/[d]ocker '"
        self.sh(f"for p in $({running}); do kill -9 $p; done", check=False)
        return " ".join(said.split())

    def works(self, playbook: str, *options: str, **variables: Any) -> str:
        code, said = self.ended(self.start(playbook, *options, **variables))
        assert code == 0, said[-3000:]
        return said

    def fails(self, playbook: str, *messages: str, **variables: Any) -> None:
        code, said = self.ended(self.start(playbook, **variables))
        assert code != 0, said[-3000:]
        for message in messages:
            assert message in said, f"{message!r} is not in: {said[-3000:]}"

    def backup(self, check: bool = True) -> str:
        """Have the host's timer run now; return the name of the newest dump."""
        unit = "drydock-fault-backup"
        done = self.sh(f"systemctl start {unit} || {{ echo it failed; journalctl -u {unit} -n 20 --no-pager; }}", check=False)
        assert not check or not done, done
        return max(self.dumps(), default="")

    def dumps(self) -> list[str]:
        return self.sh("cd /opt/fault/backups && ls *.dump", check=False).split()

    def manifest(self, dump: str) -> dict[str, Any]:
        return json.loads(self.sh(f"cat /opt/fault/backups/{dump.removesuffix('.dump')}.json"))

    def listed(self) -> dict[str, Any]:
        return json.loads(self.sh("/opt/fault/bin/data list"))

    def alerts(self) -> str:
        """Return what the operator was told since the last time."""
        return self.sh("cat /root/alerts 2>/dev/null; rm -f /root/alerts")

    def is_clean(self) -> None:
        """Assert that nothing is left of what was cut off, and no container beside those of the stack."""
        assert self.sh("cd /opt/fault/backups && ls -A | grep partial", check=False) == ""
        assert self.sh("docker ps --all --filter label=drydock.scratch --format '{{.Names}}'") == ""
        assert self.sh("docker volume ls --filter label=drydock.scratch --quiet") == ""
        assert self.sh("ls /opt/fault/restoring", check=False) == ""

    def answers(self) -> bool:
        probe = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=3)"
        done = subprocess.run(["docker", "exec", self.name, "python3", "-c", probe], capture_output=True, check=False)
        return done.returncode == 0

    def wait_until_serving(self, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not self.answers():
            assert time.monotonic() < end, f"not serving after {seconds} s"
            time.sleep(0.5)


@pytest.fixture(scope="session")
def server(lab: None, run: Callable[..., None]) -> Iterator[Server]:
    """The server, with a stack on it; kept for all tests, as each of them leaves it serving."""
    shutil.rmtree(MEMORY, ignore_errors=True)
    memory = {"MOLECULE_EPHEMERAL_DIRECTORY": str(MEMORY)}
    # A run that was cut off has left its own.
    run("data: destroy", ["molecule", "destroy", "--scenario-name", "data"], "data/destroy.log", timeout=300, **memory)
    run("data: create", ["molecule", "create", "--scenario-name", "data"], "data/create.log", timeout=600, **memory)
    converge = ["molecule", "converge", "--scenario-name", "data", "--", "--limit", SERVER]
    run("data: converge", converge, "data/converge.log", timeout=900, **memory)
    server = Server(
        {
            **os.environ,
            "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "true",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
        }
    )
    yield server
    run("data: destroy", ["molecule", "destroy", "--scenario-name", "data"], "data/destroy.log", timeout=300, **memory)


@pytest.fixture
def figure(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Callable[[str], None]:
    """Show a figure of a test."""
    return lambda text: say(f"{request.node.name}: {text} ")
