"""What the state of a host says about a release."""

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import state

RUNNING = {"status": "running", "health": "healthy"}
HOST = {
    "live": "blue",
    "current": "old",
    "lock": {},
    "orphans": [],
    "intact": True,
    "left_closed": False,
    "restoring": "",
    "password": "kept",
    "answer": {"status": 200, "slot": "blue"},
    "releases": {"old": {"number": 1, "slot": "blue", "hash": "y"}},
    "expected": {"app-blue": "x", "db": "d", "proxy": "p"},
    "services": {
        "app-blue": {**RUNNING, "hash": "y", "release": "old"},
        "db": {**RUNNING, "hash": "d"},
        "proxy": {**RUNNING, "hash": "p"},
    },
    "volume": {"name": "shop_postgres_data", "exists": True},
}
PLAN = {"id": "new", "slot": "green", "image": "shop:1", "converged": False, "database": {}}


def services(**changed):
    merged = {name: {**found, **changed.get(name, {})} for name, found in HOST["services"].items()}
    return {**HOST, "services": {name: found for name, found in merged.items() if changed.get(name, {}) is not None}}


def test_the_other_slot_is_the_one_that_is_not_live():
    assert [state.other_slot(slot) for slot in ("", "blue", "green")] == ["blue", "green", "blue"]


@pytest.mark.parametrize(
    ("host", "identity", "slot"),
    [
        (HOST, "old", "blue"),
        (HOST, "new", "green"),
        ({**HOST, "live": ""}, "old", "blue"),
        ({**HOST, "live": "green"}, "old", "blue"),
        ({**HOST, "live": "", "services": {}}, "new", "blue"),
        ({**HOST, "services": {"app-blue": {**RUNNING, "status": "exited", "release": "old"}}}, "old", "green"),
        ({**HOST, "answer": {"status": 502, "slot": "blue"}}, "old", "green"),
        ({**HOST, "password": "other"}, "old", "green"),
        (services(**{"app-blue": {"hash": "made by hand"}}), "old", "green"),
        ({**HOST, "releases": {"old": {"slot": "green", "hash": "of the other slot"}}}, "old", "blue"),
        ({**HOST, "live": "", "services": {"app-blue": {"status": "exited", "release": "old"}}}, "old", "blue"),
    ],
)
def test_a_release_stays_where_it_runs(host, identity, slot):
    assert state.slot_for(host, identity) == slot


def test_what_runs_is_what_is_expected():
    assert state.runs_as_expected(HOST, "blue", "old")


@pytest.mark.parametrize(
    "host",
    [
        {**HOST, "lock": {"token": "left by a run that was killed"}},
        {**HOST, "password": "other"},
        {**HOST, "orphans": ["0123456789ab_shop-db-1"]},
        {**HOST, "intact": False},
        {**HOST, "left_closed": True},
        {**HOST, "restoring": "shop_postgres_data_2"},
        {**HOST, "answer": {"status": 502, "slot": "blue"}},
        {**HOST, "answer": {"status": 200, "slot": "green"}},
        {**HOST, "password": "missing"},
        {**HOST, "services": {name: HOST["services"][name] for name in ("app-blue", "db")}},
        {**HOST, "services": {**HOST["services"], "app-green": {**RUNNING, "release": "old", "hash": ""}}},
        services(db={"status": "exited"}),
        services(proxy={"health": "unhealthy"}),
        services(proxy={"hash": "changed"}),
        services(**{"app-blue": {"release": "other"}}),
        services(**{"app-blue": {"hash": "made by hand"}}),
    ],
)
def test_anything_else_is_not(host):
    assert not state.runs_as_expected(host, "blue", "old")


def test_an_update_says_what_it_is_going_to_do():
    assert state.steps(HOST, PLAN, {"db": "d", "proxy": "changed"}, has_image=False, pending="from 1 to 2") == [
        "release new: bring it to the host",
        "image shop:1: build",
        "proxy: recreate with its new settings",
        "migrations: from 1 to 2",
        "app-green: create",
        "front door: from blue to green",
        "app-blue: stop and remove",
        "volume shop_postgres_data: untouched",
    ]


def test_a_database_elsewhere_is_no_service():
    plan = {**PLAN, "database": {"host": "db.example.com"}}
    told = state.steps(HOST, plan, {"proxy": "p"}, has_image=True, pending="none")
    assert not any(line.startswith(("db:", "volume")) for line in told)
    assert told[-1] == "database on db.example.com: untouched but by the migrations"


def test_what_a_change_of_the_data_left_behind_is_put_right():
    told = state.steps(
        {**HOST, "left_closed": True, "restoring": "shop_postgres_data_2"}, PLAN, {}, has_image=True, pending="none"
    )
    assert "front door: open, which a change that was cut off has left closed" in told
    assert "volume shop_postgres_data_2: remove, left over from a restore or an upgrade that was cut off" in told
    assert told[-1] == "volume shop_postgres_data: untouched"


def test_an_image_may_come_from_another_host():
    told = state.steps(HOST, PLAN, {}, has_image=False, pending="none", fleet=True)
    assert "image shop:1: build, or have it from a host that does" in told


def test_a_first_deploy_creates_everything():
    bare = {**HOST, "live": "", "current": "", "releases": {}, "services": {}, "volume": {"name": "v", "exists": False}}
    told = state.steps(bare, {**PLAN, "slot": "blue"}, {}, has_image=False, pending="none")
    assert told[2:4] == ["db: create", "proxy: create"]
    assert "front door: from nothing to blue" in told
    assert told[-1] == "volume v: create"


def test_a_stopped_stack_is_started_and_nothing_is_recreated():
    stopped = services(db={"status": "exited"}, proxy={"status": "exited"}, **{"app-blue": {"status": "exited"}})
    told = state.steps(stopped, {**PLAN, "id": "old", "slot": "blue"}, {"db": "d", "proxy": "p"}, has_image=True, pending="none")
    assert told == [
        "image shop:1: there already",
        "db: start",
        "proxy: start",
        "migrations: none",
        "app-blue: start",
        "volume shop_postgres_data: untouched",
    ]


def test_nothing_to_do_is_nothing_to_say():
    assert state.steps(HOST, {**PLAN, "converged": True}, {}, has_image=True, pending="none") == []


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        ({}, ""),
        ({"now": {"number": 3}}, ""),
        ({"now": {"number": 3}, "a": {"number": 1}, "b": {"number": 2}}, "b"),
        ({"now": {"number": 3}, "a": {"number": 1}, "b": {"number": 2, "rolled_back": "then"}}, "a"),
        ({"now": {"number": 3}, "never served": {}}, ""),
    ],
)
def test_the_last_good_release_served_last_and_was_not_rolled_back_from(records, wanted):
    assert state.last_good(records, "now") == wanted


def test_a_change_of_the_volume_says_what_becomes_of_the_data():
    host = {
        **HOST,
        "maintenance": "",
        "volume": {"name": "v", "exists": True, "major": "15"},
        "backups": {"backups": [{"seconds": 7.0}], "proof": {"seconds_restore": 9.5}},
    }
    plan = {**PLAN, "upgrade": True, "volume": "", "postgres_image": "postgres:17"}
    told = state.steps(host, plan, {}, has_image=True, pending="none")
    assert told[-3:] == [
        "front door: closed for maintenance meanwhile: 503 for everybody, for as long as a dump and a restore take "
        "(the last dump took 7 s, the last restore of one 9.5 s)",
        "data: from PostgreSQL 15 into a new volume, by postgres:17, and compared",
        "volume v: stays as it is, for the way back",
    ]
    back = state.steps({**host, "maintenance": "then"}, {**PLAN, "upgrade": False, "volume": "w"}, {}, True, "none")
    assert back[-3:] == [
        "front door: closed meanwhile, as it is",
        "volume w: live again, as it was before the upgrade; what was written since is not in it",
        "volume v: stays, with the data of PostgreSQL 15",
    ]
