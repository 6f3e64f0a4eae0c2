"""Write down in CycloneDX what is installed in an environment: sbom.py ENVIRONMENT FILE.

uv exports what is locked. So it locks just the versions that are there, for this platform, out of what they and its cache say:
nothing is fetched, and so nothing else is taken for them. Where that fails the file is not written, and the image is as good
without.
"""

import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

# In JSON texts and lists are what they are in TOML.
PROJECT = """\
[project]
name = "drydock-application"
version = "0"
requires-python = "=={python}.*"
dependencies = {installed}

[tool.uv]
environments = ["sys_platform == 'linux' and platform_machine == '{machine}'"]
override-dependencies = {installed}
"""
METADATA = """\

[[tool.uv.dependency-metadata]]
name = {name}
version = {version}
requires-dist = {requires}
"""
EXPORT = ["export", "--offline", "--format", "cyclonedx1.5", "--no-emit-project", "--output-file"]


def uv(*arguments):
    # Not where the source is, whose own settings are for itself.
    command = ["uv", "--quiet", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


def metadata(folder):
    """Yield what the packages in a folder say of themselves, as uv takes it in place of what it would fetch."""
    for found in distributions(path=[str(folder)]):
        yield METADATA.format(
            name=json.dumps(found.metadata["Name"]), version=json.dumps(found.version), requires=json.dumps(found.requires or [])
        )


def without_addresses(told):
    """Return the list without the addresses of files and indexes: those of a private one may hold a token."""
    for component in told.get("components", []):
        component.pop("externalReferences", None)
        if "purl" in component:
            component["purl"] = component["purl"].partition("?")[0]
    return told


def main(environment, file):
    python, version = environment / "bin" / "python", "{}.{}".format(*sys.version_info[:2])
    try:
        installed = uv("pip", "freeze", "--python", python).splitlines()
        project = PROJECT.format(python=version, machine=platform.machine(), installed=json.dumps(installed))
        project += "".join(metadata(environment / "lib" / f"python{version}" / "site-packages"))
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "pyproject.toml").write_text(project)
            exported = Path(folder) / "exported"
            uv(*EXPORT, exported, "--python", python, "--project", folder)
            file.write_text(json.dumps(without_addresses(json.loads(exported.read_text())), indent=1))
        print(f"{len(installed)} packages")
    except subprocess.CalledProcessError as error:
        print("There is no SBOM of the Python packages:", error.stderr)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
