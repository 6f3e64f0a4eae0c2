"""Values that are data arrive as they stand."""

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.drydock.stack.plugins.plugin_utils.variables import Settings


def values(**variables):
    trusted = {name: trust(value) for name, value in variables.items()}
    return dict(Settings(Templar(loader=DataLoader(), variables=trusted), trusted))


def trust(value):
    if isinstance(value, dict):
        return {name: trust(inner) for name, inner in value.items()}
    return trust_as_template(value) if isinstance(value, str) else value


def test_other_variables_are_templated():
    assert values(fastapi_name="{{ prefix }}-shop", prefix="my") == {"fastapi_name": "my-shop"}


def test_types_stay():
    assert values(fastapi_port=83, fastapi_name=True) == {"fastapi_port": 83, "fastapi_name": True}


def test_a_reference_stands_for_the_variable():
    found = values(fastapi_env={"KEY": "{{ vault_key }}"}, vault_key="s3cret")
    assert found["fastapi_env"] == {"KEY": "s3cret"}


def test_the_whole_may_be_a_reference():
    found = values(fastapi_env="{{ one | combine(two) }}", one={"A": "1"}, two={"B": "2"})
    assert found["fastapi_env"] == {"A": "1", "B": "2"}


@pytest.mark.parametrize("value", ["a{{ 1+1 }}b", "{% if x %}", "{# note #}", "{{ a }}{{ b }}"])
def test_a_template_among_other_text_is_refused_without_its_value(value):
    with pytest.raises(AnsibleActionFail) as failure:
        values(fastapi_env={"KEY": value})
    assert "fastapi_env.KEY" in str(failure.value)
    assert "!unsafe" in str(failure.value)
    assert value not in str(failure.value)


@pytest.mark.parametrize(("key", "named"), [(10**5000, "a number"), ("A\u202e", '"A\\u202e"')], ids=["number", "mark"])
def test_a_name_of_any_kind_is_told_in_words(key, named):
    assert list(values(fastapi_env={key: "x"})["fastapi_env"].values()) == ["x"]
    with pytest.raises(AnsibleActionFail, match="holds a template among other text") as failure:
        values(fastapi_env={key: "a{{ b }}c"})
    assert f"fastapi_env.{named} holds" in str(failure.value)


def test_unsafe_values_are_literal():
    templar = Templar(loader=DataLoader(), variables={})
    assert Settings(templar, {"fastapi_env": {"KEY": "a{{ 1+1 }}b"}})["fastapi_env"] == {"KEY": "a{{ 1+1 }}b"}
    assert dict(Settings(templar, {"fastapi_database_password": "{{ x }}"})) == {"fastapi_database_password": "{{ x }}"}


@pytest.mark.parametrize("value", ["$HOME", "a}}b", "{ {", "%s", "\\", "{"])
def test_what_is_no_template_is_literal(value):
    assert values(fastapi_env={"KEY": value})["fastapi_env"] == {"KEY": value}
