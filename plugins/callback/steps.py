# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations

DOCUMENTATION = r"""
name: steps
type: aggregate
short_description: Show how long each step of a deploy took
version_added: "0.1.0"
description:
  - Adds the times of the tasks of the role P(drydock.stack.fastapi#role) by the step that their names begin with, as in
    C(build | Ensure the image is built), and those of every other role as a whole, and shows them at the end.
requirements:
  - Listed in C(callbacks_enabled) of C(ansible.cfg).
author:
  - The drydock.stack maintainers (@drydock)
"""

import time

from ansible.plugins.callback import CallbackBase

STORY = "drydock.stack.fastapi"


class CallbackModule(CallbackBase):
    """Seconds of wall clock by step and in all, over all hosts."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "drydock.stack.steps"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.began = self.since = time.monotonic()
        self.step = ""
        self.seconds: dict[str, float] = {}

    def _begin(self, step):
        now = time.monotonic()
        if self.step:
            self.seconds[self.step] = self.seconds.get(self.step, 0.0) + now - self.since
        self.step, self.since = step, now

    def v2_playbook_on_play_start(self, play):
        self._begin("")

    def v2_playbook_on_task_start(self, task, is_conditional):
        role, _, name = task.get_name().rpartition(" : ")
        step = name.partition(" | ")[0] if " | " in name else "validate"
        self._begin(step if role == STORY else role.rpartition(".")[2])

    def v2_playbook_on_handler_task_start(self, task):
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_stats(self, stats):
        self._begin("")
        if not self.seconds:
            return
        self._display.banner("STEPS")
        for step, seconds in self.seconds.items():
            self._display.display(f"{step:<12} {seconds:6.1f} s")
        self._display.display(f"{'in all':<12} {time.monotonic() - self.began:6.1f} s")
