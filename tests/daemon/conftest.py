"""The log writes to the standard error of the test that runs, not of the first one that logged."""

from collections.abc import Iterator

import pytest

from reconciler.engine import log


@pytest.fixture(autouse=True)
def _a_log_of_its_own() -> Iterator[None]:
    log._logger.cache_clear()
    yield
    log._logger.cache_clear()
