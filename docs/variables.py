"""Write the variables of the role fastapi from its argument specs into README.md, between the two markers."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SPECS = ROOT / "roles" / "fastapi" / "meta" / "argument_specs.yml"
BEGIN, END = "<!-- variables -->", "<!-- /variables -->"


def cell(value: object) -> str:
    text = "`{}`".format(yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip())
    return text.replace("|", "\\|")


def table() -> str:
    """Return the table in Markdown: variable, type, default, description."""
    options: dict[str, dict] = {}
    for spec in yaml.safe_load(SPECS.read_text())["argument_specs"].values():
        options |= spec["options"]
    rows = [
        f"| `{name}` | {option['type']} | {cell(option['default']) if 'default' in option else ''} | {option['description']} |"
        for name, option in options.items()
    ]
    return "\n".join(["| variable | type | default | |", "| --- | --- | --- | --- |", *rows])


def updated(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(updated(README.read_text()))
    sys.stdout.write("README.md has the variables of the argument specs.\n")
