"""Here commands convert: they come from a process that has imported Olive once."""

from collections.abc import Iterator

import pytest

from tests import forked


@pytest.fixture(scope="module", autouse=True)
def olive_is_imported() -> Iterator[None]:
    with forked.with_olive():
        yield
