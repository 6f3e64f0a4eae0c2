"""Remember what the build had at hand."""

import shutil
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WANTED = {"/etc/uv/uv.toml": "canary", "/etc/pip.conf": "canary"}


class Remember(BuildHookInterface):
    def initialize(self, version, build_data):
        seen = [path for path, text in WANTED.items() if Path(path).is_file() and text in Path(path).read_text()]
        target = Path(self.root) / "built_with.py"
        target.write_text(f"MAKE = {shutil.which('make')!r}\nSECRETS = {seen!r}\n")
        build_data["force_include"][str(target)] = "greeting/built_with.py"
