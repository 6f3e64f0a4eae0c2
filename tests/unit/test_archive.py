"""The archive without a database: what pgBackRest is told, what its words mean, and what is made of them."""

import datetime
import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import archive, dumps, volumes

NOW = datetime.datetime(2026, 3, 31, 12, tzinfo=datetime.UTC)
MEGABYTES = 2**20
SETTINGS = {
    "name": "shop",
    "image": "postgres:17-trixie",
    "mount": "/var/lib/postgresql/data",
    "user": "owner",
    "max_age": 26,
    "pitr": {"repository": "/mnt/archive", "keep": 2, "encrypted": False},
}
NOTED = {"repository": "/mnt/archive", "encrypted": False, "system": "11"}


def backup(stop, kind="full", database=1, segment="000000010000000000000005", **more):
    return {
        "label": f"{stop}{kind[0].upper()}", "type": kind, "database": {"id": database}, "error": False,
        "timestamp": {"stop": stop}, "archive": {"stop": segment}, **more,
    }  # fmt: skip


def found(*backups, **more):
    return {
        "there": True, "db": [{"id": 1, "system-id": 11, "version": "17"}], "backup": list(backups),
        "archive": [{"id": "17-1", "max": "000000010000000000000009", "database": {"id": 1}}], **more,
    }  # fmt: skip


# --- Times ---


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-01-31T02:30:00Z", "2026-01-31 02:30:00"),
        ("2026-01-31 02:30Z", "2026-01-31 02:30:00"),
        ("2026-01-31T02:30:00.25Z", "2026-01-31 02:30:00.250000"),
        ("2026-01-31T03:30:00+01:00", "2026-01-31 02:30:00"),
        ("2026-01-31T00:15:00-0545", "2026-01-31 06:00:00"),
        ("2026-01-01 00:00:00+02", "2025-12-31 22:00:00"),
    ],
)
def test_a_time_is_read_with_its_zone(text, utc):
    assert archive.moment(text) == datetime.datetime.fromisoformat(f"{utc}+00:00")


@pytest.mark.parametrize(
    "text",
    ["2026-01-31T02:30:00", "yesterday", "2026-01-31", "2026-02-30T02:30:00Z", "2026-01-31T02:30:00Europe/Berlin",
     "2026-01-31T25:00:00Z", "2026-01-31T02:30:61Z", "2026-01-31T02:30:00+25:00", "now() --Z"],
)  # fmt: skip
def test_what_is_no_time_or_has_no_zone_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        archive.moment(text)


# --- What the stack is made with ---


def test_an_image_is_another_one_where_what_it_is_built_from_is():
    first = archive.image_of("shop", "postgres:17-trixie")
    assert first == archive.image_of("shop", "postgres:17-trixie")
    assert first.startswith("shop_postgres:")
    assert first != archive.image_of("shop", "postgres:17.1-trixie")
    assert archive.dockerfile("postgres:17-trixie").startswith("FROM postgres:17-trixie\n")


def test_the_data_is_where_the_version_has_it():
    assert archive.data_folder("/var/lib/postgresql/data", 17) == "/var/lib/postgresql/data"
    assert archive.data_folder("/var/lib/postgresql", 18) == "/var/lib/postgresql/18/docker"


def test_the_passphrase_stands_in_the_file_and_nowhere_where_there_is_none():
    text = archive.configuration(3, "s3cret", 5)
    assert "repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=s3cret\narchive-async=y\narchive-push-queue-max=5\n" in text
    assert "repo1-retention-full=3\n" in text
    assert "cipher" not in archive.configuration(3, "", 5)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of a stack whose files may belong to whoever runs the tests."""
    monkeypatch.setattr(archive.os, "chown", lambda *arguments: None)
    monkeypatch.setattr(archive, "queue_size", lambda root: 10**9)
    for folder in ("secrets", "backups", "repository"):
        (tmp_path / folder).mkdir()
    return tmp_path


def wanting(root, **more):
    return {**SETTINGS, "pitr": {"repository": str(root / "repository"), "keep": 2, "encrypted": False, **more}}


def test_a_passphrase_is_made_once_and_read_by_its_owner_alone(root):
    settings = wanting(root, encrypted=True)
    assert archive.configured(settings, root)
    first = archive.passphrase_file(root).read_text()
    assert not archive.configured(settings, root)
    file = archive.configuration_folder(root) / "pgbackrest.conf"
    assert f"repo1-cipher-pass={first}\n" in file.read_text()
    assert [path.stat().st_mode & 0o777 for path in (file, archive.passphrase_file(root))] == [0o400, 0o400]
    assert archive.configured(wanting(root, encrypted=True, keep=5), root)
    assert archive.passphrase_file(root).read_text() == first


def test_no_passphrase_is_made_for_an_archive_that_has_another(root):
    (root / "repository" / "archive" / "shop").mkdir(parents=True)
    with pytest.raises(dumps.DataError, match="put the passphrase there"):
        archive.configured(wanting(root, encrypted=True), root)
    assert not archive.passphrase_file(root).exists()


def test_an_archive_stays_encrypted_or_not(root):
    state = {"archived": {"repository": str(root / "repository"), "encrypted": False, "system": "11"}}
    (root / "backups" / dumps.STATE).write_text(json.dumps(state))
    assert archive.unusable(wanting(root), root) == ""
    assert "fastapi_pitr_encrypted is true, and the archive" in archive.unusable(wanting(root, encrypted=True), root)


def test_a_repository_has_to_be_there_and_empty_or_its_own(root):
    assert archive.repository(wanting(root), root)
    (root / "repository" / "somebody").touch()
    with pytest.raises(dumps.DataError, match="holds files and is not the database's"):
        archive.repository(wanting(root), root)
    shutil.rmtree(root / "repository")
    with pytest.raises(dumps.DataError, match="no such folder"):
        archive.repository(wanting(root), root)
    own = root / "backups" / "pgbackrest"
    assert archive.repository(wanting(root, repository=str(own)), root)
    assert own.is_dir()


def test_a_repository_that_is_known_may_be_away(root, monkeypatch):
    monkeypatch.setattr(archive, "built", lambda settings, bundle: False)
    shutil.rmtree(root / "repository")
    with pytest.raises(dumps.DataError, match="no such folder"):
        archive.prepared(wanting(root), root, "")
    state = {"archived": {"repository": str(root / "repository"), "system": "11"}}
    (root / "backups" / dumps.STATE).write_text(json.dumps(state))
    assert archive.prepared(wanting(root), root, "")
    assert not archive.prepared(wanting(root), root, "")


# --- Whose archive it is ---


def test_an_archive_is_made_once_and_never_in_place_of_one_that_is_away():
    nothing = {"there": False, "db": [], "backup": [], "archive": []}
    assert archive.wanted_steps(SETTINGS, {}, nothing, "11") == ["stanza-create"]
    assert archive.wanted_steps(SETTINGS, NOTED, found(), "11") == []
    with pytest.raises(dumps.DataError, match="is gone from /mnt/archive; is it mounted"):
        archive.wanted_steps(SETTINGS, NOTED, nothing, "11")


def test_another_database_takes_the_archive_over_only_where_it_followed_here():
    assert archive.wanted_steps(SETTINGS, NOTED, found(), "12") == ["stanza-upgrade"]
    with pytest.raises(dumps.DataError, match="the archive of another database"):
        archive.wanted_steps(SETTINGS, {}, found(), "12")


# --- Backups of the archive ---


def test_a_full_backup_is_made_each_week():
    day = dumps.DAY
    assert archive.kind_of([], 100 * day) == "full"
    assert archive.kind_of([backup(94 * day), backup(99 * day, "diff")], 100 * day) == "diff"
    assert archive.kind_of([backup(93 * day), backup(99 * day, "diff")], 100 * day) == "full"


def test_only_backups_of_this_database_that_are_whole_count():
    told = found(backup(1, database=1), backup(2, database=2), backup(3, database=2) | {"error": True})
    told["db"].append({"id": 2, "system-id": 12, "version": "17"})
    assert [one["label"] for one in archive.backups_of(told, "12")] == ["2F"]


def test_a_restore_to_a_time_begins_the_archive_anew():
    old = [backup(1, segment="000000010000000000000005")]
    assert archive.begun({"timeline": 1}, old)
    assert not archive.begun({"timeline": 2}, old)
    assert not archive.begun({"timeline": 1}, [])


@pytest.mark.parametrize(
    ("segments", "gap"),
    [
        (["05", "06", "07"], ""),
        (["05"], ""),
        (["03", "05", "06"], ""),
        (["05", "06", "09"], "06"),
        (["05", "07"], "05"),
        # The segment that is written now is not there yet, and that is no gap.
        ([], ""),
    ],
)
def test_a_segment_that_is_missing_is_found(segments, gap):
    names = [f"0000000100000000000000{segment}" for segment in segments]
    others = ["000000020000000000000004", "000000020000000000000009"]
    told = archive.first_gap([*names, *others], "000000010000000000000005", 16 * MEGABYTES)
    assert told == (f"0000000100000000000000{gap}" if gap else "")


@pytest.mark.parametrize(
    ("segment", "size", "next_one"),
    [
        ("0000000100000000000000FF", 16 * MEGABYTES, "000000010000000100000000"),
        ("000000010000000A0000003F", 64 * MEGABYTES, "000000010000000B00000000"),
        ("000000010000000000000009", 16 * MEGABYTES, "00000001000000000000000A"),
    ],
)
def test_a_segment_follows_another(segment, size, next_one):
    assert archive.following(segment, size) == next_one
    assert archive.preceding(next_one, size) == segment


def test_the_names_of_segments_are_told_from_others():
    names = [
        "0000000100000000/000000010000000000000001-61e2d9d7a7662a37cba959e3e8f4ffe4def3b8db.zst",
        "0000000100000000/000000010000000000000002.00000028.backup",
        "00000002.history",
        "0000000100000000",
    ]
    assert [match[1] for name in names if (match := archive.SEGMENT.fullmatch(name))] == ["000000010000000000000001"]


# --- What is told ---


def archiver(**more):
    return {"at": "2026-03-31T11:59:00Z", "failing": False, "waiting": 0, "segment": 16 * MEGABYTES,
            "last": "000000010000000000000009", "system": "11", "timeline": 1, **more}  # fmt: skip


def test_an_archiver_that_is_stuck_is_told():
    assert archive.stuck(SETTINGS, archiver()) == []
    (said,) = archive.stuck(SETTINGS, archiver(failing=True, waiting=90))
    assert "has taken nothing since 2026-03-31T11:59:00Z: 90 segments wait, 1.51 GB. The database runs on" in said


def test_what_cannot_be_restored_is_told(monkeypatch):
    monkeypatch.setattr(dumps, "now", lambda: NOW)
    recent = int(NOW.timestamp()) - 3600
    told = found(backup(recent))
    assert archive.lacking(SETTINGS, archiver(), told, told["backup"]) == []
    (said,) = archive.lacking(SETTINGS, archiver(last="00000001000000000000000B"), told, told["backup"])
    assert "up to 00000001000000000000000B are not in the archive, which ends at 000000010000000000000009" in said
    old = found(backup(recent - 26 * 3600))
    (said,) = archive.lacking(SETTINGS, archiver(), old, old["backup"])
    assert said == "The newest backup of the archive is 27.0 hours old, and 26 are allowed."
    (said,) = archive.lacking(SETTINGS, archiver(), found(), [])
    assert "holds no backup of this database yet" in said


def test_a_restore_begins_from_the_newest_backup_before_the_time():
    first, second = int(NOW.timestamp()) - 7200, int(NOW.timestamp()) - 3600
    told = found(backup(first), backup(second, "diff"), backup(second + 60) | {"error": True})
    assert archive.chosen(told, NOW, "postgres:17-trixie")["label"] == f"{second}D"
    between = datetime.datetime.fromtimestamp(second - 1, datetime.UTC)
    assert archive.chosen(told, between, "postgres:17-trixie")["label"] == f"{first}F"
    before = datetime.datetime.fromtimestamp(first - 1, datetime.UTC)
    with pytest.raises(dumps.DataError, match="the archive begins at 2026-03-31T10:00:00Z; use a later time"):
        archive.chosen(told, before, "postgres:17-trixie")
    with pytest.raises(dumps.DataError, match="the database was of PostgreSQL 17; use an image of that version"):
        archive.chosen(told, NOW, "postgres:18-trixie")
    with pytest.raises(dumps.DataError, match="no backup in the archive"):
        archive.chosen(found(), NOW, "postgres:17-trixie")


def test_a_backup_with_damaged_pages_is_not_taken_for_a_good_one():
    told = found(backup(1), backup(2, "diff") | {"error": True})
    assert archive.whole(archive.backups_of(told, "11")) == told["backup"][0]
    with pytest.raises(dumps.DataError, match="2D holds pages whose checksum is wrong"):
        archive.whole(archive.backups_of(told, "11", damaged=True))
    with pytest.raises(dumps.DataError, match="there is none in the repository"):
        archive.whole([])


@pytest.mark.parametrize(
    ("total", "free", "queue"),
    [
        # In gigabytes of the disk.
        (1000, 900, 100 * 10**9),
        (40, 30, 4 * 10**9),
        (5, 4, 10**9),
        (40, 3, 2**30),
        (40, 2.9, 2**30),
        (40, 0.1, 2**26),
        (40, 0, 2**26),
    ],
)
def test_what_may_wait_leaves_half_of_what_is_free(total, free, queue, monkeypatch, tmp_path):
    disk = types.SimpleNamespace(total=int(total * 10**9), free=int(free * 10**9))
    monkeypatch.setattr(dumps, "engine_folder", lambda root: tmp_path)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda folder: disk)
    assert archive.queue_size(tmp_path) == queue


def info(monkeypatch, *stanzas):
    monkeypatch.setattr(dumps, "run", lambda *arguments, **options: json.dumps(stanzas))
    return archive.read(SETTINGS, ["docker"])


def test_what_pgbackrest_says_of_the_repository_is_read(monkeypatch):
    none = {"name": "shop", "status": {"code": 1, "message": "missing stanza path"}, "backup": [], "db": [], "archive": []}
    assert not info(monkeypatch, none)["there"]
    assert not info(monkeypatch)["there"]
    there = {**none, "status": {"code": 2, "message": "no valid backups"}, "db": [{"id": 1, "system-id": 11, "version": "17"}]}
    assert info(monkeypatch, {**there, "name": "other"}, there)["there"]
    problem = {"code": 99, "message": "[CryptoError] cipher\x07 header\nHINT: \ufffd"}
    broken = {**none, "status": {"code": 99, "message": "other"}, "repo": [{"key": 1, "status": problem}]}
    with pytest.raises(dumps.DataError, match=r"cannot be read: \[CryptoError\] cipher\? header HINT: \?$"):
        info(monkeypatch, broken)


def test_a_time_that_the_archive_does_not_reach_is_told_with_the_last_one():
    log = (
        "LOG:  last completed transaction was at log time 2026-03-31 11:44:51.423988+00\n"
        "FATAL:  recovery ended before configured recovery target was reached\n"
    )
    assert volumes.too_late(log) == (
        "the last transaction in it is of 2026-03-31 11:44:51.423988+00; use an earlier time than that, "
        "or latest for all that there is."
    )
    assert volumes.too_late(log.splitlines()[1]) == "use an earlier time, or latest for all that there is."
    assert volumes.too_late(log.splitlines()[0]) == ""


LAST, BEGIN = "0000001200000001000000FF", "000000120000000100000002"
AT_NOW = volumes.Target(NOW, "", BEGIN)


def listed(monkeypatch, times):
    told = {f"{name[:16]}/{name}-{40 * 'a'}.gz": {"type": "file", "time": at} for name, at in times.items()}
    monkeypatch.setattr(dumps, "run", lambda *arguments, **options: json.dumps(told))
    one = {"database": {"id": 1}, "id": "17-1", "max": max(times, default=None)}
    return archive.end(SETTINGS, ["docker"], {"archive": [one]}, {"database": {"id": 1}})


def test_an_archive_ends_where_it_was_written_to_last(monkeypatch):
    one, two, three = (f"0000000{timeline}00000000000000{end}" for timeline, end in ((1, "0B"), (2, "09"), (3, "0A")))
    assert listed(monkeypatch, {one: 5, two: 9}) == two
    # What was begun by a restore that was taken back has the higher number.
    assert listed(monkeypatch, {one: 5, two: 9, three: 7}) == two
    assert listed(monkeypatch, {two: 9, f"{two[:-1]}8": 9}) == two
    assert listed(monkeypatch, {}) == ""


@pytest.mark.parametrize(("begin", "timeline"), [(BEGIN, "current"), ("000000110000000100000002", "18")])
def test_the_latest_is_looked_for_where_the_archive_ends_and_a_time_where_the_backup_is(begin, timeline):
    assert volumes.Target(None, LAST, begin).options() == [f"--target-timeline={timeline}", "--type=default"]
    assert volumes.Target(None, "", begin).options()[0] == "--target-timeline=current"
    assert volumes.Target(NOW, "", begin).options()[0] == "--target-timeline=current"


def test_what_was_archived_and_could_not_be_read_is_no_latest():
    latest = volumes.Target(None, LAST, BEGIN)
    # The new timeline has another number.
    assert latest.missed("0000001300000001000000FF") == ""
    assert "ends with 0000001200000001000000FF, and could be read up to 0000001300000001000000FE alone" in latest.missed(
        "0000001300000001000000FE"
    )
    assert AT_NOW.missed("000000130000000100000000") == ""


def test_an_end_that_does_not_come_out_of_the_backup_is_told():
    latest = volumes.Target(None, LAST, BEGIN)
    for log in (
        "FATAL:  requested timeline 3 is not a child of this server's history",
        "ERROR: [058]: target timeline 3 forked from backup timeline 2 at 0/5000000 which is before backup lsn of 0/6000028",
    ):
        assert "was taken back to a time since; give a time" in latest.unreached(log)
    assert latest.unreached("FATAL:  other") == ""


# --- The program on the host ---


def test_it_runs_beside_the_other_program(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(dumps.__file__, folder / "data")
    shutil.copy(archive.__file__, folder / "archive")
    (tmp_path / "backup.json").write_text(json.dumps({"name": "shop"}))
    done = run(folder / "archive", "list")
    assert done.returncode == 2
    assert "where fastapi_pitr_enabled is true" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["archive", "data"]


def run(program: Path, *arguments):
    return subprocess.run([sys.executable, "-I", program, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("image", "mount", "folder"),
    [
        ("postgres:17-trixie", "/var/lib/postgresql/data", "/var/lib/postgresql/data"),
        ("postgres:18-trixie", "/var/lib/postgresql", "/var/lib/postgresql/18/docker"),
    ],
)
def test_what_is_restored_to_a_time_finds_its_folder_in_the_new_volume(tmp_path, monkeypatch, image, mount, folder):
    done = []

    def asked(head, what, *arguments):
        done.append(arguments[0])
        raise dumps.DataError("enough")

    monkeypatch.setattr(volumes, "create", lambda *arguments: None)
    monkeypatch.setattr(volumes.dumps, "run", lambda command, what: done.append(command))
    monkeypatch.setattr(volumes.archive, "asked", asked)
    with pytest.raises(dumps.DataError, match="enough"):
        volumes.fill_to({**SETTINGS, "image": image, "mount": mount}, tmp_path, "shop", "1F", AT_NOW, "shop_postgres_data_2")
    made, restored = done
    assert restored == "restore"
    assert made[-4:] == ["mkdir", "--parents", "--mode=0700", folder]
    assert f"type=volume,source=shop_postgres_data_2,target={mount}" in made
