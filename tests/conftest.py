"""What several rooms' tests share."""

from pathlib import Path

import pytest

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data sets beside the repository; tests that need it skip where it is absent."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("needs the real data sets in ../shared/data, which are not part of the repository")
    return _SHARED_DATA
