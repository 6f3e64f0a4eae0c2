"""What the pages name is there: tests, pictures, playbooks and other files of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page):
    known = {
        name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert set(re.findall(r"`(test_\w+)`", page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page):
    text = page.read_text()
    linked = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)#]+(?:#[^)]*)?)\)", text)}
    assert [link for link in linked if not (page.parent / link).exists()] == []
    named = set(re.findall(r"\bplaybooks/[a-z_]+\.yml", text))
    assert [name for name in named if not (ROOT / name).exists()] == []
