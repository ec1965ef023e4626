"""Fixtures of the tests of the Python module."""
import pytest

from kvasir import attention


@pytest.fixture(autouse=True)
def two_threads():
    """Every test with two threads, whatever an earlier one has set."""
    attention.set_num_threads(2)
