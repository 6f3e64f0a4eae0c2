"""docs/performance.md, its plots and docs/performance.json, from the results of the figures."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import lab

DOCS = lab.ROOT / "docs"
PAGE = DOCS / "performance.md"
DATA = DOCS / "performance.json"
PLOTS = DOCS / "performance"
OURS, THEIRS = "#1f6f8b", "#b8b8b8"

HEAD = """# Performance

Made by `make bench`, which takes about half an hour. Every number of the tables is from `performance.json` beside it; what is
said of them at the end is from `tests/bench/notes.md`. What is timed was measured in pairs, ours and the other in turn, and the
ratio is the median of the pairs' ratios, with the interval that holds the median in 95% of 10,000 samples drawn from the pairs.
Sizes are bytes of `docker save`, plain or compressed by `gzip -6`. Everything ran on one machine, the load generator included.

The others, in `tests/bench/baselines`: **naive** (`plain` on `full`), the full image of Python, `COPY . .` and `pip install`,
without an ignore file; **slim** (`plain`), the same on the slim image; **template**, a single stage with uv on the full image,
and `fastapi run` with four workers, as in the best known template for FastAPI; **role-naive**, a playbook with `copy`, four
times `template`, `docker_image_build` with `rebuild: always`, and compose.
"""


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    info = json.loads(lab.docker("info", "--format={{json .}}"))
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    images = lab.images()
    official = images["python"].startswith("python:")
    origin = "the official ones" if official else "made from Debian packages, as no registry with the official ones was reachable"
    return {
        "processors": f"{os.cpu_count()}, {processor[1] if processor else platform.machine()}",
        "memory": f"{info['MemTotal'] / 1e9:.0f} GB",
        "system": f"{info['OperatingSystem']}, Linux {'.'.join(platform.release().split('.')[:2])}",
        "engine": f"Docker {info['ServerVersion']}, {lab.docker('buildx', 'version').split()[1]} (buildx), "
        f"Compose {lab.docker('compose', 'version', '--short')}",
        "ansible": lab.run("ansible", "--version").splitlines()[0],
        "python": platform.python_version(),
        "images": f"{images['python']}, {images['full']}, {images['postgres']}, {images['caddy']}; {origin}",
    }


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}"


def line(row: dict[str, Any]) -> str:
    unit = f" {row['unit']}" if row["unit"] else ""
    found = f"{number(row['value'])}{unit}"
    if "interval" in row and row["interval"][0] != row["interval"][1]:
        found += f" ({number(row['interval'][0])} to {number(row['interval'][1])})"
    wanted = ""
    if row["target"] is not None:
        wanted = f"at {'least' if row['least'] else 'most'} {number(row['target'])}{unit}"
    reached = {True: "yes", False: "**no**", None: ""}[row["reached"]]
    notes = [row["note"]] if row.get("note") else []
    if "ours" in row:
        notes.insert(0, f"{number(row['ours'])} {row['of']} against {number(row['theirs'])} {row['of']}")
    return f"| {row['what']} | {found} | {wanted} | {reached} | {'; '.join(notes)} |"


def draw(name: str, charts: list[dict[str, Any]]) -> None:
    """Draw the charts of a figure side by side, as one SVG with text that stays text."""
    # Of the report alone, in a folder of their own: make bench.
    sys.path.append(str(lab.WORK / "packages"))
    import matplotlib

    matplotlib.use("svg")
    # The same values give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(charts), figsize=(4.2 * len(charts), 2.2), squeeze=False, layout="constrained")
    for axis, chart in zip(axes[0], charts, strict=True):
        labels = list(chart["bars"])
        medians = [statistics.median(values) for values in chart["bars"].values()]
        colors = [
            OURS if label.startswith(("ours", "slim", "minimal", "tuned", "with ")) and "baseline" not in label else THEIRS
            for label in labels
        ]
        bars = axis.barh(labels, medians, color=colors, height=0.6)
        for position, values in enumerate(chart["bars"].values()):
            axis.plot(values, [position] * len(values), "|", color="black", markersize=8)
        axis.bar_label(bars, labels=[f" {number(median)}" for median in medians], padding=6)
        axis.set_title(chart["title"], fontsize=10)
        axis.set_xlabel(chart["unit"])
        axis.invert_yaxis()
        axis.margins(x=0.18)
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
    PLOTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)


def write(results: dict[str, dict[str, Any]]) -> None:
    """Write the page, its plots and the data of the figures that are known."""
    text = [HEAD]
    whole = [one for one in results.values() if not one.get("error")]
    if whole:
        told = whole[-1]["machine"]
        dates = sorted({one["date"] for one in whole})
        text.append(f"Measured on {' to '.join(dict.fromkeys((dates[0], dates[-1])))}:\n")
        text += [f"- {name}: {value}" for name, value in told.items()]
        text.append("")
    for name, found in results.items():
        text.append(f"## {name.capitalize()}\n")
        if found.get("error"):
            text.append(f"Not measured: {found['error'].splitlines()[0][:300]}\n")
            continue
        text.append(f"{found['title']}\n")
        text += ["| figure | found | wanted | reached | |", "| --- | --- | --- | --- | --- |", *map(line, found["rows"]), ""]
        timed = any("pairs" in row for row in found["rows"])
        text.append(
            f"{found['pairs']} pairs, " * timed
            + f"on {found['date']}, load of the machine before: {found['load']:.1f}, {found['seconds']:.0f} s in all.\n"
        )
        draw(name, found["charts"])
        text.append(f"![{name}](performance/{name}.svg)\n")
    reasons = BENCH_NOTES.read_text() if BENCH_NOTES.exists() else ""
    PAGE.write_text("\n".join([*text, reasons]).rstrip() + "\n")
    DATA.write_text(json.dumps(results, indent=1) + "\n")


# What numbers do not say by themselves: where the time goes, and why a figure is not reached.
BENCH_NOTES = lab.BENCH / "notes.md"
