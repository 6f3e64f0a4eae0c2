"""Every `make` of the documents is one that the Makefile has, and what it is given arrives at the playbook."""

from __future__ import annotations

import itertools
import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"(?:^|`|&& )(make [a-z][^`\n]*?)(?= *(?:`|#|&&|$))", re.MULTILINE)
# What the environment of whoever calls make is not asked for, and the names of the playbooks' variables.
NAMES = {
    "NAME": ["fastapi_name"],
    "SOURCE": ["fastapi_source"],
    "APP": ["fastapi_app"],
    "PORT": ["fastapi_port"],
    "READINESS": ["fastapi_readiness_path"],
    "RELEASE": ["fastapi_release"],
    "ON": ["fastapi_maintenance_enabled"],
    "PAGE": ["fastapi_maintenance_page"],
    "FROM": ["fastapi_restore_from"],
    "TARGET_TIME": ["fastapi_restore_target_time"],
    "IDENTITY": ["fastapi_restore_identity"],
    "CONFIRM": ["fastapi_restore_confirm", "fastapi_upgrade_confirm"],
    "DATA": ["fastapi_remove_data"],
    "FILE": ["fastapi_status_file"],
    "SERVICE": ["fastapi_logs_service"],
    "LAST": ["fastapi_logs_lines"],
}


def commands() -> list[str]:
    found = [command.strip() for page in PAGES for command in COMMAND.findall(page.read_text())]
    return sorted({command for command in found if "…" not in command and not command.startswith("make X ")})


def played(command: str) -> tuple[str, dict[str, str]]:
    """Return the playbook that a make would run, and the variables that it gives it, as text."""
    words = shlex.split(command)
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    line = shlex.split(next(line for line in done.stdout.splitlines() if "ansible-playbook -i" in line))
    given: dict[str, str] = {}
    for option, value in itertools.pairwise(line):
        if option == "-e" and not value.startswith("@"):
            name, _, text = value.strip("{}").replace('": ', "=").replace('"', "").partition("=")
            given[name] = text.strip("'")
    return next(word for word in line if word.startswith("playbooks/")), given


# `make bench` plays nothing itself.
GIVEN = [command for command in commands() if "=" in command.partition("ARGS")[0] and command.split()[1] != "bench"]


@pytest.mark.parametrize("command", GIVEN)
def test_what_a_document_gives_make_arrives(command):
    playbook, given = played(command)
    assert (ROOT / playbook).is_file()
    asked = dict(word.split("=", 1) for word in shlex.split(command)[2:])
    for name, value in asked.items():
        if name not in ("ARGS", "INVENTORY"):
            assert {given.get(variable) for variable in NAMES[name]} == {value}


def test_a_document_names_targets_that_there_are():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {command.split()[1] for command in commands()}
    assert len(named) > 10
    assert named <= targets
