"""The compiled operators, and the same calls without them."""

import pytest

from equitensor.ops import extension


@pytest.fixture
def compiled_operators():
    if extension.WHY_NOT:
        pytest.skip(extension.WHY_NOT)


@pytest.fixture
def in_plain_torch(monkeypatch):
    """Calls a function as if there were no extension."""

    def call(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(extension, "WHY_NOT", "switched off")
            return function(*args, **options)

    return call
