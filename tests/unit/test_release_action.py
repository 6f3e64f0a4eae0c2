"""The bundle that the action plugin writes is the release that was planned, or none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.drydock.stack.plugins.action import release
from ansible_collections.drydock.stack.plugins.module_utils import bundle
from ansible_collections.drydock.stack.plugins.module_utils.bundle import extract_bundle
from ansible_collections.drydock.stack.plugins.module_utils.source import bundled_hash, read_source
from ansible_collections.drydock.stack.plugins.plugin_utils.render import Renderer

FILES = {"main.py": "app = 1\n", "requirements.txt": "fastapi\n", "data/x.txt": "x", "run": "#!/bin/sh\n"}


@pytest.fixture
def planned(tmp_path: Path) -> SimpleNamespace:
    """A release as it was planned, without what its templates give; `write` tells whether it is bundled, `root` is its source."""
    root = tmp_path / "shop"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("data")
    source = read_source(root, ".", "main:app")
    renderer = SimpleNamespace(source=source, files=lambda: {}, identity=lambda files: "0123456789ab", static=list)
    renderer.attributes = lambda path: Renderer.attributes(renderer, path)
    renderer.entries = lambda files, identity: Renderer.entries(renderer, files, identity)
    archive = tmp_path / "release.tar.gz"
    return SimpleNamespace(
        root=root,
        archive=archive,
        source=source,
        write=lambda identity="0123456789ab": release.write_release(archive, renderer, identity),
    )


def test_a_tree_that_stays_is_bundled(planned: SimpleNamespace, tmp_path: Path) -> None:
    assert planned.write()
    assert bundled_hash(planned.archive, "source") == planned.source.content_hash
    extract_bundle(planned.archive, tmp_path / "out")
    assert (tmp_path / "out/source/link/x.txt").read_text() == "x"
    assert os.access(tmp_path / "out/source/run", os.X_OK)


def test_another_release_is_not(planned: SimpleNamespace) -> None:
    assert not planned.write("ba9876543210")


def swap(root: Path) -> None:
    (root / "main.py").unlink()
    (root / "main.py").symlink_to("/etc/shadow")


def replace(root: Path) -> None:
    (root / "data" / "x.txt").unlink()
    (root / "data").rmdir()
    (root / "data").symlink_to("/etc")


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content": lambda root: (root / "main.py").write_text("app = 2\n"),
    "a longer file": lambda root: (root / "main.py").open("a").write("# more\n"),
    "an emptied file": lambda root: os.truncate(root / "main.py", 0),
    "a file that may be run": lambda root: (root / "main.py").chmod(0o755),
    "a file that is gone": lambda root: (root / "main.py").unlink(),
    "a folder that is gone": lambda root: (root / "data").rename(root / "elsewhere"),
    "a folder in place of a file": lambda root: ((root / "main.py").unlink(), (root / "main.py").mkdir()),
    "a symlink in place of a file": swap,
    "a symlink in place of a folder": replace,
    "a link to another place": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("main.py")),
    "a link that leaves": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("/etc")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("late", [False, True], ids=["before it is bundled", "while it is bundled"])
def test_a_tree_that_changes_is_not_bundled(
    planned: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], late: bool
) -> None:
    if late:
        # The first file of the bundle is being written, and what was asked of the others is known.
        add, pending = bundle._add, [change]

        def meanwhile(archive: object, entry: object) -> None:
            while pending:
                pending.pop()(planned.root)
            add(archive, entry)

        monkeypatch.setattr(bundle, "_add", meanwhile)
    else:
        change(planned.root)
    # What is executable and where a link leads is asked before.
    taken = late and change in (
        CHANGES["a file that may be run"],
        CHANGES["a link to another place"],
        CHANGES["a link that leaves"],
    )
    assert planned.write() is taken
    if taken:
        assert bundled_hash(planned.archive, "source") == planned.source.content_hash


def test_what_cannot_be_read_is_told(planned: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(
        AnsibleActionFail, match=r"^The release 0123456789ab cannot be bundled: .*/data/x.txt: Permission denied; "
    ):
        planned.write()
