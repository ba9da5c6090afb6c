"""PullJob: takes an artifact that another machine built from a registry into the store. Every byte is compared with its
digest while it comes; from there on it is rehearsed and judged as one that was converted here.

What has come stays below sources/registry when it is cancelled or fails, and the next attempt goes on from there.
"""

import contextlib

from reconciler.domain.changes import Pull
from reconciler.domain.errors import Cancelled, ReconcilerError
from reconciler.domain.machine.trust import Origin
from reconciler.domain.reference import Comparison
from reconciler.domain.text.units import size_text
from reconciler.engine.executor import take_in
from reconciler.engine.job import Job
from reconciler.engine.registries import offered_numbers, pull_folder
from reconciler.host import durable
from reconciler.host.clock import now


class PullJob(Job[Pull]):
    _manifest = b""
    _comparison: Comparison | None = None

    def begin(self) -> None:
        store = self.context.machine.store
        whole = (one for one in store.artifacts().values() if not store.damage(one))
        self._held = frozenset(file.digest for one in whole for file in one.files)

    def work(self) -> None:
        from reconciler.registry import transfer
        from reconciler.registry.opening import open_registry

        offer, machine, key = self.change.offer, self.context.machine, self.change.build_key
        settings = next(one for one in machine.traits.registries if str(one.address) == offer.registry)
        self.progressed(0.0, f"asking {offer.registry}")
        with open_registry(settings, receive_buffer=machine.traffic.rate.receive_buffer) as opened:
            pull = transfer.ArtifactPull(
                opened.places,
                offer.digest,
                pull_folder(machine, key),
                build_key=key,
                holds=self._held.__contains__,
                on_progress=self._moved,
                meter=machine.traffic.meter(urgent=self.change.urgent, is_cancelled=lambda: self.cancelled),
            )
            try:
                self._manifest = pull.run().manifest
            finally:
                machine.traffic.settle()
            with contextlib.suppress(ReconcilerError):  # asked for again before it is judged (engine.jobs)
                self._comparison = offered_numbers(machine, opened.registry, offer, key)

    def take(self) -> None:
        machine, key = self.context.machine, self.change.build_key
        folder, offer = pull_folder(machine, key), self.change.offer
        origin = Origin(
            artifact=offer.digest, build_key=key, registry=offer.registry, signed_by=offer.signed_by, since=now()
        )
        take_in(origin, self._manifest, folder, machine, again="it is pulled too")
        if self._comparison is not None:
            machine.records.save_comparison(self._comparison)
        durable.free(durable.unname(folder, machine.layout.trash))

    def _moved(self, done: int, total: int) -> None:
        if self.cancelled:
            raise Cancelled("it was cancelled", delay=0)
        self.progressed(done / total if total else 1.0, f"pulling: {size_text(done)} of {size_text(total)}")
