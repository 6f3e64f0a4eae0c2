"""Write the variables of the role fastapi, from its argument specs and defaults, into docs/variables.md between the markers."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "variables.md"
ROLE = ROOT / "roles" / "fastapi"
BEGIN, END = "<!-- variables -->", "<!-- /variables -->"


def cell(value: object) -> str:
    text = "`{}`".format(yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip())
    return text.replace("|", "\\|")


def described() -> dict[str, str]:
    """Return the variables in the order of the defaults, each with the comment above it."""
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in (ROLE / "defaults" / "main.yml").read_text().splitlines():
        name = re.match(r"(?:# )?(fastapi_\w+):(?:  \((.*)\)$)?", line)
        if name:
            found[name[1]] = " ".join([*comment, f"Default: {name[2]}." if name[2] else ""]).strip()
        elif line.startswith("# ") and not line.startswith("# ---"):
            comment.append(line[2:])
        else:
            comment = []
    return found


def table() -> str:
    """Return the table in Markdown: variable, type, default, description."""
    init_plugin_loader([str(ROOT / ".venv" / "collections")])
    from ansible_collections.drydock.stack.plugins.plugin_utils.variables import DATA

    options: dict[str, dict] = {}
    for spec in yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"].values():
        options |= spec["options"]
    rows = ["| variable | type | default | |", "| --- | --- | --- | --- |"]
    for name, comment in described().items():
        option = options.get(name) or {
            "type": DATA[name],
            "description": comment,
            **({"default": {}} if DATA[name] == "dict" else {}),
        }
        default = cell(option["default"]) if "default" in option else ""
        rows.append(f"| `{name}` | {option['type']} | {default} | {option['description']} |")
    return "\n".join(rows)


def updated(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
    sys.stdout.write("docs/variables.md has the variables of the argument specs.\n")
