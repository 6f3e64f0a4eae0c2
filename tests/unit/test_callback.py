"""The callback adds times up by step."""

from types import SimpleNamespace

import pytest
from ansible_collections.drydock.stack.plugins.callback import steps


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=0.0)
    monkeypatch.setattr(steps.time, "monotonic", lambda: now.value)
    return now


def task(name):
    return SimpleNamespace(get_name=lambda: name)


def test_times_are_those_of_the_steps_and_of_the_other_roles(clock, monkeypatch):
    shown = []
    callback = steps.CallbackModule()
    callback._display = SimpleNamespace(banner=shown.append, display=shown.append)
    tasks = [
        ("drydock.stack.docker_host : inspect | The engine is known", 1),
        ("drydock.stack.docker_host : report | It is told", 2),
        ("drydock.stack.fastapi : Validating arguments against arg spec 'main'", 4),
        ("drydock.stack.fastapi : validate | Ensure every setting makes sense", 8),
        ("drydock.stack.fastapi : build | Ensure the image is built", 16),
        ("drydock.stack.fastapi : build | Ensure the build's secrets are gone", 32),
    ]
    callback.v2_playbook_on_play_start(None)
    for name, seconds in tasks:
        callback.v2_playbook_on_task_start(task(name), False)
        clock.value += seconds
    callback.v2_playbook_on_stats(None)
    assert [line.split() for line in shown[1:]] == [
        ["docker_host", "3.0", "s"],
        ["validate", "12.0", "s"],
        ["build", "48.0", "s"],
        ["in", "all", "63.0", "s"],
    ]


def test_a_play_without_steps_shows_nothing(clock):
    shown = []
    callback = steps.CallbackModule()
    callback._display = SimpleNamespace(banner=shown.append, display=shown.append)
    callback.v2_playbook_on_play_start(None)
    callback.v2_playbook_on_stats(None)
    assert shown == []
