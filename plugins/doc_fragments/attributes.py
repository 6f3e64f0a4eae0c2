# Copyright: The drydock.stack maintainers
# MIT License (see LICENSE)
from __future__ import annotations


class ModuleDocFragment:
    """What check mode and diff mode mean for the modules of the collection."""

    READS = r"""
attributes:
  check_mode:
    description: Can run in check mode, as it only reads.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

    CHANGES = r"""
attributes:
  check_mode:
    description: Touches nothing in check mode and says that it would change something.
    support: full
  diff_mode:
    description: Has nothing to show.
    support: none
"""

    SHOWS = r"""
attributes:
  check_mode:
    description: Touches nothing in check mode and says what would change.
    support: full
  diff_mode:
    description: Shows what differs, secrets hidden.
    support: full
"""
