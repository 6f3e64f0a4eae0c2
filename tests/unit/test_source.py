"""Reading the source: which files, how it is installed, and what is said when something is missing."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.action.source import warnings
from ansible_collections.drydock.stack.plugins.module_utils import source
from ansible_collections.drydock.stack.plugins.module_utils.source import Source, SourceError, read_source

APP = {"main.py": "app = 1\n", "requirements.txt": "fastapi\n"}


def fill(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def git(folder: Path, *arguments: str) -> str:
    settings = ["user.name=Somebody", "user.email=somebody@example.org", "protocol.file.allow=always", "init.defaultBranch=main"]
    options = [option for setting in settings for option in ("-c", setting)]
    done = subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def checkout(folder: Path, files: dict[str, str]) -> Path:
    fill(folder, files)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=One")
    return folder


def read(root: Path, workdir: str = ".", app: str = "main:app") -> Source:
    return read_source(root, workdir, app)


def refusal(root: Path, workdir: str = ".", app: str = "main:app") -> str:
    with pytest.raises(SourceError) as caught:
        read_source(root, workdir, app)
    return str(caught.value)


# --- Which files ---


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    fill(tmp_path, APP | {"static/a b.txt": "x", "node_modules/x.js": "x", ".gitignore": "static\n"})
    found = read(tmp_path)
    assert found.files == (".gitignore", "main.py", "requirements.txt", "static/a b.txt")
    assert (found.revision, found.dirty, found.remote) == ("", False, "")


def test_a_checkout_without_git_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path, APP)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read(tmp_path)
    assert (found.files, found.revision) == (("main.py", "requirements.txt"), "")


def test_a_checkout(tmp_path: Path) -> None:
    checkout(tmp_path, APP | {"gone.txt": "x", ".gitignore": "*.txt\nbuild/\n", "node_modules/kept.js": "x"})
    git(tmp_path, "add", "--force", "requirements.txt", "gone.txt")
    git(tmp_path, "commit", "--quiet", "--message=Two")
    git(tmp_path, "remote", "add", "origin", "https://me:token@git.example/shop.git?x=1")
    found = read(tmp_path)
    assert found.files == (".gitignore", "gone.txt", "main.py", "node_modules/kept.js", "requirements.txt")
    assert found.revision == git(tmp_path, "rev-parse", "HEAD") and len(found.revision) == 40
    assert (found.dirty, found.remote) == (False, "https://git.example/shop.git")

    (tmp_path / "gone.txt").unlink()
    fill(
        tmp_path,
        {"new.py": "", "ignored.txt": "", "build/x.py": "", "node_modules/new.js": "", "ä\u00a0b.py".replace("\u00a0", " "): ""},
    )
    found = read(tmp_path)
    assert found.files == (".gitignore", "main.py", "new.py", "node_modules/kept.js", "requirements.txt", "ä b.py")
    assert found.dirty


@pytest.mark.parametrize("change", ["modify", "delete", "add", "stage"])
def test_any_change_makes_a_checkout_dirty(tmp_path: Path, change: str) -> None:
    checkout(tmp_path, APP | {"other.py": ""})
    if change == "delete":
        (tmp_path / "other.py").unlink()
    else:
        (tmp_path / ("new.py" if change == "add" else "other.py")).write_text("x")
    if change == "stage":
        git(tmp_path, "add", "--all")
    assert read(tmp_path).dirty


def test_what_is_never_taken_makes_nothing_dirty(tmp_path: Path) -> None:
    checkout(tmp_path, APP)
    fill(tmp_path, {".env": "SECRET=1", "__pycache__/main.pyc": ""})
    found = read(tmp_path)
    assert not found.dirty and len(found.files) == 2


def test_a_folder_of_a_checkout(tmp_path: Path) -> None:
    checkout(tmp_path, {f"services/shop/{name}": text for name, text in APP.items()} | {"other/x.py": ""})
    fill(tmp_path, {"other/x.py": "changed", "other/y.py": "new"})
    found = read(tmp_path / "services" / "shop")
    assert found.files == ("main.py", "requirements.txt")
    assert found.revision and not found.dirty


def test_a_folder_that_the_checkout_around_it_ignores(tmp_path: Path) -> None:
    checkout(tmp_path, {".gitignore": "/shop\n"})
    fill(tmp_path / "shop", APP)
    found = read(tmp_path / "shop")
    assert (found.files, found.revision, found.dirty) == (("main.py", "requirements.txt"), "", False)


def test_a_checkout_without_a_commit(tmp_path: Path) -> None:
    fill(tmp_path, APP)
    git(tmp_path, "init", "--quiet")
    found = read(tmp_path)
    assert (len(found.files), found.revision, found.dirty) == (2, "", True)


def test_submodules_and_checkouts_inside(tmp_path: Path) -> None:
    library = checkout(tmp_path / "library", {"lib.py": "", ".gitignore": "*.tmp\n"})
    root = checkout(tmp_path / "shop", APP)
    git(root, "submodule", "--quiet", "add", str(library), "vendor/lib")
    git(root, "submodule", "--quiet", "add", str(library), "vendor/absent")
    git(root, "commit", "--quiet", "--message=Two")
    git(root, "submodule", "--quiet", "deinit", "vendor/absent")
    assert not read(root).dirty
    checkout(root / "nested", {"nested.py": ""})
    assert read(root).dirty
    shutil.rmtree(root / "nested")
    assert not read(root).dirty
    checkout(root / "nested", {"nested.py": ""})
    fill(root, {"vendor/lib/new.py": "", "vendor/lib/x.tmp": ""})
    found = read(root)
    assert found.files == (
        ".gitmodules",
        "main.py",
        "nested/nested.py",
        "requirements.txt",
        "vendor/lib/.gitignore",
        "vendor/lib/lib.py",
        "vendor/lib/new.py",
    )
    assert found.dirty


def test_the_variables_of_a_git_hook_do_not_mislead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = checkout(tmp_path / "other", {"x.py": ""})
    root = checkout(tmp_path / "shop", APP)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    found = read(root)
    monkeypatch.undo()
    assert (found.files, found.dirty) == (("main.py", "requirements.txt"), False)
    assert found.revision == git(root, "rev-parse", "HEAD") != git(other, "rev-parse", "HEAD")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_checkout_of_another_user(tmp_path: Path) -> None:
    checkout(tmp_path, APP | {".gitignore": "*.tmp\n"})
    (tmp_path / "x.tmp").touch()
    for path in [tmp_path, *tmp_path.rglob("*")]:
        os.chown(path, 12345, 12345)
    found = read(tmp_path)
    assert len(found.revision) == 40 and not found.dirty and len(found.files) == 3


def test_a_command_of_the_checkout_is_not_run(tmp_path: Path) -> None:
    checkout(tmp_path, APP)
    git(tmp_path, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    assert read(tmp_path).files == ("main.py", "requirements.txt")


@pytest.mark.parametrize("key", ["clean", "process"])
@pytest.mark.parametrize("place", [".", "vendor"])
def test_a_filter_of_the_checkout_is_not_run(tmp_path: Path, place: str, key: str) -> None:
    library = checkout(tmp_path / "library", {"lib.py": ""})
    root = checkout(tmp_path / "shop", APP)
    git(root, "submodule", "--quiet", "add", str(library), "vendor")
    git(root, "commit", "--quiet", "--message=Two")
    assert not read(root).dirty
    for name in ("x", "a=b.c"):
        git(root / place, "config", f"filter.{name}.{key}", f"touch {tmp_path}/ran; cat")
        git(root / place, "config", f"filter.{name}.required", "true")
        fill(root / place, {".gitattributes": f"* filter={name}\n", "lib.py" if place == "vendor" else "main.py": "changed\n"})
        assert read(root).dirty
        assert not (tmp_path / "ran").exists()


def test_a_change_in_a_submodule_makes_a_checkout_dirty(tmp_path: Path) -> None:
    library = checkout(tmp_path / "library", {"lib.py": ""})
    root = checkout(tmp_path / "shop", APP)
    git(root, "submodule", "--quiet", "add", str(library), "vendor")
    git(root, "commit", "--quiet", "--message=Two")
    fill(root, {"vendor/lib.py": "changed"})
    assert read(root).dirty
    git(root / "vendor", "commit", "--quiet", "--all", "--message=Three")
    assert read(root).dirty


def test_a_damaged_checkout_is_refused(tmp_path: Path) -> None:
    checkout(tmp_path, APP)
    (tmp_path / ".git" / "index").write_bytes(b"nonsense")
    assert re.fullmatch(
        r"git cannot read fastapi_source \(.*\): .*; mend the checkout, or give a copy of it\.", refusal(tmp_path)
    )


LITTER = [
    ".env",
    ".env.production",
    ".envrc",
    ".ENV",
    "a/b/.env",
    "tls/server.pem",
    "tls/server.KEY",
    ".ssh/config",
    "deploy/id_ed25519",
    ".netrc",
    "__pycache__/main.cpython-311.pyc",
    "a/b.pyc",
    "app.log",
    "app.log.1",
    ".venv/bin/python",
    "venv/x.py",
    "environment/pyvenv.cfg",
    "environment/bin/activate",
    "lib/python3.11/site-packages/x.py",
    ".pytest_cache/x",
    ".git-credentials",
    ".vault_pass",
]
KEPT = [
    "a/logs/__init__.py",
    "a/env/__init__.py",
    "a/key.py",
    "logging.py",
    "monkey",
    ".github/x.yml",
    "app.log.py",
    "a/environment/x.py",
]


@pytest.mark.parametrize("tracked", [True, False])
def test_never(tmp_path: Path, tracked: bool) -> None:
    names = dict.fromkeys([*LITTER, *KEPT], "")
    if tracked:
        checkout(tmp_path, APP | names)
    else:
        fill(tmp_path, APP | names)
    assert sorted(read(tmp_path).files) == sorted([*KEPT, *APP])


@pytest.mark.parametrize("tracked", [True, False])
def test_secrets_that_lie_around_are_named(tmp_path: Path, tracked: bool) -> None:
    made = [
        ".venv/cacert.pem",
        "node_modules/a/b.key",
        "e/pyvenv.cfg",
        "e/lib/cacert.pem",
        "b/.env/pyvenv.cfg",
        "__pycache__/.env.pyc",
    ]
    lying = [".env", "a/.ENV.production", "b/.aws/config", "tls/server.key", "deploy/id_ed25519", "a\tb.pem"]
    names = dict.fromkeys([*lying, *made, "a/.env.example", "ignored.pem"], "s3cret")
    if tracked:
        checkout(tmp_path, APP | names | {".gitignore": "ignored.pem\n"})
    else:
        fill(tmp_path, APP | names)
        (tmp_path / "ignored.pem").unlink()
    found = read(tmp_path)
    assert sorted({*found.files} - {".gitignore"}) == sorted(APP)
    folder = ["b/.aws"] if not tracked else ["b/.aws/config"]
    assert found.secrets == tuple(
        sorted([*folder, ".env", "a/.ENV.production", "tls/server.key", "deploy/id_ed25519", "a\\tb.pem"])
    )


def test_secrets_that_lie_around_are_warned_of() -> None:
    assert warnings(()) == []
    (said,) = warnings((".env", "b.pem"))
    assert said == (
        "fastapi_source holds .env, b.pem; no release takes such files along: hand secrets over in fastapi_env "
        "or fastapi_build_secrets, and have git ignore the files."
    )
    assert "e.pem and 2 more; " in warnings(tuple(f"{letter}.pem" for letter in "abcdefg"))[0]


def test_never_is_of_the_notation_of_dockerignore() -> None:
    assert all(re.fullmatch(r"\*\*/[^/!]+", pattern) for pattern in (*source.NEVER, *source.UNTRACKED))


def test_no_socket_and_no_pipe(tmp_path: Path) -> None:
    fill(tmp_path, APP)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        assert read(tmp_path).files == ("main.py", "requirements.txt")


@pytest.mark.parametrize("tracked", [True, False])
def test_symlinks_within(tmp_path: Path, tracked: bool) -> None:
    root = fill(tmp_path / "shop", APP | {"data/x.txt": "x"})
    (root / "link.txt").symlink_to("data/x.txt")
    (root / "data" / "up").symlink_to("..")
    (root / "broken").symlink_to("nowhere")
    if tracked:
        checkout(root, {})
    (tmp_path / "link").symlink_to(root)
    found = read(tmp_path / "link")
    assert found.files == ("broken", "data/up", "data/x.txt", "link.txt", "main.py", "requirements.txt")
    assert found.root == root


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "data/up/../outside", "deep/../../main.py", "{root}/main.py"])
def test_symlinks_that_leave_are_refused(tmp_path: Path, target: str) -> None:
    root = fill(tmp_path / "shop", APP | {"data/x.txt": "x"})
    (root / "data" / "up").symlink_to("..")
    (root / "data" / "a").mkdir()
    (root / "deep").symlink_to("data/a")
    target = target.format(root=root)
    (root / "link").symlink_to(target)
    assert refusal(root) == (
        f"fastapi_source holds the symlink link to {target}, which leaves the source; "
        "use a relative one within it, a copy in its place, or have git ignore it."
    )


def test_a_folder_that_became_a_symlink(tmp_path: Path) -> None:
    checkout(tmp_path, APP | {"a/x.py": "", "b/x.py": ""})
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "a").symlink_to("b")
    assert read(tmp_path).files == ("a", "b/x.py", "main.py", "requirements.txt")


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9", b"a\x1bb"])
def test_names_that_cannot_travel_are_refused(tmp_path: Path, name: bytes, tracked: bool) -> None:
    fill(tmp_path, APP)
    (tmp_path / os.fsdecode(name)).touch()
    if tracked:
        checkout(tmp_path, {})
    said = refusal(tmp_path)
    assert said.startswith(f"fastapi_source holds {os.fsdecode(name)!a}, whose name") and said.isprintable()


def test_a_folder_without_files(tmp_path: Path) -> None:
    fill(tmp_path, {".env": ""})
    assert refusal(tmp_path).startswith(f"fastapi_source is {tmp_path}, which holds no file to deploy; ")
    assert refusal(tmp_path / "x").startswith(f"fastapi_source is {tmp_path}/x, which does not exist; ")
    assert refusal(tmp_path / ".env").startswith(f"fastapi_source is {tmp_path}/.env, which is no folder; ")


@pytest.mark.parametrize("workdir", ["../x", "/srv", "", "a/../../x"])
def test_workdir_stays_inside(tmp_path: Path, workdir: str) -> None:
    fill(tmp_path, APP)
    assert refusal(tmp_path, workdir).startswith(f"fastapi_workdir is {workdir!r}; ")


def test_a_workdir_that_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path, {f"backend/{name}": text for name, text in APP.items()})
    assert refusal(tmp_path, "frontend") == (
        f"fastapi_workdir is frontend, and {tmp_path} has no such folder; "
        "use a folder of the source: backend, or . for all of it."
    )


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    fill(tmp_path, APP)
    with (tmp_path / "model.bin").open("wb") as file:
        file.truncate(source.LARGEST_FILE + 10**6)
    assert refusal(tmp_path) == (
        "fastapi_source holds model.bin with 501 MB, and a release takes files of up to 500 MB along; "
        "have git ignore it, and let the application fetch it."
    )
    os.truncate(tmp_path / "model.bin", source.LARGEST_FILE)
    assert "model.bin" in read(tmp_path).files


@pytest.mark.parametrize("tracked", [True, False])
def test_folders_without_an_end_are_refused(tmp_path: Path, tracked: bool) -> None:
    fill(tmp_path, APP)
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1500):
            os.mkdir("d", dir_fd=here)
            here, before = os.open("d", os.O_RDONLY, dir_fd=here), here
            os.close(before)
        os.close(os.open("x", os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)
    if tracked:
        checkout(tmp_path, {})
    try:
        said = refusal(tmp_path)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert said.startswith("fastapi_source holds 'd/d/") and said.endswith(
        ", and a release takes paths of up to 1000 bytes along; move it up, or have git ignore it."
    )


def test_what_goes_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, APP)
    readable = Path.read_text

    def gone(path: Path, *arguments: str) -> str:
        path.unlink()
        return readable(path, *arguments)

    monkeypatch.setattr(Path, "read_text", gone)
    assert refusal(tmp_path) == (
        f"fastapi_source is {tmp_path}, and {tmp_path}/requirements.txt in it cannot be read: No such file or directory; "
        "give read access to it, and leave it as it is meanwhile."
    )


# --- The hash ---


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    root = fill(tmp_path / "shop", APP | {"data/x": "1"})
    (root / "link").symlink_to("data")
    seen = [read(root).content_hash]
    assert re.fullmatch(r"[0-9a-f]{64}", seen[0])

    def changed() -> bool:
        seen.append(read(root).content_hash)
        return seen[-1] not in seen[:-1]

    (root / "data" / "x").write_text("2")
    assert changed()
    (root / "data" / "x").chmod(0o755)
    assert changed()
    (root / "data" / "x").rename(root / "data" / "y")
    assert changed()
    (root / "link").unlink()
    (root / "link").symlink_to("data/y")
    assert changed()
    (root / "link").unlink()
    (root / "link").write_text("data/y")
    (root / "link").chmod(0o755)
    assert changed()


def test_the_hash_follows_nothing_else(tmp_path: Path) -> None:
    one = fill(tmp_path / "one", APP)
    two = checkout(tmp_path / "two", APP)
    os.utime(two / "main.py", (0, 0))
    (two / "main.py").chmod(0o600)
    assert read(one).content_hash == read(two).content_hash


# --- How it is installed ---

PROJECT = '[project]\nname = "shop"\n'
BUILD = '[build-system]\nrequires = ["hatchling"]\n'
LOCK = """
[[package]]
name = "idna"
source = {{ registry = "https://packages.example/simple" }}
dependencies = [{{ name = "shop" }}]

[[package]]
name = "shop"
source = {{ {kind} = "." }}
dependencies = [{{ name = "idna" }}]
"""
WORKSPACE = {
    "pyproject.toml": '[tool.uv.workspace]\nmembers = ["services/*", "libs/**"]\nexclude = ["services/old"]\n',
    "services/shop/pyproject.toml": PROJECT,
    "services/shop/main.py": "",
    "libs/common/pyproject.toml": PROJECT.replace("shop", "common") + BUILD,
    "libs/common/common.py": "",
    "tools/pyproject.toml": PROJECT.replace("shop", "tools"),
    "tools/tools.py": "",
    "uv.lock": """
[manifest]
members = ["common", "shop"]

[[package]]
name = "common"
source = { editable = "libs/common" }

[[package]]
name = "shop"
source = { virtual = "services/shop" }
dependencies = [{ name = "common" }]

[[package]]
name = "tools"
source = { directory = "tools" }
dependencies = [{ name = "tools" }]
""",
}


def installed(found: Source) -> tuple[str, str, str, tuple[str, ...], str, bool]:
    return (found.installer, found.project, found.lock, found.members, found.package, found.packaged)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"requirements.txt": ""}, ("requirements.txt", ".", "", ("requirements.txt",), "", False)),
        ({"pyproject.toml": PROJECT}, ("pyproject.toml", ".", "", ("pyproject.toml",), "", False)),
        ({"pyproject.toml": PROJECT + BUILD}, ("pyproject.toml", ".", "", ("pyproject.toml",), "", True)),
        (
            {"pyproject.toml": PROJECT, "requirements.txt": "", "uv.toml": ""},
            ("requirements.txt", ".", "", ("requirements.txt", "uv.toml"), "", False),
        ),
        (
            {"pyproject.toml": "[tool.uv]\nindex-url = 'x'\n", "requirements.txt": ""},
            ("requirements.txt", ".", "", ("pyproject.toml", "requirements.txt"), "", False),
        ),
        (
            {"pyproject.toml": PROJECT, "requirements.txt": "", "uv.lock": LOCK.format(kind="virtual")},
            ("uv.lock", ".", ".", ("pyproject.toml", "uv.lock"), "", False),
        ),
        (
            {"pyproject.toml": PROJECT, "uv.toml": "", "uv.lock": LOCK.format(kind="editable")},
            ("uv.lock", ".", ".", ("pyproject.toml", "uv.lock", "uv.toml"), "", True),
        ),
        (
            {"pyproject.toml": PROJECT, "uv.lock": LOCK.format(kind="directory")},
            ("uv.lock", ".", ".", ("pyproject.toml", "uv.lock"), "", True),
        ),
        # A lock that belongs to nothing is none.
        ({"requirements.txt": "", "uv.lock": ""}, ("requirements.txt", ".", "", ("requirements.txt",), "", False)),
        (
            {"pyproject.toml": "[tool.ruff]\n", "requirements.txt": "", "uv.lock": ""},
            ("requirements.txt", ".", "", ("requirements.txt",), "", False),
        ),
    ],
)
def test_what_is_installed(tmp_path: Path, files: dict[str, str], expected: tuple[str, ...]) -> None:
    assert installed(read(fill(tmp_path, files | {"main.py": ""}))) == expected


def test_what_is_installed_is_nearest_going_up(tmp_path: Path) -> None:
    fill(tmp_path, {"requirements.txt": "", "a/b/main.py": "", "a/pyproject.toml": "[tool.ruff]\n", "a/b/alembic.ini": ""})
    found = read(tmp_path, "./a/b/")
    assert (found.workdir, found.project, found.module_root, found.migrations != "") == ("a/b", ".", "a/b", True)
    fill(tmp_path, {"a/pyproject.toml": PROJECT})
    assert (read(tmp_path, "a/b").project, read(tmp_path, "a/b").installer) == ("a", "pyproject.toml")


def test_a_package_of_a_workspace(tmp_path: Path) -> None:
    fill(tmp_path, WORKSPACE)
    assert installed(read(tmp_path, "services/shop")) == (
        "uv.lock",
        "services/shop",
        ".",
        (
            "libs/common/pyproject.toml",
            "pyproject.toml",
            "services/shop/pyproject.toml",
            "tools/pyproject.toml",
            "tools/tools.py",
            "uv.lock",
        ),
        "shop",
        True,
    )


def test_a_project_that_the_lock_above_does_not_cover(tmp_path: Path) -> None:
    fill(tmp_path, WORKSPACE | {"services/old/pyproject.toml": PROJECT, "services/old/main.py": ""})
    assert installed(read(tmp_path, "services/old"))[:3] == ("pyproject.toml", "services/old", "")


def test_a_lock_that_is_behind_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, WORKSPACE | {"services/new/pyproject.toml": PROJECT, "libs/a/b/pyproject.toml": PROJECT})
    assert refusal(tmp_path, "services/new") == "uv.lock of fastapi_source does not know services/new; run `uv lock` there."
    assert refusal(tmp_path, "libs/a/b") == "uv.lock of fastapi_source does not know libs/a/b; run `uv lock` there."


def test_a_workspace_without_a_project_is_refused(tmp_path: Path) -> None:
    assert refusal(fill(tmp_path, WORKSPACE)) == (
        "pyproject.toml of fastapi_source is a workspace without a project of its own; "
        "set fastapi_workdir to one of its members: libs/common, services/shop."
    )


def test_what_a_lock_needs_and_is_not_there_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, WORKSPACE)
    (tmp_path / "libs" / "common" / "pyproject.toml").unlink()
    assert refusal(tmp_path, "services/shop").startswith(
        "uv.lock of fastapi_source needs the folder libs/common, which is not in "
    )
    fill(tmp_path, WORKSPACE | {"uv.lock": WORKSPACE["uv.lock"] + '[[package]]\nname = "w"\nsource = { path = "w.whl" }\n'})
    assert refusal(tmp_path, "services/shop") == "uv.lock of fastapi_source names w.whl, which is not in the source; add it."
    fill(tmp_path, {"w.whl": ""})
    assert "w.whl" in read(tmp_path, "services/shop").members


def test_requirements_that_include_others(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "main.py": "",
            "requirements.txt": "# -r comment.txt\n-r requirements/base.txt # why\n--requirement=dev.txt\n-cpins.txt\n"
            "./wheels/a.whl[x] ; python_version > '3'\ngit+https://git.example/x\n-e git+https://git.example/x\n"
            "--extra-index-url https://packages.example\nfastapi \\\n  --hash=sha256:1\n",
            "requirements/base.txt": "-r ../requirements.txt\n--find-links ../wheels\n",
            "dev.txt": "",
            "pins.txt": "",
            "wheels/a.whl": "\xff",
            "wheels/b.whl": "",
        },
    )
    assert read(tmp_path).members == (
        "dev.txt",
        "pins.txt",
        "requirements.txt",
        "requirements/base.txt",
        "wheels/a.whl",
        "wheels/b.whl",
    )


INDEX = "https://me:hunter2@packages.example/simple"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"requirements.txt": f"--index-url {INDEX}\nfastapi\n"}, "requirements.txt"),
        ({"requirements.txt": f"fastapi\n# -i {INDEX}\n"}, "requirements.txt"),
        ({"requirements.txt": "-r more/base.in\n", "more/base.in": f"--extra-index-url={INDEX}\n"}, "more/base.in"),
        ({"requirements.txt": f"shop @ git+{INDEX}\n"}, "requirements.txt"),
        ({"requirements.txt": "", "uv.toml": f"index-url = '{INDEX}'\n"}, "uv.toml"),
        ({"pyproject.toml": f"{PROJECT}[[tool.uv.index]]\nurl = '{INDEX}'\n"}, "pyproject.toml"),
        ({"pyproject.toml": PROJECT, "uv.lock": LOCK.format(kind="virtual") + f"# {INDEX}\n"}, "uv.lock"),
    ],
)
def test_a_password_of_an_index_is_refused_and_not_told(tmp_path: Path, files: dict[str, str], name: str) -> None:
    said = refusal(fill(tmp_path, files | {"main.py": ""}))
    assert said == (
        f"{name} of fastapi_source holds a password in the URL of packages.example, which ends in the image and on every host; "
        "take it out, and give it as netrc in fastapi_build_secrets."
    )


def test_a_url_without_a_password_is_taken(tmp_path: Path) -> None:
    lines = [
        "--index-url https://me@packages.example/simple",
        "--extra-index-url https://${USER}:${TOKEN}@packages.example/simple",
        "a @ git+ssh://git@git.example:2222/a@v1",
        "b @ https://files.example:8443/b@1.whl",
        "# postgresql://me:hunter2@db/shop",
    ]
    assert read(fill(tmp_path, {"main.py": "", "requirements.txt": "\n".join(lines)})).members == ("requirements.txt",)


@pytest.mark.parametrize(
    ("files", "hashed"),
    [
        ({"requirements.txt": "fastapi==1\n"}, False),
        ({"requirements.txt": "fastapi==1 --hash=sha256:0\n"}, True),
        ({"requirements.txt": "starlette==1\nfastapi==1 \\\n    --hash sha256:0\n"}, True),
        ({"requirements.txt": "# fastapi==1 --hash=sha256:0\n"}, False),
        ({"requirements.txt": "-r base.txt\n", "base.txt": "fastapi==1 --hash=sha256:0\n"}, True),
        ({"requirements.txt": "-c base.txt\nfastapi\n", "base.txt": "fastapi==1 --hash=sha256:0\n"}, False),
        ({"pyproject.toml": PROJECT}, False),
    ],
)
def test_whether_there_are_hashes(tmp_path: Path, files: dict[str, str], hashed: bool) -> None:
    assert read(fill(tmp_path, files | {"main.py": ""})).hashed is hashed


def test_requirements_that_need_what_is_not_there_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"main.py": "", "requirements.txt": "-r base.txt\n"})
    assert refusal(tmp_path) == "requirements.txt of fastapi_source names base.txt, which is not in the source; add it."
    for line in ("-e .", "--editable=.[dev]", "./lib"):
        fill(tmp_path, {"requirements.txt": f"fastapi\n{line}\n", "lib/setup.py": ""})
        assert refusal(tmp_path).startswith("requirements.txt of fastapi_source installs the folder ")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"main.py": "", "pyproject.toml": "[project\n"})
    assert refusal(tmp_path).startswith("pyproject.toml of fastapi_source is no valid TOML: ")
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "requirements.txt").write_text("fastapi\n", "utf-16")
    assert refusal(tmp_path) == "requirements.txt of fastapi_source is not UTF-8; save it as UTF-8."


@pytest.mark.parametrize("name", ["shop; touch /ran", "shop\\nUSER root", "$(id)", "-e", ""])
def test_a_name_that_would_be_a_command_is_refused(tmp_path: Path, name: str) -> None:
    lock = WORKSPACE["uv.lock"].replace('name = "shop"\nsource', f'name = "{name}"\nsource')
    fill(tmp_path, WORKSPACE | {"uv.lock": lock})
    assert re.fullmatch(
        r"uv\.lock of fastapi_source has the package '.*', which is no name of one; "
        r"use letters, digits and \. _ - alone, and run `uv lock`\.",
        refusal(tmp_path, "services/shop"),
    )


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": "tool = 3\n[project]\n"},
        {"pyproject.toml": "project = []\ntool = [1]\n", "uv.lock": "package = 5\n"},
        {"pyproject.toml": PROJECT, "uv.lock": "[[package]]\nsource = { virtual = '.' }\n"},
        {"pyproject.toml": PROJECT, "uv.lock": "[[package]]\nname = 5\nsource = { virtual = '.' }\n"},
        {"pyproject.toml": PROJECT, "uv.lock": "[[package]]\nname = 'shop'\nsource = { virtual = 5 }\n"},
        {"pyproject.toml": PROJECT + "[tool.uv]\nworkspace = 1\n", "uv.lock": "package = ['shop']\n"},
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    said = refusal(fill(tmp_path, files | {"main.py": ""}))
    assert re.fullmatch(
        r"pyproject\.toml or uv\.lock of fastapi_source is not built as such a file is \(.+\); have uv write it\.", said
    )


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"main.py": "", "requirements.txt": "./a\0b\n"})
    (tmp_path / "link").symlink_to("main.py")
    assert refusal(tmp_path) == "requirements.txt of fastapi_source holds a NUL character; save it as text."
    fill(tmp_path, {"pyproject.toml": f"a = {'[' * 5000}{']' * 5000}\n"})
    assert refusal(tmp_path) == "pyproject.toml of fastapi_source holds lists within lists without an end; mend it."


def test_nothing_to_install_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, {"main.py": "", "a/main.py": "", "pyproject.toml": "[tool.ruff]\n", "b/requirements-prod.txt": ""})
    assert refusal(tmp_path, "a") == (
        "fastapi_source has no requirements.txt and no pyproject.toml with a table [project]; looked in: a, its top. "
        "Add one, or set fastapi_workdir; similar are: b/requirements-prod.txt, pyproject.toml."
    )


# --- The module ---


@pytest.mark.parametrize(
    ("name", "root"),
    [("shop/main.py", "."), ("shop/main/__init__.py", "."), ("src/shop/main.py", "src"), ("src/shop/main/__init__.py", "src")],
)
def test_the_module_is_found(tmp_path: Path, name: str, root: str) -> None:
    fill(tmp_path, {"requirements.txt": "", name: ""})
    assert read(tmp_path, app="shop.main:app").module_root == root


def test_the_module_is_found_through_a_symlink(tmp_path: Path) -> None:
    fill(tmp_path, {"requirements.txt": "", "code/main.py": ""})
    (tmp_path / "shop").symlink_to("code")
    assert read(tmp_path, app="shop.main:app").module_root == "."


def test_a_module_that_is_missing_is_refused(tmp_path: Path) -> None:
    looked = "looked for: api/main.py, api/main/__init__.py, api/src/main.py, api/src/main/__init__.py."
    fill(tmp_path, {"requirements.txt": "", "api/x.py": "", ".env/main.py": ""})
    said = "fastapi_app is main:app, and the source has no module main; "
    assert refusal(tmp_path, "api") == f"{said}{looked} Give the module that makes the application, as module:attribute."
    fill(
        tmp_path,
        {
            "api/src/shop/__init__.py": "api: FastAPI = FastAPI(\n",
            "api/server.py": "import fastapi\n\napp = fastapi.FastAPI()\n",
            "other/pkg/__init__.py": "",
            "other/pkg/web.py": "application = FastAPI()\n",
        },
    )
    assert refusal(tmp_path, "api") == (
        f"{said}{looked} Use the one that is meant: fastapi_app: server:app, fastapi_app: shop:api, "
        "fastapi_workdir: other with fastapi_app: pkg.web:application."
    )


def test_a_module_that_git_ignores_is_missing(tmp_path: Path) -> None:
    checkout(tmp_path, APP | {".gitignore": "main.py\n"})
    git(tmp_path, "rm", "--quiet", "--cached", "--ignore-unmatch", "main.py")
    said = refusal(tmp_path)
    assert "has no module main;" in said
    assert " main.py is there, but git ignores it or no release holds such a file. " in said
    fill(tmp_path, {".gitignore": "*.txt\n"})
    git(tmp_path, "rm", "--quiet", "--cached", "requirements.txt")
    assert " requirements.txt is there, but git ignores it" in refusal(tmp_path)


@pytest.mark.parametrize("way", ["core.sshCommand", "remote.origin.uploadpack"])
def test_a_checkout_that_lacks_objects_has_no_command_run_to_fetch_them(tmp_path, way):
    folder, ran = checkout(tmp_path / "app", APP), tmp_path / "ran"
    command = f"sh -c 'touch {ran}'"
    origin = "ssh://git.example/app" if way == "core.sshCommand" else str(tmp_path)
    given = {"remote.origin.url": origin, "remote.origin.promisor": "true", "extensions.partialClone": "origin", way: command}
    for name, value in {"core.repositoryFormatVersion": "1", "protocol.allow": "always", **given}.items():
        git(folder, "config", name, value)
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    (folder / "main.py").write_text("edited = True\n")
    assert refusal(folder).startswith(f"git cannot read fastapi_source ({folder}): ")
    assert not ran.exists()


def test_a_remote_that_is_no_url_is_left_out(tmp_path):
    folder = checkout(tmp_path, APP)
    git(folder, "config", "remote.origin.url", "http://[x")
    assert read(folder).remote == ""
