"""Every scenario of Molecule, on servers of the lab."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The servers of these scenarios are those of tests/faults and tests/data, which run them.
SCENARIOS = sorted({path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")} - {"data", "faults", "fleet"})
# Seconds: several times what the longest takes on two busy cores.
TIMEOUT = 1800


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, run: Callable[..., None]) -> None:
    memory = ROOT / ".cache" / "molecule" / name
    # Molecule remembers there how far a run came; a new one starts from nothing.
    shutil.rmtree(memory, ignore_errors=True)
    run(
        f"scenario {name}",
        ["molecule", "test", "--scenario-name", name],
        f"molecule/{name}.log",
        timeout=TIMEOUT,
        MOLECULE_EPHEMERAL_DIRECTORY=str(memory),
    )
