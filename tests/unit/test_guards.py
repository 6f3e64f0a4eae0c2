"""What a host must be like: each rule refuses with found, wanted and remedy, and a good host passes."""

import copy
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import guards

GOOD = {
    "user": 0,
    "engine": {"problem": "", "rootless": False, "server": "26.1.5+dfsg1", "compose": "2.26.1-4", "buildx": "0.13.1+ds1"},
    "disk": {"engine": 50 * 10**9, "stack": 40 * 10**9},
    "ports_taken": {},
    "ca_bundle_missing": False,
    "database_problem": "",
    "volume": {
        **{"name": "shop_postgres_data", "exists": True, "lost": False, "stack": "shop"},
        **{"major": "17", "database": "shop", "user": "shop"},
    },
    "password": "kept",
    "current": "old",
    "archive_problem": "",
    "proven_days": -1,
    "rotating": False,
    "partial": "",
    "other_volumes": [],
    "releases": {"old": {"number": 1, "sample": False}},
    "services": {"db": {"folder": "/opt/shop/releases/old"}},
}
SETTINGS = {
    "fastapi_name": "shop",
    "fastapi_source": "/home/me/shop",
    "fastapi_root": "/opt/shop",
    "fastapi_disk_required": 2,
    "fastapi_require_proven_restore_days": 0,
    "fastapi_build_ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
    "fastapi_postgres_image": "postgres:17-trixie",
    "fastapi_database_name": "shop",
    "fastapi_database_user": "shop",
}
ELSEWHERE = {"fastapi_database_host": "db.example.com", "fastapi_database_port": 5432}
SAMPLE = Path(guards.__file__).parents[2] / "files" / "sample_app"


def refusals(path="", value=None, **settings):
    host = copy.deepcopy(GOOD)
    if path:
        *parents, last = path.split(".")
        place = host
        for parent in parents:
            place = place[parent]
        place[last] = value
    return guards.refusals(host, {**SETTINGS, **settings})


def test_a_good_host_is_not_refused():
    assert refusals() == []


def test_an_archive_that_cannot_be_begun_is_told():
    assert refusals("archive_problem", "fastapi_pitr_repository is away; mount it.") == [
        "fastapi_pitr_repository is away; mount it."
    ]


def test_the_sample_application_is_followed_by_itself_and_by_any_other():
    assert refusals("releases.old.sample", True, fastapi_source=str(SAMPLE)) == []
    assert refusals("releases.old.sample", True) == []


@pytest.mark.parametrize(
    ("path", "value", "settings", "said"),
    [
        ("user", 1000, {}, ["root", "become: true"]),
        ("services.db.folder", "/srv/shop/releases/old", {}, ["fastapi_root is /opt/shop", "made from /srv/shop/releases/old"]),
        ("current", "old", {"fastapi_source": str(SAMPLE)}, ["the sample application", "not given", "runs another one"]),
        ("engine.problem", "permission denied", {}, ["permission denied", "docker_host"]),
        ("engine.rootless", True, {}, ["The engine is rootless", "runs as root"]),
        ("engine.server", "24.0.9", {}, ["Docker Engine is 24.0.9", "25 or later"]),
        ("engine.compose", "2.23.3", {}, ["compose plugin is 2.23.3", "2.24 or later"]),
        ("engine.compose", "", {}, ["compose plugin is missing", "2.24 or later"]),
        ("engine.buildx", "", {}, ["buildx plugin is missing"]),
        ("disk", {"engine": 50 * 10**9, "stack": 10**9}, {}, ["fastapi_disk_required is 2 GB", "1.0 GB free"]),
        ("ports_taken", {"127.0.0.1:8000": "nginx (pid 7)"}, {}, ["127.0.0.1:8000", "nginx (pid 7)", "fastapi_port"]),
        (
            "ports_taken",
            {":80": "nginx (pid 7)"},
            {"fastapi_domain": "a.example"},
            ["port 80 is taken", "one stack with fastapi_domain"],
        ),
        ("ca_bundle_missing", True, {}, ["fastapi_build_ca_bundle is /etc/ssl", "no such file"]),
        ("volume.major", "15", {}, ["postgres:17-trixie", "PostgreSQL 15", "shop_postgres_data"]),
        (
            "volume.stack",
            "shop2",
            {},
            ["shop_postgres_data holds the data of the stack shop2", "/opt/shop/volume", "there is none"],
        ),
        ("volume.database", "old", {}, ["fastapi_database_name is shop", "made with old"]),
        ("volume.user", "old", {}, ["fastapi_database_user is shop", "made with old"]),
        ("password", "missing", {}, ["/opt/shop/secrets/database_password is missing", "fastapi_database_password"]),
        ("password", "other", {"fastapi_database_password": "hunter2"}, ["fastapi_database_password is not the one"]),
        (
            "volume.exists",
            True,
            ELSEWHERE,
            ["fastapi_database_host is db.example.com", "shop_postgres_data holds this stack's own"],
        ),
        ("releases.old.database", {"host": "db.example.com"}, {}, ["fastapi_database_host is not set", "on db.example.com"]),
    ],
)
def test_a_host_is_refused(path, value, settings, said):
    (message,) = refusals(path, value, **settings)
    assert all(part in message for part in said)
    assert "hunter2" not in message


def test_a_part_of_the_data_is_not_taken_for_it():
    bare = {**GOOD, "current": "", "releases": {}, "services": {}, "partial": "shop_postgres_data"}
    for host in (bare, {**GOOD, "partial": "shop_postgres_data"}):
        for earlier in (False, True):
            (message,) = guards.refusals(host, SETTINGS, earlier)
            assert "A restore of shop was cut off" in message
        assert guards.refusals({**host, "partial": "shop_postgres_data_2"}, SETTINGS) == []


def test_every_reason_is_told_at_once():
    host = {**GOOD, "password": "other", "ca_bundle_missing": True, "ports_taken": {":80": "nginx"}}
    assert len(guards.refusals(host, SETTINGS)) == 3


def test_a_password_that_is_given_mends_a_lost_file():
    assert refusals("password", "missing", fastapi_database_password="given") == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, ""),
        ({"password": "other"}, ""),
        ({"password": "missing"}, "there is no password for it"),
        ({"database_problem": "Connection refused"}, "port 5432 there takes no connection from the host (Connection refused)"),
    ],
)
def test_a_database_elsewhere(changed, said):
    volume = {**GOOD["volume"], "exists": False, "stack": "", "major": "", "database": "", "user": ""}
    record = {"number": 1, "sample": False, "database": {"host": "old.example.com"}}
    host = {**GOOD, "volume": volume, "releases": {"old": record}, **changed}
    found = guards.refusals(host, {**SETTINGS, **ELSEWHERE})
    assert len(found) == bool(said)
    assert all(said in message for message in found)


def test_a_new_database_has_a_superuser_that_is_not_the_applications_role():
    volume = {**GOOD["volume"], "exists": False, "stack": "", "major": "", "database": "", "user": ""}
    (message,) = refusals("volume", volume, fastapi_database_user="postgres")
    assert "fastapi_database_user is postgres" in message
    assert "use another name" in message
    # One of before goes on, and what is elsewhere is somebody else's.
    volume = {**volume, "exists": True, "major": "17", "user": "postgres"}
    assert refusals("volume", volume, fastapi_database_user="postgres") == []
    volume = {**volume, "exists": False, "major": ""}
    assert refusals("volume", volume, fastapi_database_user="postgres", **ELSEWHERE, fastapi_database_password="given") == []


def test_no_empty_database_takes_the_place_of_one_that_is_gone():
    gone = {**GOOD["volume"], "exists": False, "lost": True, "stack": "", "major": "", "database": "", "user": ""}
    for earlier in (False, True):
        (message,) = guards.refusals({**GOOD, "volume": gone}, SETTINGS, earlier)
        assert "was in the volume shop_postgres_data, which is gone, and a deploy would make an empty database" in message
        assert "fastapi_restore_confirm: shop, or where it is meant to be gone" in message
        assert "fastapi_remove_data: shop" in message
    (message,) = guards.refusals({**GOOD, "volume": gone, "other_volumes": ["shop_postgres_data_2"]}, SETTINGS)
    assert "into /opt/shop/volume (shop_postgres_data_2), or run the playbook restore" in message
    # One that a restore was cut off in filling is none to use.
    partly = {"other_volumes": ["shop_postgres_data_2"], "partial": "shop_postgres_data_2"}
    for volume in (gone, {**GOOD["volume"], "stack": "shop2"}):
        (message,) = guards.refusals({**GOOD, "volume": volume, **partly}, SETTINGS)
        assert "shop_postgres_data_2" not in message
    assert "fastapi_remove_data" not in message
    # What is elsewhere is not made, and what was there before the data went elsewhere is none that is live.
    assert guards.refusals({**GOOD, "volume": gone}, {**SETTINGS, **ELSEWHERE, "fastapi_database_password": "given"}) == []
    before = {**GOOD, "volume": {**gone, "lost": False}, "other_volumes": ["shop_postgres_data_2"]}
    assert guards.refusals(before, SETTINGS, earlier=True) == []
    assert len(guards.refusals({**before, "current": ""}, SETTINGS)) == 1


def test_a_new_volume_takes_any_major():
    volume = {**GOOD["volume"], "exists": False, "stack": "", "major": "", "database": "", "user": ""}
    assert refusals("volume", volume, fastapi_postgres_image="postgres:18-trixie") == []


def test_data_of_an_earlier_version_is_taken_over_and_of_a_later_one_is_not():
    (message,) = refusals("volume.major", "15")
    assert "with the playbook upgrade_postgres" in message
    host = {**GOOD, "volume": {**GOOD["volume"], "major": "15"}}
    assert guards.refusals(host, SETTINGS, upgrade=True) == []
    later = {**GOOD, "volume": {**GOOD["volume"], "major": "18"}}
    (message,) = guards.refusals(later, SETTINGS, upgrade=True)
    assert "upgrade_postgres" not in message
