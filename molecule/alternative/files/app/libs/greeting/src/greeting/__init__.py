"""A member of the workspace that the application depends on."""

EDITION = "one"


def greet(name: str) -> str:
    return f"Hello {name}, edition {EDITION}"
