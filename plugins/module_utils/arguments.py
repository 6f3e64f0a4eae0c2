# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
"""Specs of the options that several modules take; their words are in doc_fragments/options.py."""

from __future__ import annotations

STACK = {"name": {"type": "str", "required": True}, "root": {"type": "path", "required": True}}
PLAN = {"plan": {"type": "dict", "required": True}}
HOST = {"host": {"type": "dict", "required": True}}
TOKEN = {"token": {"type": "str", "required": True, "no_log": False}}
