"""Write docs/reliability.md: each fault that a test provokes, what comes of it, and the figure of the last run of the tests."""

from __future__ import annotations

import ast
import datetime
import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests" / "faults").glob("test_*.py"))
FIGURES = ROOT / ".cache" / "faults" / "figures.json"
PAGE = ROOT / "docs" / "reliability.md"
HEAD = """# Reliability

What goes wrong in a deploy, provoked on a real server by the tests in `tests/faults`, and what comes of it. Where clients are
named, they send GET and POST down connections that stay open, without a retry. `make faults` runs these tests and writes this
page; `make test` runs all but those marked `long`. The figures are those of {date}, on {cores} cores that other tests shared.

| fault, and what comes of it | test | last figure |
| --- | --- | --- |
"""


def head() -> str:
    date = datetime.date.fromtimestamp(FIGURES.stat().st_mtime if FIGURES.exists() else time.time())
    return HEAD.format(date=date.isoformat(), cores=os.cpu_count())


def rows() -> list[str]:
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    found = []
    for file in TESTS:
        for item in ast.parse(file.read_text()).body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                said = " ".join((ast.get_docstring(item) or "").split())
                marks = [ast.unparse(mark) for mark in item.decorator_list]
                long = " (`long`)" if "pytest.mark.long" in marks else " (in part `long`)" if "long" in " ".join(marks) else ""
                told = [text for name, text in figures.items() if name.partition("[")[0] == item.name]
                found.append(f"| {said} | `{item.name}`{long} | {'<br>'.join(told)} |")
    return found


if __name__ == "__main__":
    PAGE.write_text(head() + "\n".join(rows()) + "\n")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} has {len(rows())} faults.\n")
