"""What the files are like that the settings name on the controller."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.action import validate

TEMPLATES = Path(__file__).parents[2] / "templates"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    shutil.copytree(TEMPLATES, tmp_path / "templates")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    # Messages cut long paths.
    monkeypatch.chdir(tmp_path)
    return {"fastapi_templates": "templates", "fastapi_dockerfile": "Dockerfile"}


def test_files_that_are_there_are_taken(settings: dict[str, str]) -> None:
    assert validate.missing_files(settings) == []


@pytest.mark.parametrize("name", ["Dockerfile", "templates/env.j2"])
def test_what_is_not_utf8_is_refused(settings: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"# \xff\n")
    variable, found = ("fastapi_templates", "templates") if "/" in name else ("fastapi_dockerfile", name)
    assert validate.missing_files(settings) == [f"{variable} is {found}, and {Path(name).name} is not UTF-8; save it as such."]


def test_what_is_not_there_is_refused_in_words_that_can_be_printed(settings: dict[str, str]) -> None:
    said = validate.missing_files({"fastapi_templates": "/\u202ea", "fastapi_dockerfile": "/\u202eb"})
    names = ", ".join(validate.TEMPLATES)
    assert said == [
        f'fastapi_templates is "/\\u202ea", and there is no {names}; give a folder with all of {names}: '
        "copy the collection's and change the copy.",
        'fastapi_dockerfile is "/\\u202eb", and there is no such file; give the path of one on the controller.',
    ]


def test_what_cannot_be_read_is_refused(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    said = validate.missing_files(settings)
    assert len(said) == 6
    assert said[-1] == (
        "fastapi_dockerfile is Dockerfile, and Dockerfile cannot be read: Permission denied; give read access to it."
    )
