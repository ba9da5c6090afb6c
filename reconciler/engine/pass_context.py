"""PassContext: what the steps of one pass share. The machine, its workers, what was resolved, and the releases that are
staged."""

import os
import uuid
from dataclasses import dataclass, field

from reconciler.domain.desired import DesiredRelease
from reconciler.domain.errors import Disturbed
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.release import Artifact, Marker
from reconciler.engine.machine import Machine
from reconciler.engine.resolve import Resolution, Source
from reconciler.engine.runtime import of_this_runtime
from reconciler.engine.workers import Workers
from reconciler.host import durable


@dataclass(slots=True, kw_only=True)
class PassContext:
    """What the steps of one pass share. `staged` holds releases that were rehearsed and wait for registration."""

    machine: Machine
    workers: Workers
    resolution: Resolution
    staged: dict[str, tuple[str, Marker]] = field(default_factory=dict)

    def wanted(self, variant: str) -> DesiredRelease:
        return next(one for one in self.resolution.desired.wanted if one.variant == variant)

    def source(self, build_key: str) -> Source:
        return self.resolution.sources[build_key]

    def artifact(self, build_key: str) -> Artifact:
        artifact = self.machine.store.artifacts().get(build_key)
        if artifact is None:
            raise Disturbed(f"the store holds no artifact for {build_key[:19]}", code="ArtifactMissing")
        return artifact

    def known(self) -> MeasurementSet:
        """What has been measured so far, also earlier in this pass."""
        return of_this_runtime(self.machine.records.measured()).known

    def fresh_staging(self) -> str:
        path = os.path.join(self.machine.layout.staging, uuid.uuid4().hex)
        durable.make_folder(path)
        return path
