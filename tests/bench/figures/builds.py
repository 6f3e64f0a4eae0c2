"""How long an image takes to build again, and how much of the source the builder is sent."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import lab
import product

# Any package that the application does not need, in another version each time: what an update of a dependency is to a build.
DEPENDENCY = ("six==1.16.0", "six==1.17.0")


def ours(source: Path, **more: str) -> dict[str, float]:
    # The release is brought to the host by Ansible; here it is where it is built already.
    folder = lab.WORK / "releases" / source.name
    settings = {"fastapi_source": str(source), "fastapi_python_image": lab.images()["python"]}
    return lab.build(f"{lab.NAME}:builds", product.release(folder, **settings), **more)


def naive(source: Path, **more: str) -> dict[str, float]:
    return lab.build(f"{lab.NAME}:naive", source, lab.BASELINES / "plain/Dockerfile", base=lab.images()["full"], **more)


def with_dependency(source: Path, number: int) -> None:
    required = source / "requirements.txt"
    lines = [line for line in required.read_text().splitlines() if not line.startswith(("six==", "# run "))]
    required.write_text("\n".join([*lines, DEPENDENCY[number % 2], f"# run {number} {time.time_ns()}"]) + "\n")


def compare(sources: list[Path], change, **more: str):
    def timed(build, source):
        def once(number: int) -> float:
            change(source, number)
            if more:
                # Caches of earlier builds are no part of a cold one.
                lab.docker("builder", "prune", "--force", "--filter=type=exec.cachemount")
            return build(source, **more)["seconds"]

        return once

    return lab.pairs(timed(ours, sources[0]), timed(naive, sources[1]))


def measure():
    # The builder is sent the whole of a folder that it has not seen before, and what has changed in one that it has.
    sources = [lab.developers_source(f"{name}-{time.time_ns()}") for name in ("ours", "theirs")]
    try:
        contexts = [build(source)["context"] for build, source in zip((ours, naive), sources, strict=True)]
        edits = compare(sources, lab.edit)
        dependencies = compare(sources, with_dependency)
        cold = compare(sources, lab.edit, no_cache="yes")
    finally:
        for source in sources:
            shutil.rmtree(source)
    rows = [
        lab.ratio("rebuild after a one-line edit, against naive", *edits, 10, of="s"),
        lab.ratio("rebuild after one dependency changed, against naive", *dependencies, 5, of="s"),
        lab.ratio("cold build, against naive", *cold, 2, of="s"),
        lab.row(
            "context bytes, naive against ours",
            contexts[1] / contexts[0],
            100,
            least=True,
            unit="times",
            note=f"{contexts[0] / 1000:.0f} kB and {contexts[1] / 1e6:.0f} MB, of a folder with .git and .venv",
        ),
    ]
    plots = [
        lab.chart(title, "s", ours=found[0], naive=found[1])
        for title, found in (
            ("Rebuild after a one-line edit", edits),
            ("After one dependency", dependencies),
            ("Cold build", cold),
        )
    ]
    return rows, plots
