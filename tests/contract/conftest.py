"""The files of a release, rendered as the action plugin renders them, and a front door that runs on them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.drydock.stack.plugins.module_utils.release import fill, flip, make_folders
from ansible_collections.drydock.stack.plugins.module_utils.source import read_source
from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "fastapi"
# Names of the tools: that of Debian, which the lab runs, and the newest.
CADDIES = ("caddy", "caddy_of_today")
HOST = {
    "engine": {"processors": 4, "memory": 8 * 1024**3},
    "front": {"subnet": "172.30.0.0/28", "range": "172.30.0.0/29", "proxy": "172.30.0.14"},
    "volume": {"major": ""},
}


def rendered(
    folder: Path,
    source: dict[str, str] | None = None,
    services: dict[str, Any] | None = None,
    major: str = "",
    **settings: Any,
) -> Path:
    """Write the files of a release below a folder and return theirs.

    Takes its source, what runs, the major version of the data that is there, and public variables.
    """
    loader = DataLoader()
    variables: dict[str, Any] = {"role_path": str(ROLE)}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True)
    variables |= settings
    if source:
        for name, text in source.items():
            file = folder / "source" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        variables["fastapi_source"] = str(folder / "source")
    templar = Templar(loader=loader, variables=variables)
    public_variables = Settings(templar, variables)
    root = Path(public_variables["fastapi_source"])
    read = read_source(root, public_variables["fastapi_workdir"], public_variables["fastapi_app"])
    renderer = Renderer(
        templar, variables, public_variables, {**HOST, "services": services or {}, "volume": {"major": major}}, read
    )
    files = renderer.files()
    release = folder / "release"
    release.mkdir()
    for entry in renderer.entries(files, renderer.identity(files)):
        if entry.link:
            (release / entry.path).symlink_to(entry.link)
        elif isinstance(entry.data, bytes):
            (release / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (release / entry.path).write_bytes(entry.data)
    fill(release, "blue", "s3cret", "shop_postgres_data")
    return release


@pytest.fixture
def render(tmp_path: Path) -> Callable[..., Path]:
    """Write the files of a release; takes what `rendered` does but for the folder."""
    return partial(rendered, tmp_path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@dataclass
class FrontDoor:
    """A Caddy that runs on the files of a stack; on `port` it speaks HTTP, on `tls_port` TLS where it has a domain."""

    process: subprocess.Popen[bytes]
    port: int
    tls_port: int
    admin_port: int
    root: Path
    release: Path
    log: Path


@pytest.fixture(scope="session")
def run_front_door(tools: dict[str, Path]) -> Callable[..., AbstractContextManager[FrontDoor]]:
    """Run the front door of a stack, all on the loopback address.

    Takes which Caddy of the tools it is, a folder, the port of the application, texts of the Caddyfile with what a test has in
    place of them, and what `rendered` takes.
    """

    @contextmanager
    def running(
        caddy: str, folder: Path, application: int, changed: dict[str, str] | None = None, **release: Any
    ) -> Iterator[FrontDoor]:
        root, log = folder / "shop", folder / "log"
        make_folders(root)
        flip(root, "green")
        files = rendered(folder, **release)
        port, tls_port, admin_port = free_port(), free_port(), free_port()
        text = (files / "Caddyfile").read_text()
        for before, after in {
            "skip_install_trust": f"skip_install_trust\n\tdefault_bind 127.0.0.1\n\thttp_port {port}\n\thttps_port {tls_port}",
            **({} if release.get("fastapi_domain") else {"\n:8000 {": f"\nhttp://:{port} {{"}),
            "127.0.0.1:2019": f"127.0.0.1:{admin_port}",
            "\n:2020 {": f"\n:{free_port()} {{",
            "app-green:8000": f"127.0.0.1:{application}",
            "lb_try_duration 5s": "lb_try_duration 100ms",
            "/etc/caddy": str(root / "proxy"),
            **(changed or {}),
        }.items():
            assert before in text, before
            text = text.replace(before, after)
        file = root / "proxy" / "Caddyfile"
        file.write_text(text)
        environment = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        command = [tools[caddy], "run", "--adapter", "caddyfile", "--config", file]
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
            try:
                wait_for(port, process)
                yield FrontDoor(process, port, tls_port, admin_port, root, files, log)
            finally:
                process.kill()

    return running


@pytest.fixture(params=CADDIES)
def front_door(
    request: pytest.FixtureRequest, run_front_door: Callable[..., AbstractContextManager[FrontDoor]], tmp_path: Path
) -> Iterator[Callable[..., FrontDoor]]:
    """Start a front door that ends with the test; takes what `run_front_door` does but for the Caddy and the folder."""
    with ExitStack() as ended:
        yield lambda *taken, **named: ended.enter_context(run_front_door(request.param, tmp_path, *taken, **named))


@dataclass
class Application:
    """A uvicorn that runs as in the image; `record` is the file in which the recorder writes what it sees."""

    process: subprocess.Popen[bytes]
    port: int
    record: Path

    def seen(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture(scope="session")
def run_application() -> Callable[..., AbstractContextManager[Application]]:
    """Run an application as the image does, on a port of the loopback address.

    Takes a folder for its record, the application as uvicorn has it, and where it lies.
    """

    @contextmanager
    def running(folder: Path, name: str = "recorder:app", place: Path = Path(__file__).parent) -> Iterator[Application]:
        port, record = free_port(), folder / "record"
        record.touch()
        given = {"--host": "127.0.0.1", "--port": str(port), "--app-dir": str(place)}
        command = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__fastapi_command"]
        options = [given.get(before, word) for before, word in pairwise(command[1:])]
        with subprocess.Popen(
            [sys.executable, "-m", "uvicorn", name, *options, "--log-level", "critical"],
            env={**os.environ, "RECORD": str(record), "FORWARDED_ALLOW_IPS": "127.0.0.1"},
        ) as process:
            try:
                wait_for(port, process)
                yield Application(process, port, record)
            finally:
                process.kill()

    return running


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until something listens on the port of the loopback address."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert process.poll() is None, f"{process.args} has ended"
            time.sleep(0.1)
    pytest.fail(f"nothing listens on {port}")
