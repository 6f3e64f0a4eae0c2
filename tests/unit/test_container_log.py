"""The log of a container."""

from ansible_collections.drydock.stack.plugins.modules import container_log


def test_the_lines_of_both_outputs_of_a_container_are_in_order():
    output = "2026-01-31T23:59:58.100000000Z one\n2026-01-31T23:59:59.300000000Z three  \n"
    errors = "2026-01-31T23:59:59.200000000Z two\u2028still two\n"
    assert container_log.ordered((output, errors), 2) == ["2026-01-31T23:59:59Z two\u2028still two", "2026-01-31T23:59:59Z three"]
