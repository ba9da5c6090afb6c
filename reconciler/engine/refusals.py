"""What the system refuses beside the work itself: a record, a sweep, a head start. It is said in the log, and the pass
goes on: a full or a failing disk must not keep a pass from what it still can do."""

import contextlib
from collections.abc import Iterator

from reconciler.domain.errors import HostRefused, refused
from reconciler.engine import log


class Refusals:
    """`said` holds what was refused: whoever promises that all is recorded asks for it."""

    def __init__(self) -> None:
        self.said: list[HostRefused] = []

    @contextlib.contextmanager
    def best_effort(self, event: str) -> Iterator[None]:
        try:
            yield
        except (HostRefused, OSError) as error:
            known = error if isinstance(error, HostRefused) else refused(error)
            if known is None:
                raise
            self.said.append(known)
            log.warning(event, code=known.code, message=str(known), hint=known.hint)


def best_effort(event: str) -> contextlib.AbstractContextManager[None]:
    return Refusals().best_effort(event)
