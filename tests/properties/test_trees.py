"""Whatever a source holds, what is bundled is its files and nothing else; whatever a bundle holds, it stays in its folder."""

from __future__ import annotations

import io
import os
import re
import socket
import stat
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.module_utils.bundle import BundleError, Entry, extract_bundle, write_bundle
from ansible_collections.drydock.stack.plugins.module_utils.source import SourceError, bundled_hash, read_source
from hypothesis import given
from hypothesis import strategies as st

Shape = Callable[[Path], object]
LONG = "n" * 251 + ".txt"
OUTSIDE = "s3cret of the controller"


def put(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sparse(path: Path, size: int) -> None:
    put(path)
    os.truncate(path, size)


def listening(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as opened:
        # Its path is to be short.
        opened.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


def many(root: Path, count: int) -> None:
    for number in range(count):
        put(root / f"{number % 50}" / f"{number}.txt", str(number))


def circle(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (root / "self").symlink_to("self")
    put(root / "d" / "x")
    (root / "d" / "up").symlink_to("..")


def device(root: Path) -> None:
    try:
        os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


# What is bundled beside the application, by the shape of the tree.
TAKEN: dict[str, tuple[Shape, list[str]]] = {
    "nothing more": (lambda root: None, []),
    "a pipe": (lambda root: os.mkfifo(root / "pipe"), []),
    "a socket": (lambda root: listening(root / "socket"), []),
    "a device": (device, []),
    "names that are options": (lambda root: (put(root / "-rf"), put(root / "--" / "-x")), ["--/-x", "-rf"]),
    "names with syntax": (
        lambda root: put(root / "$(id)" / "`a` 'b' \"c\" *?[d]\\{{ e }}#"),
        ["$(id)/`a` 'b' \"c\" *?[d]\\{{ e }}#"],
    ),
    "names of 255 bytes": (lambda root: put(root / LONG / LONG), [f"{LONG}/{LONG}"]),
    "a long path": (lambda root: put(root / "/".join(["d" * 99] * 9) / "x"), ["/".join(["d" * 99] * 9) + "/x"]),
    "names of other scripts": (lambda root: put(root / "é" / "e\u0301" / "ﬁ😀"), ["é/e\u0301/ﬁ😀"]),
    "names that differ in case": (lambda root: (put(root / "a"), put(root / "A")), ["A", "a"]),
    "names that differ in their composition": (lambda root: (put(root / "é"), put(root / "e\u0301")), ["e\u0301", "é"]),
    "a hard link": (lambda root: (put(root / "a"), os.link(root / "a", root / "b")), ["a", "b"]),
    "a hard link to a file outside": (lambda root: os.link(root.parent / "outside", root / "b"), ["b"]),
    "circular symlinks": (circle, ["a", "b", "d/up", "d/x", "self"]),
    "a sparse file": (lambda root: sparse(root / "s", 20 * 2**20), ["s"]),
    "secrets": (lambda root: [put(root / name) for name in (".env", "a/id_rsa", "b/x.pem", ".ssh/config", ".netrc")], []),
    "empty folders": (lambda root: (root / "a" / "b").mkdir(parents=True), []),
    "50,000 files": (lambda root: many(root, 50000), [f"{number % 50}/{number}.txt" for number in range(50000)]),
}
# What is refused, by the shape, with what the message begins with.
REFUSED: dict[str, tuple[Shape, str]] = {
    "a symlink outside": (
        lambda root: (root / "a").symlink_to("../outside"),
        "fastapi_source holds the symlink a to ../outside,",
    ),
    "an absolute symlink": (
        lambda root: (root / "a").symlink_to("/etc/passwd"),
        "fastapi_source holds the symlink a to /etc/passwd,",
    ),
    "an absolute symlink inside": (
        lambda root: (root / "a").symlink_to(root / "main.py"),
        "fastapi_source holds the symlink a to /",
    ),
    "a symlink outside behind another": (
        lambda root: ((root / "here").symlink_to("."), (root / "x").symlink_to("here/../outside")),
        "fastapi_source holds the symlink x to here/../outside,",
    ),
    "a circle by way of outside": (
        lambda root: (root / "a").symlink_to(f"../{root.name}/a"),
        "fastapi_source holds the symlink a to ../",
    ),
    "a line break in a name": (lambda root: put(root / "a\nb"), "fastapi_source holds 'a\\nb',"),
    "invalid UTF-8 in a name": (lambda root: put(root / os.fsdecode(b"\xff")), "fastapi_source holds '\\udcff',"),
    "a mark of direction in a name": (lambda root: put(root / "a\u202eb"), "fastapi_source holds 'a\\u202eb',"),
    "a path without an end": (lambda root: put(root / "/".join(["d" * 99] * 11) / "x"), "fastapi_source holds 'ddd"),
    "a sparse file of 2 GB": (lambda root: sparse(root / "big", 2 * 10**9), "fastapi_source holds big with 2000 MB,"),
}
TRACKED = pytest.mark.parametrize("tracked", [False, True], ids=["folder", "checkout"])


def tree(folder: Path, shape: Shape, tracked: bool) -> Path:
    put(folder / "outside", OUTSIDE)
    root = folder / "shop"
    put(root / "main.py")
    put(root / "requirements.txt", "fastapi\n")
    shape(root)
    if tracked:
        subprocess.run(["git", "init", "--quiet", root], check=True)
    return root


@TRACKED
@pytest.mark.parametrize(("shape", "names"), TAKEN.values(), ids=TAKEN.keys())
def test_what_is_bundled_is_the_files_of_the_source(
    tmp_path, tally: Counter[str], shape: Shape, names: list[str], tracked: bool
) -> None:
    tally["shapes of trees that are taken"] += 1
    root = tree(tmp_path, shape, tracked)
    source = read_source(root, ".", "main:app")
    assert source.files == tuple(sorted([*names, "main.py", "requirements.txt"]))
    entries = [
        Entry(f"source/{name}", link=str((root / name).readlink()))
        if (root / name).is_symlink()
        else Entry(f"source/{name}", root / name)
        for name in source.files
    ]
    write_bundle(tmp_path / "bundle", entries)
    assert bundled_hash(tmp_path / "bundle", "source") == source.content_hash
    extract_bundle(tmp_path / "bundle", tmp_path / "release")
    for name in source.files:
        one, other = root / name, tmp_path / "release" / "source" / name
        assert one.is_symlink() == other.is_symlink()
        assert one.readlink() == other.readlink() if one.is_symlink() else one.read_bytes() == other.read_bytes()
    found = [path for path in (tmp_path / "release").rglob("*") if path.is_symlink() or not path.is_dir()]
    assert len(found) == len(source.files) and all(path.lstat().st_nlink == 1 for path in found)
    assert read_source(tmp_path / "release" / "source", ".", "main:app").content_hash == source.content_hash


@TRACKED
@pytest.mark.parametrize(("shape", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_bundled_is_refused(tmp_path, tally: Counter[str], shape: Shape, message: str, tracked: bool) -> None:
    tally["shapes of trees that are refused"] += 1
    root = tree(tmp_path, shape, tracked)
    with pytest.raises(SourceError) as caught:
        read_source(root, ".", "main:app")
    said = str(caught.value)
    assert said.startswith(message) and re.search(r"; (rename|use|move|have git) .*\.$", said)
    assert said.isprintable() and OUTSIDE not in said


# --- Bundles that are made by hand ---

PART = st.sampled_from(["a", "b", "c", ".", "..", "", "-rf", "a\n", "\udcff", "n" * 256])
NAME = st.lists(PART, min_size=1, max_size=3).map("/".join) | st.sampled_from(["/", "/a", "../outside", "a/../../outside"])
TARGET = NAME | st.sampled_from([".", "..", "a/..", "b/..", "../..", "/etc", "a", "b"])
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
# The first three make most of them, so that some get far.
MEMBER = st.tuples(st.sampled_from(KINDS[:3] * 3 + KINDS), NAME | st.sampled_from("abc"), TARGET)
CHAINS = [("a", "."), ("b", "a/.."), ("a/c", "x"), ("b/c", "x"), ("c", "b/outside")]


def handmade(path: Path, members: list[tuple[bytes, str, str]]) -> None:
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for kind, name, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.linkname = kind, 0o6777, target
            member.size = len(OUTSIDE) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(OUTSIDE.encode()[::-1]))


def state(folder: Path) -> list[tuple[str, int, bytes]]:
    return [
        (str(path.relative_to(folder)), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if folder / "releases" / "one" not in (path, *path.parents)
    ]


def test_a_bundle_that_is_made_by_hand_stays_in_its_folder(tmp_path_factory, steady, tally: Counter[str]) -> None:
    tally["properties"] += 1

    @steady(400)
    @given(
        st.lists(MEMBER, max_size=5) | st.permutations([(tarfile.SYMTYPE, *link) for link in CHAINS]).map(lambda drawn: drawn[:3])
    )
    def stays(members: list[tuple[bytes, str, str]]) -> None:
        tally["examples"] += 1
        folder = tmp_path_factory.mktemp("host")
        put(folder / "outside", OUTSIDE)
        put(folder / "releases" / "outside", OUTSIDE)
        before = state(folder)
        handmade(folder.with_suffix(".gz"), members)
        place = folder / "releases" / "one"
        try:
            extract_bundle(folder.with_suffix(".gz"), place)
        except (BundleError, OSError):
            tally["bundles refused"] += 1
        else:
            tally["bundles extracted"] += 1
            for path in place.rglob("*"):
                mode = path.lstat().st_mode
                assert stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
                assert stat.S_ISLNK(mode) or not mode & 0o7000
                assert os.path.realpath(path).startswith(os.path.realpath(place))
        assert state(folder) == before

    stays()
