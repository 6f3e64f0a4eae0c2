"""A stack's status, as data and as a table."""

from ansible_collections.drydock.stack.plugins.module_utils.status import summary, table

HOST = {
    "current": "0123456789ab",
    "live": "green",
    "releases": {
        "fedcba987654": {"number": 1, "deployed": "2026-01-30T08:00:00+00:00", "by": "me@desk", "revision": "1" * 40},
        "0123456789ab": {
            "number": 3,
            "deployed": "2026-01-31T23:59:59+00:00",
            "by": "someone-with-a-long-name@a-controller-with-a-long-name",
            "revision": "2" * 40,
            "dirty": True,
            "image_size": 123_400_000,
            "database_revision": "0001",
        },
        "bbbbbbbbbbbb": {
            "number": 2,
            "deployed": "2026-01-31T08:00:00+00:00",
            "by": "me@desk",
            "revision": "",
            "image_size": 1_000_000_000,
            "database_revision": "0123456789ab cdefcdefcdef",
            "rolled_back": "2026-01-31T09:00:00+00:00",
        },
        "aaaaaaaaaaaa": {},
    },
    "maintenance": "",
    "lock": {},
    "last_run": {"owner": "me@desk", "since": 1769900000, "ended": 1769903999, "expires": 1769910000, "release": "0123456789ab"},
    "services": {
        "db": {"status": "running", "health": "healthy", "image": "postgres:17", "release": ""},
        "app-green": {"status": "running", "health": "healthy", "image": "shop:1", "release": "0123456789ab"},
    },
    "images": {"shop:1": {"size": 123_400_000}},
    "volume": {"name": "shop_postgres_data", "exists": True, "major": "17"},
    "engine": {"server": "26.1", "compose": "2.26", "buildx": "0.13", "problem": ""},
    "backups": {},
    "archive": {},
    "other_volumes": [],
    "database_warnings": [],
    "disk": {"engine": 10 * 10**9, "stack": 5_550_000_000},
}
BARE = {
    **HOST,
    "current": "",
    "live": "",
    "releases": {},
    "last_run": {},
    "services": {},
    "volume": {"name": "shop_postgres_data", "exists": False, "major": ""},
    "engine": {"server": "", "compose": "", "buildx": "", "problem": "there is no docker command"},
}


def test_the_summary_names_the_live_slot_and_the_sizes():
    status = summary(HOST, "shop")
    assert status["services"]["app-green"]["live"] is True
    assert status["services"]["db"]["live"] is False
    assert status["services"]["app-green"]["image_mb"] == 123.4
    assert status["disk_free_gb"] == {"engine": 10.0, "stack": 5.5}


def test_the_table_has_a_row_for_each_service():
    lines = table(summary(HOST, "shop"))
    assert lines[0] == "shop: release 0123456789ab, slot green, 4 releases on the host"
    assert lines[1] == "Last changed: 2026-01-31 23:59 UTC by me@desk, release 0123456789ab"
    assert [line.split()[0] for line in lines[2:5]] == ["SERVICE", "app-green", "db"]
    assert "app-green (live)  running  healthy  0123456789ab  shop:1" in lines[3]


def test_a_bare_host_has_a_status_too():
    lines = table(summary(BARE, "shop"))
    assert "release none, slot none, 0 releases" in lines[0]
    assert "there is no docker command" in lines[1]
    assert "Data: none" in lines


def test_the_releases_are_told_the_newest_first_each_with_what_it_is():
    releases = summary(HOST, "shop")["releases"]
    assert [found["id"] for found in releases] == ["0123456789ab", "bbbbbbbbbbbb", "fedcba987654", "aaaaaaaaaaaa"]
    assert [found["live"] for found in releases] == [True, False, False, False]
    assert [found["last_good"] for found in releases] == [False, False, True, False]
    assert releases[0]["revision"] == "2" * 40
    assert releases[0]["image_mb"] == 123.4
    assert releases[1]["rolled_back"] == "2026-01-31T09:00:00+00:00"
    rows = [line.split() for line in table(summary(HOST, "shop"))[5:10]]
    assert [row[0] for row in rows] == ["RELEASE", *(found["id"] for found in releases)]
    assert rows[1][-4:] == ["2222222+", "123", "0001", "live"]
    assert rows[2][-3:] == ["1000", "0123456789a…", "rolled-back"]
    assert [row[-1] for row in rows[1:]] == ["live", "rolled-back", "last-good", "never-served"]


def test_the_table_fits_a_hundred_columns_and_is_not_broken():
    for line in table(summary(HOST, "shop")):
        assert len(line) <= 92
        assert " " not in line[74:].replace("  ", "")


def test_who_changes_the_stack_and_maintenance_are_told():
    lock = {"owner": "me@desk", "since": 1769900000, "expires": 1769910000, "release": "0123456789ab", "token": "x", "pid": 1}
    status = summary({**HOST, "lock": lock, "maintenance": "2026-01-31T12:34:56Z"}, "shop")
    assert status["maintenance"] == {"on": True, "since": "2026-01-31T12:34:56Z"}
    assert status["lock"] == {
        "owner": "me@desk",
        "release": "0123456789ab",
        "since": "2026-01-31T22:53:20Z",
        "expires": "2026-02-01T01:40:00Z",
    }
    lines = table(status)
    assert "Maintenance: on since 2026-01-31 12:34 UTC" in lines
    assert "Being changed since: 2026-01-31 22:53 UTC by me@desk, release 0123456789ab" in lines


def test_a_lock_that_was_broken_by_hand_is_told():
    lock = {"token": "", "owner": "somebody unknown", "since": 0, "expires": 0}
    assert "Being changed since: 1970-01-01 00:00 UTC by somebody unknown, release ?" in table(
        summary({**HOST, "lock": lock}, "shop")
    )


def test_what_is_to_be_looked_into_in_the_database_is_told():
    status = summary({**HOST, "database_warnings": ["checksums are off; turn them on."]}, "shop")
    assert status["database"]["problems"] == ["checksums are off; turn them on."]
    assert "Database: checksums are off; turn them on." in table(status)


def test_the_archive_is_told_with_what_is_wrong_with_it():
    archive = {
        "repository": "/mnt/archive", "since": "2026-03-01T02:30:00Z", "until": "2026-03-31T12:00:00Z", "waiting": 3,
        "backups": [{}, {}], "problems": ["it is full"],
    }  # fmt: skip
    lines = table(summary(HOST | {"archive": archive}, "shop"))
    assert "Archive: it is full" in lines
    assert (
        "Archive: /mnt/archive, any time from 2026-03-01T02:30:00Z to 2026-03-31T12:00:00Z, 2 backups, 3 segments wait" in lines
    )
    assert "Archive: /mnt/archive, no time can be restored" in table(summary(HOST | {"archive": archive | {"since": ""}}, "shop"))
    assert not any("Archive" in line for line in table(summary(HOST, "shop")))
