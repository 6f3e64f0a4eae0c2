"""The files of a release, rendered as the action plugin renders them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.drydock.stack.plugins.module_utils.release import UNFILLED, fill
from ansible_collections.drydock.stack.plugins.module_utils.source import read_source
from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "fastapi"
HOST = {
    "engine": {"processors": 4, "memory": 8 * 1024**3},
    "front": {"subnet": "172.30.0.0/28", "range": "172.30.0.0/29", "proxy": "172.30.0.14"},
}


@pytest.fixture
def render(tmp_path: Path) -> Callable[..., Path]:
    """Write the files of a release into a folder and return it; takes its source, what runs, and variables."""

    def rendered(source: dict[str, str] | None = None, services: dict[str, Any] | None = None, **settings: Any) -> Path:
        loader = DataLoader()
        variables: dict[str, Any] = {"role_path": str(ROLE)}
        for part in ("defaults", "vars"):
            variables |= loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True)
        variables |= settings
        if source:
            for name, text in source.items():
                file = tmp_path / "source" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            variables["fastapi_source"] = str(tmp_path / "source")
        templar = Templar(loader=loader, variables=variables)
        public_variables = Settings(templar, variables)
        root = Path(public_variables["fastapi_source"])
        read = read_source(root, public_variables["fastapi_workdir"], public_variables["fastapi_app"])
        renderer = Renderer(templar, variables, public_variables, {**HOST, "services": services or {}}, read)
        files = renderer.files()
        folder = tmp_path / "release"
        (folder / UNFILLED).mkdir(parents=True)
        for entry in renderer.entries(files, renderer.identity(files)):
            if entry.link:
                (folder / entry.path).symlink_to(entry.link)
            elif isinstance(entry.data, bytes):
                (folder / entry.path).write_bytes(entry.data)
        fill(folder, "blue", "s3cret", "shop_postgres_data")
        return folder

    return rendered
