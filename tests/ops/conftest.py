"""The compiled operators, and the same calls without them."""

import pytest

from equitensor.ops import availability


@pytest.fixture
def compiled_operators():
    if availability.WHY_NOT:
        pytest.skip(availability.WHY_NOT)


@pytest.fixture
def in_plain_torch(monkeypatch):
    """Calls a function as if there were no core."""

    def call(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(availability, "WHY_NOT", "switched off")
            return function(*args, **options)

    return call
