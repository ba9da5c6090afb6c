"""Whose builds and sources count on this machine (`trust` and `revoked` of its configuration), and what is known of an
artifact that came from a registry. Values and rules: signatures are verified in registry.signatures.
"""

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Final, Literal

from reconciler.domain.reasons import Reason
from reconciler.domain.release import Artifact
from reconciler.domain.text.names import fits

STATEMENT = "https://in-toto.io/Statement/v1"  # the type of what is signed, of builds and of models

TrustMode = Literal["off", "warn", "enforce"]
OFF: Final = "off"
WARN: Final = "warn"
ENFORCE: Final = "enforce"
TRUST_MODES = (OFF, WARN, ENFORCE)


@dataclass(frozen=True, kw_only=True)
class TrustedKey:
    """A builder's public key. `until` is the last day on which it counts for what comes (2027-01-31), "" for ever."""

    file: str
    until: str = ""

    def counts(self, now: str) -> bool:
        """`now` is RFC 3339, UTC; "" is before all times."""
        return not self.until or now[:10] <= self.until


@dataclass(frozen=True, kw_only=True)
class TrustRule:
    """For the repositories (`ghcr.io/acme/*`), or the sources (`huggingface/acme/*`, the absolute path of a folder),
    that `pattern` names: what becomes of a build or a source that none of `keys` has signed."""

    pattern: str
    mode: TrustMode
    keys: tuple[TrustedKey, ...] = ()

    def covers(self, name: str) -> bool:
        return fits(self.pattern, name)


ARCHIVE = "an archive"  # in the place of a repository: what `import` brings


def is_repository_pattern(text: str) -> bool:
    """A host and a repository, in lower case as in `registries`, and stars."""
    return "//" not in text and re.fullmatch(r"[a-z0-9*\[][a-z0-9*._:/\[\]-]{0,511}", text) is not None


def is_source_pattern(text: str) -> bool:
    return 0 < len(text) <= 512 and text.isprintable() and "://" not in text


NO_RULE = TrustRule(pattern="*", mode=OFF)
NOT_COVERED = TrustRule(pattern="", mode=ENFORCE)


@dataclass(frozen=True, kw_only=True)
class TrustPolicy:
    """`rules` are about builds, `sources` about what is converted here. `revoked` are digests of artifacts, and build
    keys, that are neither pulled nor served anew."""

    rules: tuple[TrustRule, ...] = ()
    sources: tuple[TrustRule, ...] = ()
    revoked: frozenset[str] = frozenset()

    def rule_for(self, repository: str) -> TrustRule:
        """The first one that covers it. For an archive, and a registry that was given up: the strictest of all, with
        the keys of all."""
        covering = (one for one in self.rules if repository != ARCHIVE and one.covers(repository))
        return next(covering, None) or self._of_elsewhere(repository)

    def rule_for_source(self, name: str) -> TrustRule:
        """The first one that covers it. Where there are rules, what none covers is refused: who writes manifests
        chooses the names of sources."""
        # guard: a source that no rule covers is refused
        otherwise = NOT_COVERED if self.sources else NO_RULE
        return next((one for one in self.sources if one.covers(name)), otherwise)

    @property
    def asks_sources(self) -> bool:
        return any(one.mode != OFF for one in self.sources)

    def _of_elsewhere(self, repository: str) -> TrustRule:
        """An archive does not say from which registry it was made; and what came from a registry that is not named any
        more, perhaps before anything was asked for, is not trusted for that."""
        asking = [one for one in self.rules if one.mode != OFF]
        if not asking:
            return NO_RULE
        keys = dict.fromkeys(key for one in asking for key in one.keys)
        mode: TrustMode = ENFORCE if any(one.mode == ENFORCE for one in asking) else WARN
        # guard: what comes from elsewhere keeps to the strictest rule
        return TrustRule(pattern=repository, mode=mode, keys=tuple(keys))

    @property
    def asks(self) -> bool:
        """Whether it may refuse or doubt anything."""
        return bool(self.revoked) or any(one.mode != OFF for one in self.rules)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an artifact came from that this machine did not convert. `signed_by` is the id of the builder's key, ""
    where no signature was asked for or none counted. `since` is RFC 3339, UTC."""

    artifact: str
    build_key: str
    registry: str
    signed_by: str
    since: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a build is neither pulled nor served anew; or, where it is not `enforced`, why it is only doubted. `final`:
    building it here anew would help nothing."""

    reason: Reason
    message: str
    enforced: bool = True
    final: bool = False


def revocation(policy: TrustPolicy, build_key: str, artifact: str = "") -> Refusal | None:
    # guard: what is revoked is refused
    named = next((one for one in (build_key, artifact) if one in policy.revoked), "")
    if not named:
        return None
    message = f"{named} is in `revoked` of this machine's configuration"
    return Refusal(reason=Reason.REVOKED, message=message, final=named == build_key)


def judge_stored(
    artifact: Artifact, origin: Origin | None, policy: TrustPolicy, counting: Container[str]
) -> Refusal | None:
    """What the store holds, by the policy of today. One without an origin was converted here. `counting` are the ids of
    the keys that are listed today for where it came from."""
    if refused := revocation(policy, artifact.build_key, artifact.digest):
        return replace(refused, final=refused.final or origin is None)
    if origin is None:
        return None
    rule = policy.rule_for(origin.registry)
    # guard: a stored artifact keeps to the policy of today
    if rule.mode == OFF or origin.signed_by in counting:
        return None
    signed = f"was signed by {origin.signed_by}, which is not trusted any more" if origin.signed_by else "is unsigned"
    message = f"{artifact.digest} came from {origin.registry} and {signed}"
    return Refusal(reason=Reason.UNTRUSTED, message=message, enforced=rule.mode == ENFORCE)
