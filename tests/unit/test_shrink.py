"""The programs of the build that make an image smaller."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "roles" / "fastapi" / "files" / "image"
# An extension module that every Python has, from its wheel: with a table of sections, and without debug symbols or with them.
LIBRARY = next(path for path in map(Path, sys.path) for path in path.glob("**/_yaml*.so"))


def program(name: str):
    spec = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shrink = program("shrink")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "lib" / "module.so"
    path.parent.mkdir()
    path.write_bytes(LIBRARY.read_bytes())
    path.chmod(0o755)
    return path


def test_a_library_loses_what_follows_its_segments_and_loads(library: Path) -> None:
    before = library.stat()
    shrink.main(library.parent)
    assert library.stat().st_size < before.st_size
    assert library.stat().st_mode == before.st_mode
    assert ctypes.CDLL(str(library)).PyInit__yaml


def test_twice_is_as_once(library: Path) -> None:
    shrink.main(library.parent)
    once = library.read_bytes()
    shrink.main(library.parent)
    assert library.read_bytes() == once


def test_what_has_something_behind_stays(library: Path) -> None:
    data = library.read_bytes() + b"appended"
    library.write_bytes(data)
    shrink.main(library.parent)
    assert library.read_bytes() == data


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"GROUP ( libc.so.6 )\n", b"\x7fELF\x01\x01" + bytes(80)])
def test_what_is_no_library_stays(library: Path, data: bytes) -> None:
    library.write_bytes(data)
    shrink.main(library.parent)
    assert library.read_bytes() == data


def test_what_does_not_load_is_put_back(library: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    data = library.read_bytes()
    monkeypatch.setattr(shrink, "cut", lambda data: data[:4096])
    shrink.main(library.parent)
    assert library.read_bytes() == data
    assert "0 libraries without 0.0 MB, 1 left as they were" in capsys.readouterr().out
