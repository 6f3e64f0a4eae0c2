"""Moving an image between hosts: who builds, and the parts on the hosts and on the controller that need no engine."""

import io
import os
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.drydock.stack.plugins.action import image as action
from ansible_collections.drydock.stack.plugins.filter.image_sources import image_sources
from ansible_collections.drydock.stack.plugins.module_utils import docker_cli, engine
from ansible_collections.drydock.stack.plugins.modules import image, stack_info

NAME = "shop:0123456789ab"
DIGEST = "reg.example:5000/team/shop@sha256:abc"


def host(name, has_image=False, *, wanted=NAME, platform="linux/x86_64", converged=False):
    return {
        "inventory_hostname": name,
        "__fastapi_release": {"image": wanted, "converged": converged},
        "__fastapi_host": {"engine": {"platform": platform}},
        "__fastapi_installed": {"has_image": has_image},
    }


# --- Who builds ---


@pytest.mark.parametrize(
    ("hosts", "sources"),
    [
        ([host("a")], {"a": "a"}),
        ([host("a"), host("b"), host("c")], {"a": "a", "b": "a", "c": "a"}),
        ([host("a"), host("b", has_image=True), host("c")], {"a": "b", "b": "b", "c": "b"}),
        ([host("a", has_image=True), host("b", has_image=True)], {"a": "a", "b": "b"}),
        ([host("a", platform="linux/aarch64"), host("b"), host("c")], {"a": "a", "b": "b", "c": "b"}),
        ([host("a", wanted="shop:other"), host("b")], {"a": "a", "b": "b"}),
        ([host("a"), host("b"), host("c", converged=True)], {"a": "c", "b": "c"}),
        ([host("a", converged=True), host("b", wanted="shop:other")], {"b": "b"}),
        ([{"inventory_hostname": "a"}, host("b"), host("c")], {"b": "b", "c": "b"}),
    ],
)
def test_one_of_those_alike_is_the_source_of_the_others(hosts, sources):
    assert image_sources(hosts) == sources


def test_a_host_that_failed_before_it_had_the_release_is_known_to_lack_the_image():
    failed = host("a")
    del failed["__fastapi_installed"]
    assert image_sources([failed, host("b", has_image=True)]) == {"a": "b", "b": "b"}


# --- On a host ---


def program(folder, name, text):
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


LAYERS = ["sha256:aa", "sha256:bb", "sha256:cc"]
MEMBERS = ["blobs/sha256/", *(f"blobs/{layer.replace(':', '/')}" for layer in LAYERS), "manifest.json"]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder of programs, of which `docker` saves an image of three layers as the engine does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    with tarfile.open(folder / "saved", "w") as archive:
        for name in MEMBERS:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = 0 if name.endswith("/") else len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    program(folder, "docker", f'test "$*" = "image save {NAME}" && cat {folder}/saved')
    monkeypatch.setattr(engine, "environment", lambda: {"PATH": f"{folder}:/usr/bin:/bin"})
    # None of the machine's own: a test that wants zstd makes one.
    monkeypatch.setattr(
        engine, "which", lambda name: str(folder / name) if (folder / name).exists() else "/bin/gzip" if name == "gzip" else None
    )
    return folder


def members(file):
    with tarfile.open(file) as archive:
        return {found.name: archive.extractfile(found).read().decode() if found.isreg() else None for found in archive}


@pytest.mark.parametrize(
    ("known", "count"),
    [
        ([], 0),
        ([{}], 0),
        ([{"shop:1": {"layers": LAYERS[:2]}}], 2),
        ([{"shop:1": {"layers": []}, "caddy:2": {"layers": ["sha256:aa", "sha256:dd", "sha256:cc"]}}], 1),
        ([{"shop:1": {"layers": LAYERS}}, {"shop:1": {"layers": LAYERS[:1]}, "shop:2": {"layers": LAYERS[:2]}}], 2),
        ([{"shop:1": {"layers": LAYERS}}, {}], 0),
        ([{"shop:1": {"layers": LAYERS[1:]}}], 0),
        ([{"shop:1": {"layers": [*LAYERS, "sha256:dd"]}}], 3),
    ],
)
def test_a_layer_counts_with_all_below_it_where_each_host_has_it(known, count):
    assert image.in_common(LAYERS, known) == LAYERS[:count]


@pytest.mark.parametrize(("driver", "layers"), [({"Data": {"UpperDir": "/x"}}, LAYERS), ({"Data": None}, []), (None, [])])
def test_layers_count_where_the_engine_takes_them_for_granted(driver, layers):
    assert stack_info.kept_layers({"RootFS": {"Layers": LAYERS}, "GraphDriver": driver}) == layers


def test_an_image_is_saved_for_its_fetcher_alone(tools, tmp_path):
    file = tmp_path / "image"
    assert image.save(NAME, file) == "gzip"
    assert members(file) == {name.rstrip("/"): None if name.endswith("/") else name for name in MEMBERS}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_layers_that_are_left_out_are_not_in_what_is_saved(tools, tmp_path):
    image.save(NAME, tmp_path / "image", LAYERS[:2])
    assert list(members(tmp_path / "image")) == ["blobs/sha256", "blobs/sha256/cc", "manifest.json"]


@pytest.mark.parametrize("size", [0, 100, 1024])
def test_an_archive_that_is_not_whole_is_no_image(tools, tmp_path, size):
    os.truncate(tools / "saved", size)
    with pytest.raises(docker_cli.EngineError):
        image.save(NAME, tmp_path / "image")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_image_is_the_login_users(tools, tmp_path):
    os.chown(tmp_path, 1234, 1235)
    image.save(NAME, tmp_path / "image")
    found = (tmp_path / "image").stat()
    assert (found.st_uid, found.st_gid) == (1234, 1235)


def test_a_file_that_is_there_already_is_not_written_to(tools, tmp_path):
    (tmp_path / "image").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        image.save(NAME, tmp_path / "image")
    assert not (tmp_path / "elsewhere").exists()


def test_zstd_is_preferred(tools, tmp_path):
    program(tools, "zstd", "cat")
    assert image.save(NAME, tmp_path / "image") == "zstd"
    assert list(members(tmp_path / "image")) == [name.rstrip("/") for name in MEMBERS]


@pytest.mark.parametrize(("name", "text"), [("docker", "echo no such image >&2; exit 1"), ("zstd", "echo disk full >&2; exit 1")])
def test_a_failure_on_either_side_of_the_pipe_is_told(tools, tmp_path, name, text):
    program(tools, name, text)
    with pytest.raises(docker_cli.EngineError, match=text.split(" >&2")[0].removeprefix("echo ")):
        image.save(NAME, tmp_path / "image")


@pytest.fixture
def docker(monkeypatch):
    """What the engine is asked, and answers of its own to some of it."""
    asked = []

    def run(arguments, timeout, merged=False):
        asked.append(" ".join(arguments[1:]))
        return (1, "", "denied") if asked[-1] in run.failing else (0, "", "")

    run.failing = set()
    monkeypatch.setattr(engine, "run", run)
    found = [{"Id": "sha256:1", "Size": 5, "RepoDigests": ["other@sha256:def", DIGEST]}]
    monkeypatch.setattr(docker_cli, "inspect", lambda *arguments: found)
    return SimpleNamespace(asked=asked, failing=run.failing)


REMOTE = "reg.example:5000/team/shop:0123456789ab"


def test_an_image_is_pushed_and_known_by_its_digest(docker):
    assert image.push(NAME, "reg.example:5000/team") == DIGEST
    assert docker.asked == [f"tag {NAME} {REMOTE}", f"push --quiet {REMOTE}", f"image rm {REMOTE}"]


def test_a_push_that_fails_leaves_no_name_behind(docker):
    docker.failing.add(f"push --quiet {REMOTE}")
    with pytest.raises(docker_cli.EngineError, match="denied"):
        image.push(NAME, "reg.example:5000/team")
    assert docker.asked[-1] == f"image rm {REMOTE}"


def test_an_image_is_pulled_by_its_digest(docker):
    image.pull(NAME, DIGEST)
    assert docker.asked == [f"pull --quiet {DIGEST}", f"tag {DIGEST} {NAME}", f"image rm {DIGEST}"]


# --- On the controller ---


@pytest.fixture
def moving(tmp_path, monkeypatch):
    """The controller's part, on a connection that brings five bytes."""
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    part = action.ActionModule.__new__(action.ActionModule)
    part._connection = SimpleNamespace(fetch_file=lambda remote, local: Path(local).write_bytes(b"image"))
    return part


def test_what_is_fetched_is_in_a_folder_of_nobody_elses(moving):
    file = moving._fetch("image", 5)
    assert file.read_bytes() == b"image"
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_nothing_is_left_of_what_came_in_part(moving, tmp_path):
    with pytest.raises(AnsibleActionFail, match="5 of 6 bytes"):
        moving._fetch("image", 6)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_the_connection_ends(moving, tmp_path):
    def ends(remote, local):
        Path(local).write_bytes(b"im")
        raise ConnectionError

    moving._connection.fetch_file = ends
    with pytest.raises(ConnectionError):
        moving._fetch("image", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"failed": True, "msg": "no room"},
        {"name": "blog:0123456789ab", "digest": "", "file": __file__},
        {"name": NAME, "digest": "", "file": "/nowhere/image"},
    ],
)
def test_what_was_not_sent_names_the_host_that_it_was_to_come_from(moving, sent):
    with pytest.raises(AnsibleActionFail, match="was to come from one, "):
        moving._receive({"name": NAME, "sender": "one", "sent": sent}, {})


def test_only_what_was_fetched_is_forgotten(moving, tmp_path):
    file = moving._fetch("image", 5)
    other = tmp_path / "other"
    other.mkdir()
    moving._forget({"sent": {"file": str(other / "image")}}, {})
    moving._forget({"sent": {"file": str(file)}}, {})
    moving._forget({"sent": {}}, {})
    assert list(tmp_path.iterdir()) == [other]
