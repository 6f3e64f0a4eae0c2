"""What has a host back a stack up by itself."""

import json
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import timers

WANTED = {"name": "shop", "schedule": "*-*-* 02:30", "drill_schedule": "", "keep": {"last": 1}}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(timers, "UNITS", tmp_path / "units")
    monkeypatch.setattr(timers, "WANTS", tmp_path / "units" / "timers.target.wants")
    monkeypatch.setattr(timers, "CRON", tmp_path / "cron.d")
    monkeypatch.setattr(timers, "has_systemd", lambda: False)
    for folder in ("root/secrets", "units/timers.target.wants", "cron.d"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("schedule", "cron"),
    [
        ("hourly", "0 * * * *"),
        ("daily", "0 0 * * *"),
        ("*-*-* 02:30", "30 2 * * *"),
        ("2:05:00", "5 2 * * *"),
        ("Sun *-*-* 04:05", "5 4 * * 0"),
        ("Monday 04:05", "5 4 * * 1"),
        ("*:15", "15 * * * *"),
    ],
)
def test_cron_keeps_the_schedules_that_it_can(schedule, cron):
    assert timers.cron_time(schedule) == cron


@pytest.mark.parametrize("schedule", ["Mon..Fri 04:00", "*-*-01 04:00", "never", "Xxx 04:00", "*:0/5"])
def test_cron_refuses_the_others(schedule):
    with pytest.raises(timers.ScheduleError, match="cannot be kept without systemd"):
        timers.cron_time(schedule)


def test_a_unit_takes_a_path_as_it_is():
    text = timers.units(Path('/srv/100% "$x" \\ y'), WANTED)[timers.UNITS / "drydock-shop-backup.service"]
    assert r'ExecStart=/usr/bin/python3 -I "/srv/100%% \"$$x\" \\ y/bin/data" backup' in text


def test_only_what_is_switched_on_has_a_timer():
    assert {path.name for path in timers.units(Path("/opt/shop"), WANTED)} == {
        "drydock-shop-backup.service",
        "drydock-shop-backup.timer",
    }
    both = timers.cron_table(Path("/opt/a b"), WANTED | {"drill_schedule": "weekly"})
    assert both[timers.CRON / "drydock-shop"] == (
        "30 2 * * * root /usr/bin/python3 -I '/opt/a b/bin/data' backup\n"
        "0 0 * * 1 root /usr/bin/python3 -I '/opt/a b/bin/data' drill\n"
    )


def test_what_is_in_its_place_lacks_nothing(root):
    assert timers.lacking(root, WANTED, "[offsite]")
    timers.install(root, WANTED, "[offsite]")
    assert timers.lacking(root, WANTED, "[offsite]") == []
    assert (root / "bin" / "data").read_text().startswith("#!/usr/bin/env python3")
    assert (root / "bin" / "data").stat().st_mode & 0o777 == 0o755
    assert json.loads((root / "backup.json").read_text()) == WANTED
    assert (root / "secrets" / "rclone.conf").stat().st_mode & 0o777 == 0o600


def test_what_is_switched_off_goes(root):
    timers.install(root, WANTED, "[offsite]")
    off = WANTED | {"schedule": ""}
    assert {path.name for path in timers.lacking(root, off, "")} == {"backup.json", "rclone.conf", "drydock-shop"}
    timers.install(root, off, "")
    assert timers.lacking(root, off, "") == []
    assert not list(timers.CRON.iterdir())
    timers.install(root, WANTED, "")
    assert [path.name for path in timers.removed("shop")] == ["drydock-shop"]


def test_the_program_of_the_archive_is_there_where_there_is_one(root):
    timers.install(root, {**WANTED, "pitr": {"keep": 2}}, "")
    assert {path.name for path in (root / "bin").iterdir()} == {"data", "archive"}
    assert timers.lacking(root, {**WANTED, "pitr": {"keep": 2}}, "") == []
    assert root / "bin" / "archive" in timers.lacking(root, WANTED, "")
    timers.install(root, WANTED, "")
    assert {path.name for path in (root / "bin").iterdir()} == {"data"}
