"""BuildClaims: what a builder may work on, by the claims in the registry that it pushes to (`registry.claims`), and
whom it waits for. A registry that takes no claims, and `--ignore-claims`, leave everything free: then two builders may
do the same work, and do no harm.
"""

import contextlib
import time
from collections.abc import Callable, Container

from reconciler.domain.errors import ReconcilerError
from reconciler.domain.layout import CLAIMS
from reconciler.domain.machine.registries import BuildClaim, RegistrySettings
from reconciler.domain.text.escape import one_line
from reconciler.engine.machine import Machine, machine_name
from reconciler.host import durable

POLL = 15.0  # seconds between two questions for what another builder works on
TRIES = 2  # of each request: without a claim the work goes on too


class BuildClaims(contextlib.AbstractContextManager["BuildClaims"]):
    """A context manager: what is claimed is given back at its end. `waiting` are the claims of others by build key."""

    def __init__(self, machine: Machine, say: Callable[[str], None]) -> None:
        self._machine, self._say = machine, say
        self._opened = contextlib.ExitStack()
        self._claim: Callable[[str], BuildClaim | None] | None = None
        self._give_back: Callable[[str], None] = lambda build_key: None
        self._ours: set[str] = set()
        self._asked: dict[str, float] = {}  # when, by build key
        self.waiting: dict[str, BuildClaim] = {}

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def open(self, settings: RegistrySettings) -> None:
        """Until then everything is free."""
        from reconciler.registry.claims import Claims
        from reconciler.registry.opening import open_registry

        folder = self._machine.layout.at("staging", CLAIMS)
        durable.make_folder(folder)
        client = self._opened.enter_context(open_registry(settings, push=True, tries=TRIES)).registry
        builder = one_line(f"{machine_name(self._machine)}-{self._machine.owner[:8]}", 100)
        claims = self._opened.enter_context(Claims(client, builder, folder))
        self._claim, self._give_back = claims.take, claims.release

    def has(self, build_key: str) -> bool:
        return self._claim is None or build_key in self._ours

    def is_due(self, build_key: str) -> bool:
        """Whether to ask, for the first time or again."""
        return time.monotonic() - self._asked.get(build_key, float("-inf")) >= POLL

    def take(self, build_key: str, variant: str) -> bool:
        """Whether this builder may build it from now on."""
        self._asked[build_key] = time.monotonic()
        before, other = self.waiting.pop(build_key, None), self._taken(build_key)
        if other is None:
            self._ours.add(build_key)
            return True
        if before is None or before.builder != other.builder:
            self._say(f"{variant}: {other.builder} builds {build_key[:19]} since {other.since}; this waits for it")
        self.waiting[build_key] = other
        return False

    def wait_only_for(self, build_keys: Container[str]) -> None:
        self.waiting = {key: claim for key, claim in self.waiting.items() if key in build_keys}

    def release(self, build_key: str) -> None:
        self.waiting.pop(build_key, None)
        if build_key in self._ours:
            self._ours.discard(build_key)
            with contextlib.suppress(ReconcilerError):  # it runs out
                self._give_back(build_key)

    def _taken(self, build_key: str) -> BuildClaim | None:
        try:
            return self._claim(build_key) if self._claim is not None else None
        except ReconcilerError as error:
            self._say(f"warning: goes on without claims, so another builder may do the same work: {error}")
            self._claim = None
            self.waiting.clear()
            return None
