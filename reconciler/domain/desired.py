"""The desired state of one machine: the releases it should serve, and what git declares of them. Plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.domain import digest
from reconciler.domain.errors import Problem
from reconciler.domain.gate_spec import GateSpec
from reconciler.domain.machine.precision_choice import Choosing, PrecisionNeeds
from reconciler.domain.policy.policy import PolicyDenial
from reconciler.domain.reasons import Reason
from reconciler.domain.release import Release
from reconciler.domain.sources.locked import Fetch
from reconciler.domain.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class ReleaseOverride:
    """Another release is served than git declares (planner.rollback). `release` is the declared one, `reason` is
    RolledBack or GateFailed. `stays`: there is nothing to serve in its place, so whatever serves now is left alone."""

    release: Release
    reason: Reason
    message: str
    refused: tuple[str, ...] = ()  # digests that go at once where they are registered
    stays: bool = False
    verdicts: tuple[Verdict, ...] | None = None  # of what git declares; None: not judged yet
    remembered: str = ""  # what stays true of it when the override is over, for the history; "": `message`


@dataclass(frozen=True, kw_only=True)
class DesiredRelease:
    """One release that git asks for, with what it will cost (bytes) and what the manifest says about it.

    With `fetch` its source has to come from the hub before it can be converted; where that is not `known` either, the
    recipe only stands for the one that a look at the source will give.
    """

    release: Release
    source_bytes: int
    predicted_bytes: int
    peak_bytes: int
    boundaries: dict[str, int] = field(default_factory=dict)  # of the source (domain.sources.model_config)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)  # of a conversion at each precision it can have
    suspended: bool = False
    protected: bool = False
    gates: GateSpec = GateSpec()
    fetch: Fetch | None = None
    original: Fetch | None = None  # what a ready ONNX model is compared with, where that is not here whole
    retain_for: float = 0.0  # seconds that a predecessor stays registered
    history_limit: int = 1  # predecessors whose artifacts are kept
    source_is_here: bool = True  # else only what its conversion is known by (an import): it cannot be converted here
    delete_first: bool = False  # where both do not fit, what serves goes before its successor is built
    depends_on: tuple[str, ...] = ()  # names of models that must be ready before a new release
    retry_limit: int | None = None  # how often a failed step is tried again; None: without end
    override: ReleaseOverride | None = None  # then `release` is not what git declares
    verdicts: tuple[Verdict, ...] | None = None  # of `release`, by what is measured; None: not judged yet
    denial: PolicyDenial | None = None  # why a policy lets no new release be made
    doubted: tuple[str, ...] = ()  # what policies only warn about
    needs: PrecisionNeeds | None = None  # of a model that says `precisions: auto`; None: not known, or not asked

    @property
    def variant(self) -> str:
        return self.release.variant

    @property
    def recipe_is_known(self) -> bool:
        """Else its source was never here, and the recipe only stands for the one to come."""
        return self.fetch is None or self.fetch.known

    @property
    def memory_needed(self) -> int:
        """Bytes of memory that its conversion will hold; 0 where that is unknown, or nothing is to be converted."""
        return self.memory_bytes.get(self.release.precision, 0)

    @property
    def declared(self) -> Release:
        """The release that git declares, also where another one is served instead."""
        return self.release if self.override is None else self.override.release

    @property
    def declared_verdicts(self) -> tuple[Verdict, ...]:
        """What the gates say of the declared release; nothing where nothing was measured or judged."""
        found = self.verdicts if self.override is None else self.override.verdicts
        return found or ()

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        """What is to be fetched for it."""
        return tuple(one for one in (self.fetch, self.original) if one is not None)

    @property
    def work_keys(self) -> tuple[str, ...]:
        """The build keys of the long work that it may need."""
        return (*(one.source.digest for one in self.fetches), self.release.recipe.build_key)

    @property
    def failure_keys(self) -> tuple[str, ...]:
        """Under which keys its failures are remembered (domain.failures)."""
        fetch = (one.source.fetch_key for one in self.fetches)
        recipe, keys = self.release.recipe, (self.release.digest, self.measure_key)
        declared = self.declared
        return (*fetch, recipe.build_key, *keys, declared.recipe.build_key, declared.digest, self._key(declared))

    @property
    def measure_key(self) -> str:
        """The release, and what its gates ask to be measured: other gates, another try."""
        return self._key(self.release)

    def _key(self, release: Release) -> str:
        return digest.of_value({"release": release.digest, "asked": self.gates.asked})


@dataclass(frozen=True, kw_only=True)
class Desired:
    """What git declares for this machine.

    `declared` names every variant of every readable manifest, also those that could not be resolved (a broken source):
    a variant we failed to understand is still wanted, never an orphan. `complete` is false when any manifest could not
    be read: then it is unknown what is no longer declared, and nothing is pruned.
    """

    revision: str
    wanted: tuple[DesiredRelease, ...] = ()
    declared: frozenset[str] = frozenset()
    complete: bool = True
    suspended: frozenset[str] = frozenset()  # names of models whose manifest says suspend
    confirmed: frozenset[str] = frozenset()  # names of models that may go though many go at once
    locked_sources: frozenset[str] = frozenset()  # digests of what is taken from the hub
    source_digests: frozenset[str] = frozenset()  # those of them that models are made from
    unresolved: dict[str, Problem] = field(default_factory=dict)  # by variant: why it is declared and not wanted
    retired: dict[str, str] = field(default_factory=dict)  # by variant: by which policy it is no longer wanted
    not_selected: dict[str, str] = field(
        default_factory=dict
    )  # by name of a model for other machines: why not for this one
    choosing: dict[str, Choosing] = field(
        default_factory=dict
    )  # by name: models of which a machine takes one precision
    chosen: dict[str, str] = field(default_factory=dict)  # by name of such a model: which this machine takes, and why


def declared_releases(desired: Desired, before: Mapping[str, str]) -> dict[str, str]:
    """By variant, the digest of the release that git declares; as `before` where its manifest cannot be read now. A
    recipe that only stands for the one to come has none yet."""
    kept = {name: one for name, one in before.items() if name in desired.unresolved or not desired.complete}
    return kept | {one.variant: one.declared.digest if one.recipe_is_known else "" for one in desired.wanted}
