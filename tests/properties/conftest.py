"""What holds for any input: how much of it was tried, and the files of a release without a folder for each example."""

from __future__ import annotations

import dataclasses
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.drydock.stack.plugins.module_utils.source import read_source
from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings
from hypothesis import HealthCheck, settings

ROLE = Path(__file__).parents[2] / "roles" / "fastapi"
HOST = {
    "engine": {"processors": 4, "memory": 8 * 1024**3},
    "front": {"subnet": "172.30.0.0/28", "range": "172.30.0.0/29", "proxy": "172.30.0.14"},
    "services": {},
    "volume": {"major": ""},
}

# The same examples in every run, so that a failure is of the change and not of the day. Named where it is used: the unit tests,
# which may run in the same process, have a profile of their own.
STEADY = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="session")
def steady() -> Callable[[int], settings]:
    """Return the settings of hypothesis for so many examples."""
    return lambda examples: settings(STEADY, max_examples=examples)


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest, say: Callable[[str], None]) -> Iterator[Counter[str]]:
    """Count what was tried; printed at the end of a file of tests."""
    counted: Counter[str] = Counter()
    yield counted
    say(f"{Path(request.node.name).name}: {', '.join(f'{number} {what}' for what, number in counted.items())}; derandomized\n")


@pytest.fixture(scope="session")
def role() -> dict[str, Any]:
    """The defaults and the internal variables of the role."""
    loader = DataLoader()
    found: dict[str, Any] = {"role_path": str(ROLE)}
    for part in ("defaults", "vars"):
        found |= loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True)
    return found


@pytest.fixture(scope="session")
def values(role: Mapping[str, Any]) -> Callable[..., Settings]:
    """Return the role's settings with some of a user's."""

    def of(given: Mapping[str, Any]) -> Settings:
        variables = {**role, **given}
        return Settings(Templar(loader=DataLoader(), variables=variables), variables)

    return of


@pytest.fixture(scope="session")
def renderer(role: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Renderer]:
    """Return the renderer of a release; the folders that the settings name in the source are taken as there."""
    root = tmp_path_factory.mktemp("source")
    (root / "main.py").write_text("app = 1\n")
    (root / "requirements.txt").write_text("fastapi\n")
    source = read_source(root, ".", "main:app")

    def of(given: Mapping[str, Any]) -> Renderer:
        variables = {**role, **given}
        templar = Templar(loader=DataLoader(), variables=variables)
        public = Settings(templar, variables)
        workdir = posixpath.normpath(public["fastapi_workdir"])
        static = posixpath.normpath(posixpath.join(workdir, public.get("fastapi_static_dir") or "."))
        there = dataclasses.replace(source, workdir=workdir, module_root=workdir, files=(f"{static}/x",))
        return Renderer(templar, variables, public, HOST, there)

    return of
