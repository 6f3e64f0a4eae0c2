"""The lock of a stack: who gets it, when it is taken over, and what a run that lost it is told."""

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.drydock.stack.plugins.module_utils import lock

# Imported by its path: the module of the same name would be found else.
SPEC = importlib.util.spec_from_file_location("lock_action", Path(__file__).parents[2] / "plugins" / "action" / "lock.py")
action = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(action)


def record(token, **more):
    return {"token": token, "owner": f"{token}@here", **more}


def test_one_run_at_a_time_holds_it(tmp_path):
    assert lock.acquire(tmp_path, record("a"), now=100, lease=60) == (True, {})
    held, found = lock.acquire(tmp_path, record("b"), now=159, lease=60)
    assert not held
    assert (found["owner"], found["since"], found["expires"]) == ("a@here", 100, 160)
    assert lock.read(tmp_path)["token"] == "a"


def test_of_many_at_once_one_gets_it(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda number: lock.acquire(tmp_path, record(f"{number}"), 100, 60)[0], range(64)))
    assert runs.count(True) == 1


def test_it_is_taken_over_when_its_lease_is_over(tmp_path):
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    held, found = lock.acquire(tmp_path, record("b"), now=160, lease=60)
    assert (held, found["owner"]) == (True, "a@here")
    assert lock.read(tmp_path)["token"] == "b"


def test_it_is_taken_over_from_the_one_that_is_known_to_be_dead_and_from_no_other(tmp_path):
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    assert lock.acquire(tmp_path, record("b"), now=101, lease=60, over="c")[0] is False
    assert lock.acquire(tmp_path, record("b"), now=101, lease=60, over="a")[0] is True


def test_a_run_that_lost_it_is_told_by_whom(tmp_path):
    (tmp_path / "releases").mkdir()
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    lock.check(tmp_path, "a")
    lock.acquire(tmp_path, record("b"), now=200, lease=60)
    with pytest.raises(lock.LockLostError, match="b@here has taken it over"):
        lock.check(tmp_path, "a")
    (tmp_path / "lock").unlink()
    with pytest.raises(lock.LockLostError, match="somebody has removed it"):
        lock.check(tmp_path, "b")


def test_a_step_is_waited_for_as_long_as_its_process_lives(tmp_path):
    (tmp_path / "releases").mkdir()
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    started, process = multiprocessing.get_context("fork").Event(), multiprocessing.get_context("fork").Process
    step = process(target=lambda: (lock.check(tmp_path, "a"), started.set(), time.sleep(60)))
    step.start()
    assert started.wait(10)
    assert lock.busy(tmp_path)
    step.kill()
    step.join()
    assert not lock.busy(tmp_path)


def test_one_whose_run_left_something_running_is_found_again(tmp_path):
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    lock.acquire(tmp_path, record("b"), now=110, lease=60, over="a")
    lock.leave(tmp_path, "other", record("a"))
    assert lock.read(tmp_path)["token"] == "b"
    lock.leave(tmp_path, "b", record("a"))
    held, found = lock.acquire(tmp_path, record("c"), now=111, lease=60)
    assert (held, found["token"]) == (True, "a")


def test_it_is_given_back_by_its_holder_alone_and_remembered(tmp_path):
    lock.acquire(tmp_path, record("a"), now=100, lease=60)
    assert lock.release(tmp_path, "b", now=110) is False
    assert lock.release(tmp_path, "a", now=120) is True
    assert lock.read(tmp_path) == {}
    assert (lock.read(tmp_path, lock.LAST_RUN)["token"], lock.read(tmp_path, lock.LAST_RUN)["ended"]) == ("a", 120)


def test_one_that_is_broken_is_nobodys(tmp_path):
    (tmp_path / "lock").write_text("{")
    assert lock.acquire(tmp_path, record("a"), now=100, lease=60)[0] is True


def holder(pid, **more):
    return {"controller": action.controller(), "pid": pid, "started": action.started(pid), **more}


def test_a_living_run_is_not_dead():
    assert not action.known_dead(holder(os.getpid()))


def test_a_run_that_has_ended_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = holder(process.pid)
        assert not action.known_dead(found)
        process.communicate(b"\n")
    assert action.known_dead(found)


def test_a_process_with_the_same_number_is_another_run():
    assert action.known_dead({**holder(os.getpid()), "started": "1"})


def test_of_another_system_nothing_is_known():
    assert not action.known_dead({**holder(os.getpid()), "started": "1", "controller": "another"})
    assert not action.known_dead({**holder(os.getpid()), "started": "1", "controller": ""})


def test_what_is_said_of_a_holder_is_for_people():
    told = action.described({"owner": "ann@laptop", "pid": 7, "since": 0, "remaining": 59.6, "release": "abc"}, "/opt/shop")
    assert "ann@laptop, process 7, since 1970-01-01 00:00:00 UTC" in told
    assert "the release abc; its lease ends in 60 s" in told
    assert json.dumps(told)
