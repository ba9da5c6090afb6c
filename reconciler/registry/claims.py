"""Claims: which builder works on which build key now, so that two seldom do the same work. A claim is a note in the
registry under the tag `claim-<hex of the build key>`: the builder, and until when it counts. It is renewed while the
work goes on; that of a builder that died runs out.

A registry has no lock. Who wants a key writes a claim, waits a moment and reads again: the last writer has it. Races,
and a registry that takes no claim, end in double work at worst, because the first build of a key stays. Times are the
registry's own (`Date` of its answers), so that no builder's clock matters.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

from reconciler.domain.errors import ReconcilerError
from reconciler.domain.machine.registries import BuildClaim
from reconciler.host.clock import text_of, unix
from reconciler.registry.client import RegistryClient
from reconciler.registry.notes import note

TYPE = "application/vnd.foundry-reconciler.claim.v1+json"
BUILDER, SINCE, UNTIL = (f"reconciler.foundry/claim-{name}" for name in ("builder", "since", "until"))
LEASE = 300.0  # seconds that a claim counts
RENEWALS = 3  # in each lease
SETTLING = 1.0  # seconds between a write and the look whether it stayed
LONGEST = 3600.0  # one that would count for longer was made by a wrong clock, and counts for nothing
LONGEST_NAME = 100  # characters


class Claims:
    """Those of one builder in one registry. A context manager: what it holds is renewed by a thread of its own, and
    given back at the end. `folder` is for a temporary file."""

    def __init__(
        self,
        client: RegistryClient,
        builder: str,
        folder: str,
        *,
        lease: float = LEASE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._builder, self._folder = client, builder, folder
        self._lease, self._sleep = lease, sleep
        self._held: dict[str, str] = {}  # since when, by build key
        self._ahead = 0.0  # seconds that the registry's clock is before ours
        self._asking = threading.Lock()
        self._ending = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="claims", daemon=True)

    def __enter__(self) -> "Claims":
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._renewing.join()
        for key in tuple(self._held):
            with contextlib.suppress(ReconcilerError):
                self.release(key)

    def take(self, build_key: str) -> BuildClaim | None:
        """None where it is ours from now on; else the claim of the one that has it. Raises RegistryFailed."""
        with self._asking:
            if other := self._of_another(build_key):
                return other
            since = text_of(self._now())
            self._write(build_key, since, self._lease)
            self._sleep(SETTLING)
            if other := self._of_another(build_key):
                return other
            self._held[build_key] = since
        return None

    def release(self, build_key: str) -> None:
        """Others may take it at once. Raises RegistryFailed."""
        with self._asking:
            since = self._held.pop(build_key, None)
            if since is not None and self._of_another(build_key) is None:
                self._write(build_key, since, 0.0)

    def _renew(self) -> None:
        while not self._ending.wait(self._lease / RENEWALS):
            for key in tuple(self._held):
                with contextlib.suppress(ReconcilerError), self._asking:  # tried again before it has run out
                    since = self._held.get(key)
                    if since is not None and self._of_another(key) is None:
                        self._write(key, since, self._lease)

    def _of_another(self, build_key: str) -> BuildClaim | None:
        data, date = self._client.tagged(tag_of(build_key))
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            self._ahead = parsedate_to_datetime(date).timestamp() - time.time()
        claim = _read(data)
        if claim is None or claim.builder == self._builder:
            return None
        left = (unix(claim.until) or 0.0) - self._now()
        # guard: a claim runs out
        return claim if 0.0 < left <= LONGEST else None

    def _write(self, build_key: str, since: str, seconds: float) -> None:
        claim = {BUILDER: self._builder, SINCE: since, UNTIL: text_of(self._now() + seconds)}
        self._client.put_manifest(note(self._client, TYPE, claim, self._folder), tag_of(build_key))

    def _now(self) -> float:
        return time.time() + self._ahead


def tag_of(build_key: str) -> str:
    return f"claim-{build_key.removeprefix('sha256:')}"


def _read(data: bytes | None) -> BuildClaim | None:
    """None for what is no claim: it blocks no builder."""
    try:
        document = json.loads(data or b"")
        builder, since, until = (document["annotations"][name] for name in (BUILDER, SINCE, UNTIL))
        is_claim = document["artifactType"] == TYPE and builder.isprintable() and len(builder) <= LONGEST_NAME
        return BuildClaim(builder=builder, since=since, until=until) if is_claim and unix(until) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
