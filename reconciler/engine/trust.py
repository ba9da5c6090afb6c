"""BuildTrust: the policy of a machine with its keys, for one pass. It judges what a registry offers, what the store
holds, and whose numbers of a comparison count. Keys are read, and the library behind them loads, where a rule asks for
them.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.domain.machine.trust import (
    ARCHIVE,
    ENFORCE,
    NO_RULE,
    OFF,
    Origin,
    Refusal,
    TrustedKey,
    TrustPolicy,
    judge_stored,
    revocation,
)
from reconciler.domain.measured import Fidelity
from reconciler.domain.reasons import Reason
from reconciler.domain.release import Artifact
from reconciler.engine.machine import Machine
from reconciler.host.clock import now

if TYPE_CHECKING:  # they load where a registry is asked
    from reconciler.registry.client import RegistryClient
    from reconciler.registry.signatures import KeyRing, Signed


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Of an offer. `fidelity` are numbers that a trusted builder has signed, `reference` is the digest of the reference
    answers that it has signed."""

    signed_by: str = ""
    fidelity: Fidelity | None = None
    reference: str = ""
    refusal: Refusal | None = None


class BuildTrust:
    def __init__(self, policy: TrustPolicy) -> None:
        self._policy = policy
        self._rings = KeyRings()
        self._ids: dict[tuple[TrustedKey, ...], frozenset[str]] = {}  # by the keys of a rule

    def enforces(self, repository: str) -> bool:
        return self._policy.rule_for(repository).mode == ENFORCE

    def of_offer(self, client: "RegistryClient", repository: str, artifact: str, build_key: str) -> Judged:
        """Before any layer of it is fetched. Raises RegistryFailed."""
        from reconciler.registry.signatures import find_signature

        return self._judged(repository, artifact, build_key, partial(find_signature, client))

    def of_archived(self, bundles: Iterable[bytes], artifact: str, build_key: str) -> Judged:
        """What an archive brings, with the signatures in it."""
        from reconciler.registry.signatures import first_that_counts

        reads = [lambda data=one: data for one in bundles]
        return self._judged(ARCHIVE, artifact, build_key, partial(first_that_counts, reads))

    def _judged(
        self, repository: str, artifact: str, build_key: str, find: Callable[[str, str, "KeyRing"], "Signed"]
    ) -> Judged:
        from reconciler.registry.signatures import Unproven

        if refusal := revocation(self._policy, build_key, artifact):
            return Judged(refusal=refusal)
        rule = self._policy.rule_for(repository)
        if rule.mode == OFF:
            return Judged()
        try:
            found = find(artifact, build_key, self._rings.of(rule.keys))
        except Unproven as error:
            message = f"{repository}: {artifact}: {error}"
            enforced = rule.mode == ENFORCE
            return Judged(refusal=Refusal(reason=Reason.UNTRUSTED, message=message, enforced=enforced))
        return Judged(signed_by=found.key_id, fidelity=found.fidelity, reference=found.reference)

    def of_stored(
        self, wanted: Iterable[str], artifacts: Mapping[str, Artifact], origins: Mapping[str, Origin]
    ) -> dict[str, Refusal]:
        """By build key, of these `wanted` ones; also of one that is revoked and not here. `origins` are by the digest
        of their artifact."""
        found: dict[str, Refusal] = {}
        for key in wanted if self._policy.asks else ():
            if (artifact := artifacts.get(key)) is None:
                refusal = revocation(self._policy, key)
            else:
                origin = origins.get(artifact.digest)
                refusal = judge_stored(artifact, origin, self._policy, self._ids_for(origin))
            if refusal is not None:
                found[key] = refusal
        return found

    def _ids_for(self, origin: Origin | None) -> frozenset[str]:
        """Of the keys that are listed for what came from there, also of those that count for nothing new: what they
        signed was verified when it came. A key that cannot be read is none."""
        from reconciler.registry.signing_keys import KeyUnusable, read_id

        rule = self._policy.rule_for(origin.registry) if origin is not None else NO_RULE
        keys = rule.keys if rule.mode != OFF else ()
        if keys not in self._ids:
            found: set[str] = set()
            for key in keys:
                with suppress(KeyUnusable):
                    found.add(read_id(key.file))
            self._ids[keys] = frozenset(found)
        return self._ids[keys]


class KeyRings:
    """Those of the rules of one policy, each read once."""

    def __init__(self) -> None:
        self._rings: dict[tuple[TrustedKey, ...], KeyRing] = {}

    def of(self, keys: tuple[TrustedKey, ...]) -> "KeyRing":
        from reconciler.registry.signatures import KeyRing

        if keys not in self._rings:
            self._rings[keys] = KeyRing(keys, now())
        return self._rings[keys]


def refusals(machine: Machine, trust: BuildTrust | None = None) -> dict[str, Refusal]:
    """What of its store is refused or doubted today, by build key; also of what is damaged and can be mended."""
    policy = machine.traits.trust
    if not policy.asks:
        return {}
    held = machine.store.artifacts()
    return (trust or BuildTrust(policy)).of_stored(held, held, machine.records.origins())


def refused_keys(machine: Machine) -> frozenset[str]:
    """Build keys of what the store holds and must not serve anew: what is pulled or converted takes its place."""
    return frozenset(key for key, one in refusals(machine).items() if one.enforced)


def is_refused(machine: Machine, build_key: str) -> bool:
    return build_key in refused_keys(machine)


def stored_digests(machine: Machine) -> frozenset[str]:
    return frozenset(one.digest for one in machine.store.artifacts().values())
