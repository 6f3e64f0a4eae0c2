"""The README tells the variables as the argument specs have them."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_variables_are_those_of_the_specs():
    spec = importlib.util.spec_from_file_location("variables", ROOT / "docs" / "variables.py")
    variables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(variables)
    text = variables.README.read_text()
    assert text == variables.updated(text), "run `make docs`"
