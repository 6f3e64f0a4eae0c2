"""What of the benchmarks can be counted: bytes, layers, modules and builds. Nothing here depends on time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab as bench
import product
import pytest
from figures import fleet, images

# The lab starts the engine of this machine and makes the images.
pytestmark = pytest.mark.usefixtures("lab")

NAME = "drydock-bench-counts"
PORT = 8919
MEGABYTE = 10**6
# Bytes beside the source that no build needs: what an environment and a history are in a developer's folder.
BALLAST = 40 * MEGABYTE


@pytest.fixture(scope="module", autouse=True)
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work in a folder of the tests' own, and leave no image behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "WORK", tmp_path_factory.mktemp("bench"))
        patch.setattr(bench, "NAME", NAME)
        yield
        for tag in ("slim", "minimal", "context"):
            bench.docker("image", "rm", "--force", f"{NAME}:{tag}")


@pytest.fixture(scope="module")
def built() -> dict[str, str]:
    source = bench.clean_source("counts")
    return {variant: images.ours(variant, source) for variant in ("slim", "minimal")}


def test_the_minimal_image_is_small(built):
    found = bench.saved_bytes(built["minimal"])
    assert found["plain"] <= 130 * MEGABYTE
    assert found["gzip"] <= 45 * MEGABYTE


def test_the_slim_image_adds_little_to_its_base(built):
    base = bench.saved_bytes(bench.images()["python"], level=0)["plain"]
    assert bench.saved_bytes(built["slim"], level=0)["plain"] - base <= 80 * MEGABYTE


@pytest.mark.parametrize("variant", ["slim", "minimal"])
def test_an_edit_changes_the_layer_of_the_code_alone(built, variant):
    source = bench.clean_source("edited")
    before = bench.layers(images.ours(variant, source))
    bench.edit(source, 0)
    after = bench.layer_sizes(images.ours(variant, source))
    new = [size for digest, size in after.items() if digest not in before]
    assert len(new) == 1
    assert new[0] < MEGABYTE


def test_the_builder_is_sent_the_source_alone():
    source = bench.clean_source("context")
    (source / ".venv").mkdir()
    (source / ".venv/pyvenv.cfg").touch()
    (source / ".venv/ballast").write_bytes(bytes(BALLAST))
    release = product.release(bench.WORK / "release", fastapi_source=str(source), fastapi_python_image=bench.images()["python"])
    # Should the release bring it along all the same, the ignore file keeps it from the builder.
    (release / "source/.venv").mkdir()
    (release / "source/.venv/ballast").write_bytes(bytes(BALLAST))
    found = bench.build(f"{NAME}:context", release)["context"]
    assert 0 < found <= BALLAST / 100


def counts(playbook: list[Any]) -> dict[str, Any]:
    file = bench.WORK / "counts.json"
    bench.play(*playbook, count=file)
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What was counted of a deploy to this machine, and of the same again."""
    playbook = bench.ours(bench.clean_source("deployed"), PORT, NAME)
    try:
        yield counts(playbook), counts(playbook)
    finally:
        bench.drop_ours(NAME)


def test_a_deploy_builds_once(deployed):
    first, second = deployed
    assert (first["builds"], second["builds"]) == (1, 0)


def test_nothing_to_do_takes_few_modules_and_changes_nothing(deployed):
    _, again = deployed
    (host,) = again["hosts"].values()
    assert host["changed"] == 0
    assert 1 <= sum(again["modules"].values()) <= 6, again["modules"]


@pytest.mark.parametrize("count", [1, 3, 50])
def test_a_fleet_builds_once(count):
    assert fleet.builds(count) == 1


def test_every_figure_has_its_module():
    run = pytest.importorskip("run")
    assert {file.stem for file in Path(run.__file__).parent.glob("figures/*.py")} == set(run.FIGURES)
