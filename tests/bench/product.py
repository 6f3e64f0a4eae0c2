"""What the role would bring to a host, rendered into a folder without one."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles" / "fastapi"
HOST = {
    "engine": {"processors": 2, "memory": 4 * 1024**3},
    "front": {"subnet": "172.30.0.0/28", "range": "172.30.0.0/29", "proxy": "172.30.0.14"},
    "services": {},
    "volume": {"major": ""},
}


@cache
def variables() -> dict[str, Any]:
    """Return the role's own variables, as templates."""
    init_plugin_loader([str(ROOT / ".venv" / "collections")])
    found: dict[str, Any] = {"role_path": str(ROLE)}
    for part in ("defaults", "vars"):
        found |= DataLoader().load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True)
    return found


def release(folder: Path, **settings: Any) -> Path:
    """Write the files of a release with these public variables into a folder, in place of what was in it, and return it."""
    given = {**variables(), **settings}
    from ansible_collections.drydock.stack.plugins.module_utils.release import UNFILLED, fill
    from ansible_collections.drydock.stack.plugins.module_utils.source import read_source
    from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer
    from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings

    templar = Templar(loader=DataLoader(), variables=given)
    public = Settings(templar, given)
    source = read_source(Path(public["fastapi_source"]), public["fastapi_workdir"], public["fastapi_app"])
    renderer = Renderer(templar, given, public, HOST, source)
    files = renderer.files()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / UNFILLED).mkdir(parents=True)
    for entry in renderer.entries(files, renderer.identity(files)):
        path = folder / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry.data, bytes):
            path.write_bytes(entry.data)
        else:
            shutil.copyfile(entry.data, path)
        path.chmod(entry.permissions)
    fill(folder, "blue", "s3cret", "app_postgres_data")
    return folder
