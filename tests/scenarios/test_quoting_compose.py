"""Quoting, read back by the real Compose and by a process in a real container."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.drydock.stack.plugins.module_utils.quoting import compose_scalar, env_quote
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

EVERY_CHARACTER = "".join(chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
# What the formats and the shell give a meaning to, so that drawn values are hard ones.
SYNTAX = st.text(st.sampled_from("$\\\"'`{}()#=:-%&*!?|>@ \t\r\n\x7f\x85\u2028\ufeffnabu0é"), max_size=40)
VALUE = TEXT | SYNTAX
# No empty lists: Compose prints them as null.
DATA = st.recursive(
    VALUE | st.booleans() | st.none() | st.integers(-(2**63), 2**63 - 1),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4) | st.dictionaries(VALUE.filter(lambda key: len(key) < 80), inner, max_size=4)
    ),
    max_leaves=8,
)
HARD = [
    "",
    " ",
    "\n",
    "a\n",
    "\\",
    "\\n",
    "$",
    "$$",
    "${X",
    "$HOME",
    '"',
    "'",
    "#",
    "a #b",
    "\ufeff",
    "{{ 1 + 1 }}",
    "\\0101",
    "\\x41",
]


def draw(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Draw values for one batch: a run of Compose for each of them would take minutes."""
    drawn: list[Any] = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        drawn.append(value)

    collect()
    return drawn


def compose(folder: Path, *arguments: str) -> bytes:
    # The variables of this process reach the interpolation: HOME and a stray X must not show up in a value.
    environment = os.environ | {"X": "from the shell", "V0": "from the shell"}
    return subprocess.run(
        ["docker", "compose", *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE
    ).stdout


def undo(value: Any) -> Any:
    """Undo the doubling of `$` in what `docker compose config` prints."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [undo(item) for item in value]
    if isinstance(value, dict):
        return {undo(key): undo(item) for key, item in value.items()}
    return value


def parsed(folder: Path) -> dict[str, Any]:
    return undo(json.loads(compose(folder, "config", "--format", "json")))


# The lab starts the engine of this machine.
pytestmark = pytest.mark.usefixtures("lab")


@pytest.fixture
def image(lab: None) -> Iterator[str]:
    """An image that holds `env` and what it is linked to, and nothing else."""
    libraries = subprocess.run(["ldd", "/usr/bin/env"], check=True, stdout=subprocess.PIPE, text=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for path in ["/usr/bin/env", *re.findall(r"(/\S+) \(0x", libraries)]:
            archive.add(path)
    name = f"drydock-quoting:{uuid.uuid4().hex}"
    subprocess.run(["docker", "import", "-", name], input=buffer.getvalue(), check=True, stdout=subprocess.PIPE)
    yield name
    subprocess.run(["docker", "image", "rm", name], check=True, stdout=subprocess.PIPE)


def test_values_reach_a_process_byte_for_byte(tmp_path: Path, image: str) -> None:
    values = dict(enumerate([*HARD, *draw(VALUE, 400)]))
    project = {
        "name": f"drydock-quoting-{uuid.uuid4().hex}",
        "services": {
            "app": {
                "image": image,
                "network_mode": "none",
                "env_file": ".env",
                "environment": {f"S{number}": value for number, value in values.items()},
                "command": ["/usr/bin/env", "-0"],
            }
        },
    }
    (tmp_path / "compose.yaml").write_text(compose_scalar(project), "utf-8")
    (tmp_path / ".env").write_bytes("".join(f"V{number}={env_quote(value)}\n" for number, value in values.items()).encode())
    printed = compose(tmp_path, "run", "--rm", "--no-TTY", "app").split(b"\0")
    seen = dict(entry.split(b"=", 1) for entry in printed if entry)
    for number, value in values.items():
        assert seen[b"V%d" % number] == value.encode(), "from .env"
        assert seen[b"S%d" % number] == value.encode(), "from compose.yaml"


def test_every_character_is_read_back(tmp_path: Path) -> None:
    chunks = [EVERY_CHARACTER[start : start + 4096] for start in range(0, len(EVERY_CHARACTER), 4096)]
    project = {"name": "quoting", "services": {"app": {"image": "none", "env_file": ".env"}}, "x-chunks": chunks}
    (tmp_path / "compose.yaml").write_text(compose_scalar(project), "utf-8")
    (tmp_path / ".env").write_bytes("".join(f"V{number}={env_quote(chunk)}\n" for number, chunk in enumerate(chunks)).encode())
    config = parsed(tmp_path)
    assert config["services"]["app"]["environment"] == {f"V{number}": chunk for number, chunk in enumerate(chunks)}
    assert config["x-chunks"] == chunks


def test_nested_data_is_read_back(tmp_path: Path) -> None:
    drawn = [*draw(DATA, 300), {"<<": {"a": "$b"}}, {"$a": "$$b"}, 1e16, 0.1, {"k" * 998: 1, "é$" * 499: 2}]
    project = {"name": "quoting", "services": {"app": {"image": "none"}}, "x-drawn": drawn}
    (tmp_path / "compose.yaml").write_text(compose_scalar(project), "utf-8")
    assert parsed(tmp_path)["x-drawn"] == drawn
