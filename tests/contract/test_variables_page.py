"""The page of the variables has them as the argument specs do."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_variables_are_those_of_the_specs():
    spec = importlib.util.spec_from_file_location("variables", ROOT / "docs" / "variables.py")
    variables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(variables)
    text = variables.PAGE.read_text()
    assert text == variables.updated(text), "run `make docs`"
