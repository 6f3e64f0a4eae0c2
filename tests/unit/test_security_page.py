"""docs/security.md has the rules, exceptions and counts that the tests have."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rules():
    return load(ROOT / "tests" / "data" / "test_security.py")


def table(name):
    """Return the rows of a table of the page, without its head."""
    text = PAGE.partition(f"<!-- {name} -->\n")[2].partition(f"<!-- /{name} -->")[0]
    return [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in text.splitlines()[2:]]


def test_the_rules_are_those_of_the_tests(rules):
    rows = table("rules")
    assert [row[:2] for row in rows] == [(number, words) for number, (words, _) in rules.RULES.items()]
    assert all(len(row) == 3 and row[2] for row in rows)


def test_the_exceptions_are_those_of_the_tests(rules):
    told = [(number, ", ".join(f"`{name}`" for name in names), why) for number, (names, why) in rules.EXCEPTIONS.items()]
    assert table("exceptions") == told
    assert table("not asked") == list(rules.NOT_ASKED.items())
    assert rules.EXCEPTIONS.keys() <= rules.RULES.keys()
    assert rules.NOT_ASKED.keys().isdisjoint(rules.RULES)


def test_every_rule_of_the_two_sections_is_told(rules):
    told = {*rules.RULES, *rules.NOT_ASKED}
    assert told == {
        *(f"CIS 4.{number}" for number in range(1, 13)),
        *(f"CIS 5.{number}" for number in range(1, 33)),
        *(f"OWASP {number}" for number in range(14)),
    }


def test_the_tests_that_are_named_are_there():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = [
        *ROOT.glob("tests/*/test_security.py"),
        *ROOT.glob("tests/contract/test_*.py"),
        *ROOT.glob("tests/properties/test_*.py"),
    ]
    assert named - {name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)} == set()


def test_the_counts_are_those_of_the_tests():
    hostile = load(ROOT / "tests" / "contract" / "test_hostile_client.py")
    refused = sum(strict == [hostile.REFUSED] for _, strict in hostile.SHAPES.values())
    assert f"- {len(hostile.SHAPES)} shapes of requests" in PAGE
    assert f"headers. {refused} of them" in PAGE
    assert "2,000 connections" in PAGE and hostile.CROWD == 2000


def test_what_is_tried_is_what_the_tests_try():
    trees = load(ROOT / "tests" / "properties" / "test_trees.py")
    assert f"| {len(trees.TAKEN)} shapes that are taken, {len(trees.REFUSED)} that are refused |" in PAGE
    values = (ROOT / "tests" / "properties" / "test_values.py").read_text()
    examples, sets = re.findall(r"@steady\((\d+)\)", values)
    assert f"| {examples} examples of each |" in PAGE and f"| {sets} sets |" in PAGE
    seed = re.search(r"lab_seed: (\d+)", (ROOT / "molecule" / "default" / "vars" / "main.yml").read_text())
    assert f"100 examples of each operation, seed {seed[1]} " in PAGE
    assert "--max-examples=100\n" in (ROOT / "molecule" / "default" / "tasks" / "fuzz.yml").read_text()
