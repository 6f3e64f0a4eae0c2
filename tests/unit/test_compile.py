"""The program of the build that compiles each file once."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "roles" / "fastapi" / "files" / "image" / "compile.py"


def run(*words: object, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-I", "-B", PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert not done.stderr or code
    return done.stdout


def bytecode(source: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(source)))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .more import WORDS\n")
    (folder / "more.py").write_bytes("# -*- coding: latin-1 -*-\nWORDS = 'é'\n".encode("latin-1"))
    return folder.parent


def imported(folder: Path, statement: str) -> str:
    done = subprocess.run([sys.executable, "-B", "-v", "-c", statement], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_what_is_compiled_is_what_python_reads(folder: Path, cache: Path) -> None:
    assert run(cache, folder) == "2 files compiled, 0 known, 0 passed over\n"
    said = imported(folder, "import package; print('read', package.WORDS)")
    assert "read é" in said
    for name in ("__init__", "more"):
        assert f"matches {folder}/package/{name}.py" in said


def test_it_is_not_compared_with_the_text(folder: Path, cache: Path) -> None:
    run(cache, folder)
    (folder / "package" / "more.py").write_text("WORDS = 'other'\n")
    assert "read é" in imported(folder, "import package; print('read', package.WORDS)")


def test_what_is_known_is_not_compiled_again(folder: Path, cache: Path) -> None:
    run(cache, folder)
    before = bytecode(folder / "package" / "more.py").read_bytes()
    for name in ("__init__", "more"):
        bytecode(folder / "package" / f"{name}.py").unlink()
    (folder / "package" / "new.py").write_text("NEW = 1\n")
    assert run(cache, folder) == "1 files compiled, 2 known, 0 passed over\n"
    assert bytecode(folder / "package" / "more.py").read_bytes() == before


def test_another_text_or_another_path_is_another_file(folder: Path, cache: Path, tmp_path: Path) -> None:
    run(cache, folder)
    (folder / "package" / "more.py").write_text("WORDS = 'other'\n")
    assert run(cache, folder) == "1 files compiled, 1 known, 0 passed over\n"
    assert "read other" in imported(folder, "import package; print('read', package.WORDS)")
    # A traceback names the file by the path that is in the bytecode.
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    assert run(cache, elsewhere) == "2 files compiled, 0 known, 0 passed over\n"
    statement = "import package.more as more; print('at', more.__loader__.get_code('package.more').co_filename)"
    assert f"at {elsewhere}/package/more.py" in imported(elsewhere, statement)


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], lambda kept: b"", lambda kept: kept[:80] + b"\xff" + kept[81:]])
def test_what_is_kept_and_damaged_is_compiled_again(folder: Path, cache: Path, damage) -> None:
    run(cache, folder)
    for entry in cache.iterdir():
        entry.write_bytes(damage(entry.read_bytes()))
    assert run(cache, folder) == "2 files compiled, 0 known, 0 passed over\n"
    assert "read é" in imported(folder, "import package; print('read', package.WORDS)")


@pytest.mark.parametrize("text", [b"{{ template }} of code", b"null\0byte = 1", b"caf\xe9 = 1", b"(" * 10_000 + b")" * 10_000])
def test_what_is_no_python_is_passed_over(folder: Path, cache: Path, text: bytes) -> None:
    (folder / "template.py").write_bytes(text)
    assert run(cache, folder) == "2 files compiled, 0 known, 1 passed over\n"
    assert not bytecode(folder / "template.py").exists()


def test_warnings_of_others_code_are_not_said(folder: Path, cache: Path) -> None:
    (folder / "sloppy.py").write_text("A = '\\d'\nB = 1 is 1\n")
    assert run(cache, folder).startswith("3 files compiled")


def test_any_name_is_compiled_and_links_to_nothing_are_no_files(folder: Path, cache: Path) -> None:
    for name in (b"two words.py", b"caf\xe9.py", "日本.py".encode(), b"new\nline.py"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("A = 1\n")
    (folder / "link.py").symlink_to("nothing.py")
    (folder / "folder.py").mkdir()
    assert run(cache, folder) == "6 files compiled, 0 known, 0 passed over\n"


def test_folders_are_left_out_by_name(folder: Path, cache: Path) -> None:
    (folder / "package" / "tests").mkdir()
    (folder / "package" / "tests" / "test_more.py").write_text("A = 1\n")
    assert run(cache, folder, "--without", "tests", "idlelib") == "2 files compiled, 0 known, 0 passed over\n"
    assert run(cache, folder) == "1 files compiled, 2 known, 0 passed over\n"


def test_many_files_are_all_compiled(folder: Path, cache: Path) -> None:
    for number in range(200):
        (folder / f"module_{number}.py").write_text(f"NUMBER = {number}\n")
    assert run(cache, folder) == "202 files compiled, 0 known, 0 passed over\n"
    assert all(bytecode(folder / f"module_{number}.py").exists() for number in range(200))


def test_a_folder_that_cannot_be_written_is_an_error(folder: Path, cache: Path) -> None:
    # Be it new, or known.
    run(cache, folder)
    shutil.rmtree(folder / "package" / "__pycache__")
    (folder / "package" / "__pycache__").write_text("in the way")
    assert run(cache, folder, code=1) == ""
    shutil.rmtree(cache)
    assert run(cache, folder, code=1) == ""
