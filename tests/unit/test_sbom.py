"""The program of the build that writes down what is installed."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "roles" / "fastapi" / "files" / "image" / "sbom.py"
INSTALLED = ["fastapi==0.165.0", "shop-client @ https://files.example/a.whl", 'odd @ file:///opt/a"b\\c.whl']


EXPORTED = {
    "bomFormat": "CycloneDX",
    "components": [
        {
            "name": "a",
            "purl": "pkg:pypi/a@1?repository_url=https://packages.example/t0ken/simple",
            "externalReferences": [{"type": "distribution", "url": "https://packages.example/t0ken/a.whl"}],
        },
        {"name": "b"},
    ],
}


@pytest.fixture
def sbom(monkeypatch):
    """The program, with what uv was asked to export in `projects`; it fails where `fails` says so."""
    spec = importlib.util.spec_from_file_location("sbom", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.projects, module.fails = [], False

    def uv(*arguments):
        if arguments[0] == "pip":
            return "".join(f"{line}\n" for line in INSTALLED)
        if module.fails:
            raise subprocess.CalledProcessError(1, "uv", stderr="no solution")
        folder = Path(arguments[arguments.index("--project") + 1])
        module.projects.append(tomllib.loads((folder / "pyproject.toml").read_text()))
        Path(arguments[arguments.index("--output-file") + 1]).write_text(json.dumps(EXPORTED))
        return ""

    monkeypatch.setattr(module, "uv", uv)
    return module


def test_just_what_is_installed_is_locked_for_this_platform(sbom, tmp_path):
    folder = (
        tmp_path / "venv" / "lib" / "python{}.{}".format(*sys.version_info[:2]) / "site-packages" / "shop_client-1.2.dist-info"
    )
    folder.mkdir(parents=True)
    told = ["Metadata-Version: 2.1", "Name: Shop.Client", "Version: 1.2"]
    told += ['Requires-Dist: odd; extra == "a"', "Requires-Dist: fastapi>=0.100"]
    (folder / "METADATA").write_text("".join(f"{line}\n" for line in told))
    sbom.main(tmp_path / "venv", tmp_path / "python.cdx.json")
    (project,) = sbom.projects
    # Whatever one of them asks for, the others are what they are.
    assert project["project"]["dependencies"] == project["tool"]["uv"]["override-dependencies"] == INSTALLED
    assert project["project"]["requires-python"].startswith("==3.")
    assert "sys_platform == 'linux' and platform_machine == '" in project["tool"]["uv"]["environments"][0]
    # So that nothing is fetched, or built, to know it.
    told = [{"name": "Shop.Client", "version": "1.2", "requires-dist": ['odd; extra == "a"', "fastapi>=0.100"]}]
    assert project["tool"]["uv"]["dependency-metadata"] == told
    found = json.loads((tmp_path / "python.cdx.json").read_text())
    assert found == {"bomFormat": "CycloneDX", "components": [{"name": "a", "purl": "pkg:pypi/a@1"}, {"name": "b"}]}


def test_an_image_whose_packages_cannot_be_told_is_built_all_the_same(sbom, tmp_path, capsys):
    sbom.fails = True
    sbom.main(tmp_path / "venv", tmp_path / "python.cdx.json")
    assert not (tmp_path / "python.cdx.json").exists()
    assert "There is no SBOM of the Python packages: no solution" in capsys.readouterr().out
