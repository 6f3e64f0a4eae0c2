"""What the benchmarks share: the engine of this machine, images to build on, the source as a developer has it, and pairs."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import stats

ROOT = Path(__file__).parents[2]
BENCH = Path(__file__).parent
WORK = ROOT / ".cache" / "bench"
BASELINES = BENCH / "baselines"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
NAME = "drydock-bench"
PAIRS = int(os.environ.get("BENCH_PAIRS") or 9)
# The images of a public registry; where none can be reached, stand-ins.
FULL_IMAGE = "python:3.13-trixie"
FULL_STAND_IN = "drydock.local/bench-python:3.13-full"


def run(*command: Any, **more: Any) -> str:
    """Run a command and return what it prints; a failure ends the figure with what it said last."""
    more = {"env": environment(), "cwd": ROOT, **more}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))[:200]}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def environment() -> dict[str, str]:
    """Return the variables with which Ansible and its collection are the ones of this checkout."""
    ours = {
        "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(BENCH / "callbacks"),
        "ANSIBLE_NOCOLOR": "true",
    }
    return {**os.environ, **ours}


def docker(*arguments: Any) -> str:
    return run("docker", *arguments).strip()


def there(kind: str, name: str) -> bool:
    return subprocess.run(["docker", kind, "inspect", name], capture_output=True, check=False).returncode == 0


def remove(*containers: str) -> None:
    subprocess.run(["docker", "rm", "--force", "--volumes", *containers], capture_output=True, check=False)


# --- Images ---


@cache
def images() -> dict[str, str]:
    """Return the images of python, postgres and caddy, and the full one of python; the official ones where they can be had."""
    file = WORK / "images.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    run("ansible-playbook", "-i", ROOT / "inventory/local", BENCH / "base_images.yml", "-e", f"file={file}")
    found = json.loads(file.read_text())
    if found["python"].startswith("python:"):
        docker("pull", "--quiet", FULL_IMAGE)
        return {**found, "full": FULL_IMAGE}
    if not there("image", FULL_STAND_IN):
        docker("build", "--quiet", f"--build-arg=BASE={found['python']}", f"--tag={FULL_STAND_IN}", BASELINES / "full")
    return {**found, "full": FULL_STAND_IN}


def build(tag: str, context: Path, dockerfile: Path | None = None, **arguments: str) -> dict[str, float]:
    """Build an image; return the seconds that it took and the bytes of the context that the builder was sent.

    `base` is the argument BASE of the baselines' Dockerfiles; `no_cache` is set for a cold build.
    """
    options = [f"--build-arg=BASE={arguments['base']}"] if "base" in arguments else []
    options += ["--no-cache"] if "no_cache" in arguments else []
    command = [
        "docker",
        "buildx",
        "build",
        "--progress=rawjson",
        f"--secret=id=ca-bundle,src={CA_BUNDLE}",
        f"--tag={tag}",
        *options,
    ]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--file", str(dockerfile or context / "Dockerfile"), str(context)], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    return {"seconds": seconds, "context": context_bytes(done.stderr)}


def context_bytes(progress: str) -> int:
    """Return the bytes of all contexts that were sent, from the builder's raw progress."""
    sent: dict[str, int] = {}
    decoder, place = json.JSONDecoder(), progress.find("{")
    while place >= 0:
        said, end = decoder.raw_decode(progress, place)
        for status in said.get("statuses", ()):
            if status["id"] == "transferring context:":
                sent[status["vertex"]] = max(sent.get(status["vertex"], 0), status.get("current", 0))
        place = progress.find("{", end)
    return sum(sent.values())


def saved_bytes(tag: str, level: int = 6) -> dict[str, int]:
    """Return the bytes of `docker save`, plain and compressed as by gzip -6; level 0 does not compress, which is quicker."""
    process = subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE)
    squeeze, plain, small = zlib.compressobj(level, zlib.DEFLATED, 31), 0, 0
    while block := process.stdout.read(1 << 20):
        plain += len(block)
        small += len(squeeze.compress(block))
    small += len(squeeze.flush())
    if process.wait():
        raise RuntimeError(f"docker save {tag} ended with {process.returncode}")
    return {"plain": plain, "gzip": small}


def layers(tag: str) -> list[str]:
    return json.loads(docker("image", "inspect", "--format={{json .RootFS.Layers}}", tag))


def layer_sizes(tag: str) -> dict[str, int]:
    """Return the bytes of each layer of an image as `docker save` writes it, by its digest."""
    folder = WORK / "saved"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run("sh", "-c", f"docker save {tag} | tar --extract --directory {folder}")
    files = json.loads((folder / "manifest.json").read_text())[0]["Layers"]
    sizes = dict(zip(layers(tag), [(folder / file).stat().st_size for file in files], strict=True))
    shutil.rmtree(folder)
    return sizes


# --- Sources ---


def clean_source(name: str) -> Path:
    """Return a fresh copy of the sample application, as a clone of it has it."""
    folder = WORK / "sources" / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        ROOT / "files" / "sample_app", folder, ignore=shutil.ignore_patterns("__pycache__", ".*_cache", ".ruff_cache")
    )
    return folder


def developers_source(name: str) -> Path:
    """Return a fresh copy of the sample application as a developer has it: with its history and an environment of its own."""
    kept = WORK / "sources" / "kept"
    if not (kept / ".venv" / "ready").exists():
        shutil.rmtree(kept, ignore_errors=True)
        clean_source("kept")
        run(sys.executable, "-m", "venv", kept / ".venv")
        run(kept / ".venv/bin/pip", "install", "--quiet", "--requirement", kept / "requirements.txt")
        (kept / ".gitignore").write_text(".venv\n__pycache__\n")
        git = ["git", "-C", kept, "-c", "user.name=bench", "-c", "user.email=bench@example.com"]
        run(*git, "init", "--quiet")
        run(*git, "add", ".")
        run(*git, "commit", "--quiet", "--message=First")
        (kept / ".venv" / "ready").touch()
    folder = WORK / "sources" / name
    shutil.rmtree(folder, ignore_errors=True)
    run("cp", "--archive", kept, folder)
    return folder


def edit(source: Path, number: int) -> None:
    """Change one line of the application, in a way that no build has seen."""
    main = source / "main.py"
    lines = [line for line in main.read_text().splitlines() if not line.startswith("# edit ")]
    main.write_text("\n".join([*lines, f"# edit {number} {time.time_ns()}"]) + "\n")


# --- Ansible ---


def play(playbook: Path, *arguments: Any, count: Path | None = None, config: Path | None = None) -> float:
    """Run a playbook and return the seconds it took.

    `count` is the file that the callback writes its counts to, and `config` the configuration in place of this checkout's.
    """
    more = {**environment(), **({"ANSIBLE_CALLBACKS_ENABLED": "count", "BENCH_COUNT": str(count)} if count else {})}
    more.update({"ANSIBLE_CONFIG": str(config)} if config else {})
    began = time.monotonic()
    run("ansible-playbook", playbook, *arguments, env=more)
    return time.monotonic() - began


def ours(source: Path, port: int, name: str = NAME, **settings: Any) -> list[Any]:
    """Return the playbook of a deploy of ours to this machine, and its arguments."""
    given = {"fastapi_name": name, "fastapi_source": str(source), "fastapi_port": port, **settings}
    return [ROOT / "playbooks/deploy.yml", "-i", ROOT / "inventory/local", "-e", json.dumps(given)]


def role_naive(source: Path, port: int, name: str) -> list[Any]:
    """Return the playbook of role-naive to this machine, and its arguments."""
    found = images()
    given = {
        "name": name,
        "source": str(source),
        "port": port,
        "python_image": found["python"],
        "postgres_image": found["postgres"],
    }
    return [BASELINES / "role_naive/deploy.yml", "-i", ROOT / "inventory/local", "-e", json.dumps(given)]


def drop_ours(name: str = NAME) -> None:
    given = {"fastapi_name": name, "fastapi_remove_data": name}
    run("ansible-playbook", ROOT / "playbooks/remove.yml", "-i", ROOT / "inventory/local", "-e", json.dumps(given))
    shutil.rmtree(f"/opt/{name}", ignore_errors=True)


def drop_role_naive(name: str) -> None:
    folder = Path("/opt") / name
    if (folder / "compose.yaml").exists():
        run("docker", "compose", "--project-directory", folder, "down", "--volumes")
    shutil.rmtree(folder, ignore_errors=True)


def answer(url: str, timeout: float = 2) -> str:
    with urllib.request.urlopen(url, timeout=timeout) as said:  # noqa: S310 (this machine's own addresses)
        return said.read().decode()


def wait_for(check: Callable[[], Any], seconds: float = 180) -> Any:
    """Ask until the check gives something true; what it raises counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := check():
                return found
        except OSError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise RuntimeError(f"{check} says no for {seconds} s")
        time.sleep(0.1)


# --- Pairs and rows ---


def pairs(first: Callable[[int], Any], second: Callable[[int], Any], count: int = 0) -> tuple[list[Any], list[Any]]:
    """Measure both in turn, A B A B, and return what each gave."""
    found: tuple[list[Any], list[Any]] = ([], [])
    for number in range(count or PAIRS):
        found[0].append(first(number))
        found[1].append(second(number))
    return found


def row(what: str, value: float, target: float | None, least: bool = False, unit: str = "", **more: Any) -> dict[str, Any]:
    """Return a line of the report: a value, and what it was to be at most, or with `least` at least."""
    reached = None if target is None else (value >= target if least else value <= target)
    return {"what": what, "value": value, "target": target, "least": least, "unit": unit, "reached": reached, **more}


def ratio(what: str, ours: list[float], theirs: list[float], target: float | None, **more: Any) -> dict[str, Any]:
    """Return a line with how many times theirs is as much as ours: the median over the pairs, and its interval."""
    found = stats.ratios(ours, theirs)
    told = {"interval": stats.interval(found), "ours": statistics.median(ours), "theirs": statistics.median(theirs)}
    samples = {"pairs": len(found), "samples": {"ours": ours, "theirs": theirs}}
    return row(what, statistics.median(found), target, least=True, unit="times", **told, **samples, **more)


def median(what: str, values: list[float], target: float | None, **more: Any) -> dict[str, Any]:
    """Return a line with the median of the values and its interval."""
    return row(
        what, statistics.median(values), target, interval=stats.interval(values), pairs=len(values), samples=values, **more
    )


def chart(title: str, unit: str, **bars: Any) -> dict[str, Any]:
    """Return a plot of medians, one bar for each label, from its values."""
    return {
        "title": title,
        "unit": unit,
        "bars": {label: values if isinstance(values, list) else [values] for label, values in bars.items()},
    }
