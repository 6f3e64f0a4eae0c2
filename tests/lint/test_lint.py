"""The linters of the field, each as one test, without skips."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
LINTERS = {
    "ansible-lint": ["ansible-lint", "--offline", "--strict", "--nocolor"],
    "yamllint": ["yamllint", "--strict", "."],
    "ruff": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", LINTERS.values(), ids=LINTERS.keys())
def test_the_linter_is_content(command):
    done = run(command, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shellcheck_is_content():
    scripts = list(ROOT.glob("roles/*/files/**/*.sh"))
    assert scripts
    done = run(["shellcheck", "--external-sources", *map(str, scripts)], ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_galaxy_takes_the_collection(tmp_path):
    built = run(["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path)], ROOT)
    assert built.returncode == 0, built.stdout + built.stderr
    (archive,) = tmp_path.glob("drydock-stack-*.tar.gz")
    done = run([sys.executable, "-m", "galaxy_importer.main", str(archive)], tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "ERROR" not in said, said
    assert "WARNING" not in said, said


def test_the_archive_holds_what_belongs_in_it_only(tmp_path):
    run(["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path)], ROOT)
    (archive,) = tmp_path.glob("drydock-stack-*.tar.gz")
    shutil.unpack_archive(archive, tmp_path / "content")
    top = {path.name for path in (tmp_path / "content").iterdir()}
    assert {"templates", "files", "roles", "plugins", "playbooks", "requirements.txt"} <= top
    assert not top & {".git", ".venv", ".cache", ".ci", ".config", ".ansible"}
