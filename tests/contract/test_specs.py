"""The argument specs say what the defaults are."""

from pathlib import Path

import pytest
import yaml
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import DATA

ROLES = sorted(path for path in (Path(__file__).parents[2] / "roles").iterdir() if path.is_dir())


class Loader(yaml.SafeLoader):
    """Reads Ansible's own tags as plain values."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(path):
    return yaml.load(path.read_text(), Loader) or {}  # noqa: S506 (a safe loader with one more tag)


FASTAPI = ROLES[0].parent / "fastapi"
SPECS = load(FASTAPI / "meta" / "argument_specs.yml")["argument_specs"]


def options(role):
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    return {name: option for spec in specs.values() for name, option in spec["options"].items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_stands_in_the_specs(role):
    defaults = {name: value for name, value in load(role / "defaults" / "main.yml").items() if name not in DATA}
    assert {name: option["default"] for name, option in options(role).items() if "default" in option} == defaults


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_is_data_stands_in_no_spec(role):
    assert DATA.keys().isdisjoint(options(role))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_variable_is_the_same_in_every_entry_point(role):
    specs, known = load(role / "meta" / "argument_specs.yml")["argument_specs"], options(role)
    for spec in specs.values():
        for name, option in spec["options"].items():
            assert option == known[name]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_has_a_type_and_a_description(role):
    for name, option in options(role).items():
        assert option.get("type"), name
        assert option.get("description"), name
        assert option["type"] != "list" or option.get("elements"), name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_without_a_default_are_told_in_the_defaults(role):
    text = (role / "defaults" / "main.yml").read_text()
    for name, option in options(role).items():
        assert "default" in option or f"# {name}:  (" in text, name


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_public_variable_has_the_prefix_of_its_role(role):
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []
    internal = role / "vars" / "main.yml"
    assert [name for name in (load(internal) if internal.exists() else {}) if not name.startswith(f"__{role.name}_")] == []


@pytest.mark.parametrize("entry", ["restore", "upgrade_postgres"])
def test_what_makes_a_deploy_takes_all_that_a_deploy_takes(entry):
    assert SPECS["main"]["options"].keys() <= SPECS[entry]["options"].keys()


@pytest.mark.parametrize("entry", sorted(SPECS.keys() - {"main", "upgrade_postgres"}))
def test_an_entry_point_asks_for_its_settings_before_it_does_anything(entry):
    first = load(FASTAPI / "tasks" / f"{entry}.yml")[0]
    # A boolean may be given as text, by -e, and is checked by its type alone.
    asked, own = set(first["drydock.stack.validate"]["only"]), set(SPECS[entry]["options"]) - {"fastapi_maintenance_enabled"}
    # A deploy follows a restore where nothing runs, which asks for all of its own.
    assert own - (set(SPECS["main"]["options"]) if entry == "restore" else set()) <= asked
    assert own & {"fastapi_name", "fastapi_root"} <= asked
