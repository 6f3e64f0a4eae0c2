"""Settings of the unit tests."""

from hypothesis import settings

# A busy machine is no failure: no test fails on time.
settings.register_profile("unit", deadline=None, print_blob=True)
settings.load_profile("unit")
