"""A stack's status, as data and as a table."""

from ansible_collections.drydock.stack.plugins.module_utils.status import summary, table

HOST = {
    "current": "0123456789ab",
    "live": "green",
    "releases": ["b", "a"],
    "services": {
        "db": {"status": "running", "health": "healthy", "image": "postgres:17", "release": ""},
        "app-green": {"status": "running", "health": "healthy", "image": "shop:1", "release": "0123456789ab"},
    },
    "images": {"shop:1": {"size": 123_400_000}},
    "volume": {"name": "shop_postgres_data", "exists": True, "major": "17"},
    "engine": {"server": "26.1", "compose": "2.26", "buildx": "0.13", "problem": ""},
    "disk": {"engine": 10 * 10**9, "stack": 5_550_000_000},
}
BARE = {
    **HOST,
    "current": "",
    "live": "",
    "releases": [],
    "services": {},
    "volume": {"name": "shop_postgres_data", "exists": False, "major": ""},
    "engine": {"server": "", "compose": "", "buildx": "", "problem": "there is no docker command"},
}


def test_the_summary_names_the_live_slot_and_the_sizes():
    status = summary(HOST, "shop")
    assert status["services"]["app-green"]["live"] is True
    assert status["services"]["db"]["live"] is False
    assert status["services"]["app-green"]["image_mb"] == 123.4
    assert status["releases"] == ["a", "b"]
    assert status["disk_free_gb"] == {"engine": 10.0, "stack": 5.5}


def test_the_table_has_a_row_for_each_service():
    lines = table(summary(HOST, "shop"))
    assert lines[0] == "shop: release 0123456789ab, slot green, 2 releases on the host"
    assert [line.split()[0] for line in lines[1:4]] == ["SERVICE", "app-green", "db"]
    assert "app-green (live)  running  healthy  0123456789ab  shop:1" in lines[2]


def test_a_bare_host_has_a_status_too():
    lines = table(summary(BARE, "shop"))
    assert "release none, slot none, 0 releases" in lines[0]
    assert "there is no docker command" in lines[1]
    assert "Data: none" in lines
