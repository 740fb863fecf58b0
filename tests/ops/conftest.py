"""The compiled operators, and the same calls without them."""

import pytest

from equitensor.ops import extension


@pytest.fixture
def compiled_operators():
    if reason := extension.why_not_compiled():
        pytest.skip(reason)


@pytest.fixture
def in_plain_torch(monkeypatch):
    """Calls a function as if there were no extension."""

    def call(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(extension, "why_not_compiled", lambda: "switched off")
            return function(*args, **options)

    return call
