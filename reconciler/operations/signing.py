"""Signs what a builder pushes: a statement of its provenance, of its numbers and of what its gates say, in the form
that cosign verifies (docs/registries.md); and the receipt of a machine, in the same form (docs/air-gap.md)."""

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler import __version__
from reconciler.domain import digest as digests
from reconciler.domain.desired import DesiredRelease
from reconciler.domain.machine.registries import RegistrySettings
from reconciler.domain.measured import MeasurementSet
from reconciler.domain.plain_data import as_dict
from reconciler.engine.machine import Machine, stored_artifact
from reconciler.engine.planning import Snapshot
from reconciler.fleet.inventory import Inventory
from reconciler.gates import reference as references
from reconciler.gates.judgement import judge_release
from reconciler.host.clock import now
from reconciler.machine_reports.statement import RECEIPT
from reconciler.manifests.parsed import Parsed
from reconciler.registry import bundle, provenance
from reconciler.registry.provenance import Build, Manifests
from reconciler.registry.signing_keys import SigningKey


def receipt_bundle(data: bytes, name: str, inventory: Inventory, key: SigningKey) -> bytes:
    """Of a receipt, its bytes and the name of its file: what the machine had imported, and served then."""
    imported = as_dict(inventory.imported) if inventory.imported is not None else None
    facts = {"machine": inventory.machine, "generated": inventory.generated, "imported": imported}
    return bundle.sign(provenance.statement(name, digests.of_bytes(data), RECEIPT, facts), key)


@dataclass(frozen=True, kw_only=True)
class Signer:
    """`builder` is a URI. `repository` is that of the manifests, "" for a folder. `began`: when it began to build."""

    key: SigningKey
    builder: str
    repository: str
    began: str

    def bundle(
        self,
        wanted: DesiredRelease,
        settings: RegistrySettings,
        machine: Machine,
        manifests: Manifests,
        known: MeasurementSet,
    ) -> bytes:
        """For the artifact of this release, as it will be in that registry."""
        release = wanted.release
        key = release.recipe.build_key
        fidelity, measured = known.fidelity.get(key), known.releases.get(release.digest)
        reference = machine.records.reference(key)
        verdicts = judge_release(wanted.gates, release, fidelity, measured)
        build = Build(
            artifact=stored_artifact(machine, key).digest,
            repository=str(settings.address),
            build_key=key,
            recipe=release.recipe.as_json(),
            manifests=manifests,
            builder=self.builder,
            version=__version__,
            started=self.began,
            finished=now(),
            fidelity=fidelity if fidelity is not None and not fidelity.unmeasured else None,
            reference=digests.of_bytes(references.written(reference)) if reference is not None else "",
            gates=verdicts,
        )
        return bundle.sign(provenance.written(build), self.key)

    def manifests(self, build_key: str, seen: Snapshot, parsed: Parsed) -> Manifests:
        """That want this build."""
        wanted = seen.resolution.desired.wanted
        models = {one.release.model for one in wanted if one.release.recipe.build_key == build_key}
        files: Iterable[str] = {model.file for model in parsed.models if model.name in models}
        return Manifests(revision=parsed.revision, repository=self.repository, files=tuple(sorted(files)))
