# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
name: count
type: aggregate
short_description: Count the modules that a run sends to its hosts, its tasks and its builds
version_added: "0.1.0"
description:
  - Writes the counts as JSON into the file that the variable BENCH_COUNT of the environment names.
author:
  - The drydock.stack maintainers (@drydock)
"""

import json
import os
from collections import Counter
from pathlib import Path

from ansible.plugins.callback import CallbackBase

BUILD = "community.docker.docker_image_build"


class CallbackModule(CallbackBase):
    """Counts by host and name of the module."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "count"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.tasks: Counter = Counter()
        self.modules: Counter = Counter()
        self.builds = 0

    def _count(self, result):
        action = result.task.action
        self.tasks[action] += 1
        told = result.result
        for part in told.get("results", [told]):
            # A module says how it was invoked; an action of the controller's alone does not.
            if "invocation" in part or action == "ansible.builtin.raw":
                self.modules[action] += 1
        if action == BUILD and told.get("changed"):
            self.builds += 1

    v2_runner_on_ok = _count

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._count(result)

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in stats.processed}
        told = {"tasks": self.tasks, "modules": self.modules, "builds": self.builds, "hosts": hosts}
        Path(os.environ["BENCH_COUNT"]).write_text(json.dumps(told))
