"""The lab, made once per run, and the way to run its playbooks and scenarios."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).parents[1]
# The collection is imported, and its filters are found, by their full names.
init_plugin_loader([str(ROOT / ".venv" / "collections")])

TOOLS = ROOT / ".cache" / "tools"
# A log's end that is long enough to hold a failed task, its cause and the recap.
TAIL_LINES = 80

Run = Callable[..., None]

# One process makes the lab for the first of these, and another needs none meanwhile; what takes longest follows.
ORDER = ("tests/data", "tests/lint", "tests/unit", "tests/properties", "tests/faults", "tests/scenarios")


def environment(**more: str) -> dict[str, str]:
    """What Ansible and Molecule need to be the ones of this checkout, and to write a log that reads as text."""
    ours = {
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "false",
        "ANSIBLE_NOCOLOR": "true",
        "NO_COLOR": "1",
        "MOLECULE_GLOB": "molecule/*/molecule.yml",
        "MOLECULE_COMMAND_BORDERS": "false",
    }
    return {**os.environ, **ours, **more}


def failed_tasks(log: list[str]) -> list[str]:
    """Name the tasks of a log that failed, each with the host it failed on; rescued ones are among them."""
    failed, task = [], ""
    for line in log:
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.partition("[")[2].rpartition("]")[0]
        elif line.startswith(("fatal: [", "failed: [")):
            failed.append(f"{task} ({line.partition('[')[2].partition(']')[0]})")
    return list(dict.fromkeys(failed))


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, which share its process group."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(timeout=20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep all processes busy, from the making of the lab to the end, where nothing long is left for one of them."""
    items.sort(key=lambda item: next((place for place, name in enumerate(ORDER) if item.nodeid.startswith(name)), len(ORDER)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a server together: those of a file, or of the folder data, and not those of the scenarios."""
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if nodeid.startswith("tests/data/"):
                return "tests/data"
            return nodeid if "::test_scenario[" in nodeid else super()._split_scope(nodeid)

    return ByServer(config, log)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Print a line that is seen while the tests run, whatever pytest captures; also from a process of pytest-xdist."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def line(text: str) -> None:
        if hasattr(pytestconfig, "workerinput"):
            with Path(f"/proc/{os.getppid()}/fd/1").open("a") as output:
                output.write(f"\n{text}")
            return
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{text}")
            sys.stdout.flush()

    return line


@pytest.fixture(scope="session")
def one_at_a_time() -> Callable[[str], AbstractContextManager[None]]:
    """Keep the other processes of pytest-xdist from making the same thing meanwhile."""

    @contextmanager
    def alone(name: str) -> Iterator[None]:
        file = ROOT / ".cache" / f"{name}.lock"
        file.parent.mkdir(exist_ok=True)
        with file.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    return alone


@pytest.fixture(scope="session")
def run(say: Callable[[str], None]) -> Run:
    """Run a command of this checkout with its output in a log; fail with the log's end and the names of the failed tasks."""

    def run_logged(name: str, command: list[str], log_name: str, timeout: int, **more: str) -> None:
        log = ROOT / ".cache" / log_name
        log.parent.mkdir(parents=True, exist_ok=True)
        say(f"{name}: started, {log.relative_to(ROOT)}")
        start = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                ended = f"exit code {process.wait(timeout=timeout)}"
            except subprocess.TimeoutExpired:
                ended = f"stopped after {timeout} s"
            finally:
                stop(process)
        say(f"{name}: {time.monotonic() - start:.0f} s, {'ok' if ended == 'exit code 0' else ended} ")
        if ended != "exit code 0":
            lines = log.read_text(errors="replace").splitlines()
            parts = [f"{name}: {ended}", f"failed tasks: {'; '.join(failed_tasks(lines)) or 'none'}", f"the end of {log}:"]
            pytest.fail("\n".join([*parts, *lines[-TAIL_LINES:]]), pytrace=False)

    return run_logged


@pytest.fixture(scope="session")
def lab(run: Run, one_at_a_time: Callable[[str], AbstractContextManager[None]]) -> None:
    """The server images, the registry and the base images; quick where they are there already."""
    with one_at_a_time("lab"):
        # From Debian packages alone, on a slow machine.
        run("lab", ["ansible-playbook", "-i", "localhost,", "molecule/lab/lab.yml"], "lab.log", timeout=1800)


@pytest.fixture(scope="session")
def tools(one_at_a_time: Callable[[str], AbstractContextManager[None]]) -> dict[str, Path]:
    """Compose and Caddy from Debian packages, unpacked and not installed, the same on every machine; and Caddy of today."""
    found = {"compose": TOOLS / "usr/libexec/docker/cli-plugins/docker-compose", "caddy": TOOLS / "usr/bin/caddy"}
    newest = shutil.which("caddy", path=str(Path(sys.executable).parent))
    assert newest, "caddy is not beside python; it is in tests/requirements.txt"
    with one_at_a_time("tools"):
        if not all(path.exists() for path in found.values()):
            shutil.rmtree(TOOLS, ignore_errors=True)
            TOOLS.parent.mkdir(exist_ok=True)
            command = ["mmdebstrap", "--variant=extract", "--components=main", "--include=caddy,docker-compose"]
            settings = ["--aptopt=Acquire::Check-Valid-Until false", "trixie", str(TOOLS)]
            made = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
            assert made.returncode == 0, made.stderr
    return {**found, "caddy_of_today": Path(newest)}
