"""The bundle: the same bytes for the same content, and nothing but its files at the other end."""

from __future__ import annotations

import ast
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import bundle
from ansible_collections.drydock.stack.plugins.module_utils.bundle import (
    BundleError,
    Entry,
    bundle_hash,
    extract_bundle,
    write_bundle,
)
from hypothesis import given
from hypothesis import strategies as st

PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda part: part not in (".", "..")
)
CONTENT = st.tuples(st.binary(max_size=300), st.booleans())


def entries(folder: Path) -> list[Entry]:
    (folder / "file").write_bytes(b"from a file")
    return [
        Entry("compose.yaml", b"name: shop\n"),
        Entry(".env", b"A=1\n", mode=0o600),
        Entry("source/a/run", folder / "file", executable=True),
        Entry("source/a-b", b""),
        Entry("source/link", link="a/run"),
        Entry("source/a/up", link="../.."),
        Entry("source/ä " + "x" * 200, b"long"),
    ]


def test_what_is_written_is_extracted(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b.tar.gz", entries(tmp_path))
    mask = os.umask(0o077)
    try:
        extract_bundle(tmp_path / "b.tar.gz", tmp_path / "new" / "release")
    finally:
        os.umask(mask)
    root = tmp_path / "new" / "release"
    found = {}
    for path in root.rglob("*"):
        mode = stat.S_IMODE(path.lstat().st_mode)
        content: Any = None if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(root))] = str(path.readlink()) if path.is_symlink() else (content, mode)
    assert found == {
        ".env": (b"A=1\n", 0o600),
        "compose.yaml": (b"name: shop\n", 0o644),
        "source": (None, 0o755),
        "source/a": (None, 0o755),
        "source/a-b": (b"", 0o644),
        "source/a/run": (b"from a file", 0o755),
        "source/a/up": "../..",
        "source/link": "a/run",
        "source/ä " + "x" * 200: (b"long", 0o644),
    }


@given(st.dictionaries(PART, CONTENT | st.dictionaries(PART, CONTENT, max_size=3), max_size=5))
def test_any_tree_arrives(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Any]) -> None:
    flat = {}
    for name, value in tree.items():
        flat.update(
            {f"{name}/{inner}": content for inner, content in value.items()} if isinstance(value, dict) else {name: value}
        )
    folder = tmp_path_factory.mktemp("tree")
    write_bundle(folder / "b", [Entry(path, data, executable) for path, (data, executable) in flat.items()])
    extract_bundle(folder / "b", folder / "out")
    found = {
        str(path.relative_to(folder / "out")): (path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in (folder / "out").rglob("*")
        if path.is_file()
    }
    assert found == flat


def test_the_same_entries_give_the_same_bytes(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "one", entries(tmp_path))
    os.utime(tmp_path / "file", (1, 1))
    (tmp_path / "file").chmod(0o600)
    second = write_bundle(tmp_path / "two", reversed(entries(tmp_path)))
    assert first == second and len(first) == 64
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert bundle_hash(entries(tmp_path)) == bundle_hash(reversed(entries(tmp_path)))
    # Byte 4 to 7 of gzip's header are the time.
    assert (tmp_path / "one").read_bytes()[4:8] == bytes(4)
    with tarfile.open(tmp_path / "one") as archive:
        for member in archive:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


def test_the_hash_follows_all_that_arrives(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    alike = [Entry("a", b"x"), Entry("a", tmp_path / "file"), Entry("a", b"x", mode=0o644)]
    assert len({bundle_hash([entry]) for entry in alike}) == 1
    different = [
        *(Entry("a", b"x"), Entry("a", b"y"), Entry("b", b"x"), Entry("a", b"x", executable=True)),
        *(Entry("a", b"x", mode=0o600), Entry("a", link="x"), Entry("a", b"x", mode=0o777), Entry("a", link="y")),
    ]
    hashes = {bundle_hash([entry]) for entry in different} | {bundle_hash([]), bundle_hash([Entry("a", b""), Entry("b", b"x")])}
    assert len(hashes) == len(different) + 2


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../../x", "a/./b", "a//b", "a/", ".", "a\0"])
def test_a_path_that_leaves_is_not_written(tmp_path: Path, path: str) -> None:
    for function in (bundle_hash, lambda found: write_bundle(tmp_path / "b", found)):
        with pytest.raises(BundleError, match="is no path inside a bundle"):
            function([Entry(path, b"")])
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("path", "link"), [("a", "/etc/x"), ("a", "../x"), ("a/b", "../../x"), ("a", "b/../../x"), ("a", "x\0")])
def test_a_symlink_that_leaves_is_not_written(tmp_path: Path, path: str, link: str) -> None:
    with pytest.raises(BundleError, match="out of the bundle"):
        write_bundle(tmp_path / "b", [Entry(path, link=link)])


def test_a_path_stands_for_one_thing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^a comes twice"):
        write_bundle(tmp_path / "b", [Entry("a", b"1"), Entry("a", b"2")])
    with pytest.raises(BundleError, match=r"^a is a file and has a/b in it"):
        write_bundle(tmp_path / "b", [Entry("a/b", b"1"), Entry("a", link="c")])


def archive(path: Path, *members: tuple[str, bytes, str]) -> Path:
    """Write an archive that `write_bundle` would not."""
    with tarfile.open(path, "w:gz") as opened:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mode = kind, target, 0o6777
            content = b"x" if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return path


FILE, FOLDER, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE


@pytest.mark.parametrize(
    "members",
    [
        [("/x", FILE, "")],
        [("../x", FILE, "")],
        [("a", FOLDER, ""), ("a/../../x", FILE, "")],
        [("a", LINK, "..")],
        [("a", LINK, "/")],
        [("a", LINK, "")],
        [("d", FOLDER, ""), ("d/a", LINK, ".."), ("d/a", FILE, "")],
        [("a", LINK, "d"), ("d", FOLDER, ""), ("a/x", FILE, "")],
        [("d", LINK, "."), ("x", LINK, "d/..")],
        [("d", LINK, "."), ("x", LINK, "d/.."), ("x/evil", LINK, "y")],
        [("d", FOLDER, ""), ("a", LINK, "d"), ("a/x", LINK, "y")],
        [("a", FILE, ""), ("a/x", LINK, "y")],
        [("a", FILE, ""), ("a", FILE, "")],
        [("a", FILE, ""), ("a/x", FILE, "")],
        [("a/x", FILE, "")],
        [("a", FILE, ""), ("b", tarfile.LNKTYPE, "a")],
        [("a", tarfile.FIFOTYPE, "")],
        [("a", tarfile.CHRTYPE, "")],
    ],
)
def test_an_archive_that_is_not_safe_is_refused(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    made = archive(tmp_path / "b", *members)
    with pytest.raises(BundleError):
        extract_bundle(made, tmp_path / "in" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["out"]


def test_no_special_bit_arrives(tmp_path: Path) -> None:
    extract_bundle(archive(tmp_path / "b", ("d", FOLDER, ""), ("d/a", FILE, "")), tmp_path / "out")
    assert {stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in ("d", "d/a")} == {0o777}


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"nonsense", lambda data: b""])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: Any) -> None:
    write_bundle(tmp_path / "b", [Entry("a", os.urandom(20_000)), Entry("b", b"x")])
    (tmp_path / "b").write_bytes(damage((tmp_path / "b").read_bytes()))
    with pytest.raises(BundleError, match="is damaged"):
        extract_bundle(tmp_path / "b", tmp_path / "out")


def test_damage_inside_is_noticed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", [Entry("a", b"some text, " * 20), Entry("b", b"x")])
    whole = (tmp_path / "b").read_bytes()
    # The header of gzip has a time and a kind of machine, which do not matter.
    for place in range(10, len(whole)):
        data = bytearray(whole)
        data[place] ^= 0xFF
        (tmp_path / "b").write_bytes(data)
        with pytest.raises(BundleError, match="is damaged"):
            extract_bundle(tmp_path / "b", tmp_path / f"out-{place}")


def test_damage_late_in_a_file_is_noticed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", [Entry("a", os.urandom(100_000).hex().encode())])
    data = (tmp_path / "b").read_bytes()
    (tmp_path / "b").write_bytes(data[:50_000] + b"\xff" * 500 + data[50_500:])
    with pytest.raises(BundleError, match="is damaged"):
        extract_bundle(tmp_path / "b", tmp_path / "out")


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", [Entry("a", b"x")])
    (tmp_path / "out").mkdir()
    extract_bundle(tmp_path / "b", tmp_path / "out")
    with pytest.raises(BundleError, match="is not empty"):
        extract_bundle(tmp_path / "b", tmp_path / "out")


def test_files_are_on_the_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    write_bundle(tmp_path / "b", [Entry("d/a", b"x"), Entry("l", link="d")])
    extract_bundle(tmp_path / "b", tmp_path / "out")
    assert sorted(synced) == [str(tmp_path / path) for path in ("out", "out/d", "out/d/a")]


def test_the_oldest_python_of_a_host_understands_it() -> None:
    ast.parse(Path(bundle.__file__).read_text("utf-8"), feature_version=(3, 9))
